"""How do many processes start quickly on one machine? They are forks of one that has loaded everything (`devnet.forks`).

A node needs three seconds of CPU to import libp2p and web3, a chain one and a half. Each fork is a process of its own with
its own home, environment, log and session, running `mesh up` like anybody's.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

__all__ = ["Forked", "Spawner", "open_spawner"]

STOP_S: Final = 10.0


class Forked:
    """A process that somebody else is the parent of."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """0 when it has ended, however it did; None while it lives."""
        if self._fd < 0:
            return 0
        if select.select([self._fd], [], [], 0)[0]:
            os.close(self._fd)
            self._fd = -1
            return 0
        return None

    def send_signal(self, number: int) -> None:
        """As ``os.kill``; nothing happens to one that has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._fd, number)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Until it has ended."""
        while self.poll() is None:
            await trio.lowlevel.wait_readable(self._fd)
        return 0


class Spawner:
    """The process that others are forked from."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._turn = trio.Lock()
        self._buffer = b""

    async def load(self, program: str) -> None:
        """Have what a program needs loaded (`devnet.forks.PROGRAMS`), so that the first fork is as quick as the others."""
        await self._order({"program": program})

    async def fork(
        self, program: str, arguments: list[str], *, cwd: Path, environment: Mapping[str, str], log: Path
    ) -> Forked:
        """A new process that runs a program of `devnet.forks.PROGRAMS`."""
        order = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment), "log": str(log)}
        return Forked(await self._order({"program": program, **order}))

    async def run(
        self, program: str, arguments: list[str], *, cwd: Path, environment: Mapping[str, str]
    ) -> tuple[int, bytes, bytes]:
        """Run a program to its end: exit code, stdout, stderr. Cancelled, or killed from elsewhere: it is gone, code -9."""
        with tempfile.TemporaryDirectory(prefix="mesh-command-") as made:
            out, talk, ended = (Path(made) / name for name in ("out", "talk", "ended"))
            order = {"arguments": arguments, "cwd": str(cwd), "environment": dict(environment)}
            files = {"log": str(out), "talk": str(talk), "ended": str(ended)}
            process = Forked(await self._order({"program": program, **order, **files}))
            try:
                await process.wait()
            finally:
                process.kill()
            code = int(ended.read_text()) if ended.exists() else -signal.SIGKILL
            return code, _content(out), _content(talk)

    async def _order(self, order: dict[str, object]) -> int:
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        # Shielded: an order whose answer nobody took would be the answer to the next one.
        with trio.CancelScope(shield=True):
            return await self._answer(stdin, stdout, order)

    async def _answer(
        self, stdin: trio.abc.SendStream, stdout: trio.abc.ReceiveStream, order: dict[str, object]
    ) -> int:
        async with self._turn:
            await stdin.send_all(json.dumps(order).encode() + b"\n")
            while b"\n" not in self._buffer:
                more = await stdout.receive_some(4096)
                if not more:
                    raise RuntimeError("the spawner ended; its last words are in the devnet's spawner.log")
                self._buffer += more
            line, _, self._buffer = self._buffer.partition(b"\n")
        return int(line)


def _content(file: Path) -> bytes:
    return file.read_bytes() if file.exists() else b""


@asynccontextmanager
async def open_spawner(log: Path) -> AsyncIterator[Spawner]:
    """A spawner for as long as the block runs; with it end all its forks that still live."""
    with log.open("ab") as out:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "devnet.forks"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out
        )
    try:
        yield Spawner(process)
    finally:
        with trio.CancelScope(shield=True):
            if process.stdin is not None:
                await process.stdin.aclose()
            with trio.move_on_after(STOP_S):
                await process.wait()
            if process.poll() is None:
                process.kill()
