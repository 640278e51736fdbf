"""How is one node of a devnet started, reached and killed? As its own process with its own home, like a stranger's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import trio

from devnet.chain import DevAccount
from devnet.spawner import Forked, Spawner
from mesh.api.client import RemoteApi, open_remote
from mesh.base.config import Paths
from mesh.base.errors import MeshError
from mesh.base.keys import NodeKey, export_key

__all__ = ["Member", "MemberPlan", "NodeDidNotStart"]

READY_S: Final = 180.0
"""A node starts in 3 s; on a loaded two-core machine, ten of them at once, in 30, and among other builds in 90. One that ends
is noticed at once; this ends the wait for one that hangs."""
POLL_S: Final = 0.05
STOP_S: Final = 10.0


class NodeDidNotStart(MeshError):
    """A node of the devnet ended before it was ready; its last words follow."""


class MemberPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What a node of a devnet is told."""

    name: str
    roles: tuple[str, ...]
    rpc: tuple[str, ...]
    escrow: str
    token: str
    chain_id: int
    panel: str = ""
    bootstrap: tuple[str, ...] = ()
    beacon: tuple[str, ...] = ()
    """Relays of the devnet's beacon; none: it hears rounds from its peers."""
    slots: int = 1
    extra: dict[str, dict[str, object]] = {}
    """More settings by section, over those above."""


class Member:
    """One node process. `start` it, `kill` it, `start` it again: its home stays."""

    def __init__(
        self, home: Path, plan: MemberPlan, spawner: Spawner | None = None, account: DevAccount | None = None
    ) -> None:
        """``account``: whose key the node gets; without one it makes its own."""
        self.home = home
        self.plan = plan
        self.account = account
        self.program = "mesh"
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self._spawner = spawner
        self.peer_id = ""
        self.operator = ""
        self.addresses: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the devnet."""
        return self.plan.name

    @property
    def log(self) -> Path:
        """What it says."""
        return self.home / "up.log"

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the node and of every command that talks to it."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("MESH_") or k == "MESH_CI"}
        return {**kept, "MESH_HOME": str(self.home), "PYTHONUNBUFFERED": "1"}

    @property
    def _listen(self) -> str:
        """Any port at first, afterwards the same again: whoever knew a node finds it after a restart."""
        return self.addresses[0].rpartition("/p2p/")[0] if self.addresses else "/ip4/127.0.0.1/tcp/0"

    def write_config(self) -> None:
        """Write mesh.toml."""
        plan = self.plan
        sections: dict[str, dict[str, object]] = {
            "network": {
                "name": "devnet",
                "listen": [self._listen],
                "bootstrap": list(plan.bootstrap),
                "mdns": False,
            },
            "chain": {
                "rpc": list(plan.rpc),
                "escrow": plan.escrow,
                "token": plan.token,
                "panel": plan.panel,
                "chain_id": plan.chain_id,
            },
            "beacon": {"relays": list(plan.beacon)},
            "provider": {"roles": list(plan.roles), "slots": plan.slots},
            "log": {"level": "info"},
        }
        for section, values in plan.extra.items():
            sections.setdefault(section, {}).update(values)
        text = "\n".join(_toml(name, values) for name, values in sections.items())
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self.home / "mesh.toml").write_text(text)

    def _write_key(self) -> None:
        """The key of the devnet's account, where the node looks for its own."""
        file = Paths(self.home).key_file
        if self.account is not None and not file.exists():
            export_key(NodeKey(self.account.private_key), file, passphrase="")

    async def start(self) -> None:
        """Start the process and wait until it is ready. Raises ``NodeDidNotStart``."""
        await trio.to_thread.run_sync(self.write_config)
        await trio.to_thread.run_sync(self._write_key)
        ready = self.home / "ready.json"
        ready.unlink(missing_ok=True)
        arguments = ["up", "--ready-file", str(ready)]
        if self._spawner is not None:
            self.process = await self._spawner.fork(
                self.program, arguments, cwd=self.home, environment=self.environment, log=self.log
            )
        else:
            self.process = self._launch(arguments)
        with trio.move_on_after(READY_S):
            while self.process.poll() is None:
                if ready.exists():
                    told = json.loads(ready.read_text())
                    self.peer_id, self.operator = told["peer_id"], told["operator"]
                    self.addresses = tuple(told["addresses"])
                    return
                await trio.sleep(POLL_S)
        last = self.log.read_text(errors="replace")[-2_000:]
        raise NodeDidNotStart(f"node {self.name} is not ready", why=last, fix=f"less {self.log}")

    async def spawn(self, *arguments: str) -> Forked:
        """Run ``mesh ARGUMENTS`` as this node's owner would and let it run; what it says is in ``FIRST-WORD.log``."""
        assert self._spawner is not None
        log = self.home / f"{arguments[0]}.log"
        return await self._spawner.fork("mesh", list(arguments), cwd=self.home, environment=self.environment, log=log)

    def _launch(self, arguments: list[str]) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as out:
            return subprocess.Popen(  # our own interpreter and module
                [sys.executable, "-m", "mesh.cli.app", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=self.home,
                env=self.environment,
            )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self.process is not None and self.process.poll() is None

    async def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> None:
        """Ask it to end; kill it when it does not."""
        await self._end(signal.SIGTERM)

    async def _end(self, how: signal.Signals) -> None:
        process = self.process
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(how)
            with trio.CancelScope(shield=True):
                with trio.move_on_after(STOP_S):
                    while process.poll() is None:
                        await trio.sleep(POLL_S)
                process.kill()
                while process.poll() is None:
                    await trio.sleep(POLL_S)
        self.process = None

    def pause(self) -> None:
        """SIGSTOP: it keeps its connections and answers nothing."""
        if self.process is not None:
            self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)

    @asynccontextmanager
    async def api(self) -> AsyncIterator[RemoteApi]:
        """The node's API over its socket."""
        async with open_remote(self.home / "api.sock") as api:
            yield api

    async def command(self, *arguments: str, timeout_s: float = 120.0) -> "Ended":
        """Run ``mesh ARGUMENTS`` as this node's owner would, in a process of its own."""
        with trio.fail_after(timeout_s):
            if self._spawner is not None:
                code, out, talk = await self._spawner.run(
                    "mesh", list(arguments), cwd=self.home, environment=self.environment
                )
                return Ended(code, out.decode(errors="replace"), talk.decode(errors="replace"))
            done = await trio.run_process(
                [sys.executable, "-m", "mesh.cli.app", *arguments],
                cwd=self.home,
                env=self.environment,
                capture_stdout=True,
                capture_stderr=True,
                check=False,
            )
        return Ended(done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace"))


class Ended(msgspec.Struct, frozen=True):
    """How a command ended."""

    code: int
    out: str
    talk: str


def _toml(section: str, values: dict[str, object]) -> str:
    lines = [f"[{section}]"]
    for key, value in values.items():
        lines.append(f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"
