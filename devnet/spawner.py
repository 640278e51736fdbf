"""How do many nodes start quickly on one machine? Python and its libraries load once; every node is a fork of that.

A node needs three seconds of CPU to import libp2p and web3. The spawner (`python -m devnet.spawner`) imports them, then
forks on request: each fork is a process of its own with its own home, environment, log and session, running
`mesh up` like anybody's. When the devnet that started the spawner is gone, its nodes are killed.
"""

import contextlib
import importlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final, NoReturn

import trio

__all__ = ["Forked", "Spawner", "open_spawner"]

STOP_S: Final = 10.0
LOADED: Final = ("mesh.cli.app", "mesh.cli.daemon", "mesh.chain.provider", "eth_account")
"""What a node imports: loaded once, before the first fork."""


class Forked:
    """A node process that somebody else is the parent of."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.pidfd_open(pid)

    def poll(self) -> int | None:
        """0 when it has ended, None while it lives."""
        import select

        if self._fd < 0:
            return 0
        ready, _, _ = select.select([self._fd], [], [], 0)
        if ready:
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

    def wait(self) -> int:
        """Block until it has ended."""
        import select

        while self.poll() is None:
            select.select([self._fd], [], [], 1.0)
        return 0


class Spawner:
    """The process that nodes are forked from."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process
        self._turn = trio.Lock()
        self._buffer = b""

    async def fork(self, arguments: list[str], *, cwd: Path, environment: dict[str, str], log: Path) -> Forked:
        """A new process that runs ``mesh ARGUMENTS``."""
        order = {"arguments": arguments, "cwd": str(cwd), "environment": environment, "log": str(log)}
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        async with self._turn:
            await stdin.send_all(json.dumps(order).encode() + b"\n")
            while b"\n" not in self._buffer:
                more = await stdout.receive_some(4096)
                if not more:
                    raise RuntimeError("the spawner ended; its last words are in the devnet's spawner.log")
                self._buffer += more
            line, _, self._buffer = self._buffer.partition(b"\n")
        return Forked(int(line))


@asynccontextmanager
async def open_spawner(log: Path) -> AsyncIterator[Spawner]:
    """A spawner for as long as the block runs; with it end all nodes that still live."""
    with log.open("ab") as out:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "devnet.spawner"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out
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


def _become(order: dict[str, object]) -> NoReturn:
    """In the fork: drop everything of the spawner and be a node."""
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((null, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        os.chdir(str(order["cwd"]))
        environment = order["environment"]
        os.environ.clear()
        os.environ.update(environment if isinstance(environment, dict) else {})
        sys.argv = ["mesh", *map(str, order["arguments"] if isinstance(order["arguments"], list) else [])]
        from mesh.cli.app import main

        main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def serve() -> None:
    """The spawner itself: one JSON order per line, one pid per answer."""
    for part in LOADED:
        importlib.import_module(part)

    children: set[int] = set()

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                children.discard(ended)

    signal.signal(signal.SIGCHLD, reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _become(order)
        children.add(pid)
        print(pid, flush=True)
    for pid in list(children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    serve()
