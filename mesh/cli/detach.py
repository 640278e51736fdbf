"""How is a node started in the background, and how does it end in an orderly way?"""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import trio

from mesh.api.port import NodeApi
from mesh.api.types import NodeStatus
from mesh.base.config import LoadedConfig, ensure_home, settings
from mesh.base.errors import EXIT_CODES, MeshError, NodeUnreachable
from mesh.cli.session import say

__all__ = ["await_drained", "start_detached", "stop_node"]

READY_S: Final = 60.0
"""A node starts in 3 s; on a loaded two-core machine in 30."""
STOP_S: Final = 30.0
"""Parts stop within a second each; jobs are killed within one, too."""
POLL_S: Final = 0.1
DRAIN_POLL_S: Final = 0.5
MAX_LAST_WORDS: Final = 2_000


def start_detached(loaded: LoadedConfig, flags: Mapping[str, object]) -> dict[str, Any]:
    """Start `mesh up` as a process of its own and wait until it is ready; what it told: peer id, pid, addresses.

    ``flags`` reach it as MESH_ variables. Raises the class of error with which it ended; its words are in up.log.
    """
    paths = ensure_home(loaded.home)
    log = paths.log_file.with_name("up.log")
    ready = paths.home / f".ready-{os.getpid()}.json"
    given = {settings()[name].variable: str(value) for name, value in flags.items()}
    with log.open("wb") as out:
        child = subprocess.Popen(
            [sys.executable, "-m", "mesh.cli.app", "up", "--ready-file", str(ready), "--log-file-only"],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
            env={**os.environ, **given, "MESH_HOME": str(loaded.home)},
        )
    try:
        return _await_ready(child, ready, log)
    finally:
        ready.unlink(missing_ok=True)


def _await_ready(child: "subprocess.Popen[bytes]", ready: Path, log: Path) -> dict[str, Any]:
    give_up = time.monotonic() + READY_S
    while time.monotonic() < give_up:
        if ready.exists():
            told: dict[str, Any] = json.loads(ready.read_text())
            return told
        try:
            code = child.wait(POLL_S)
        except subprocess.TimeoutExpired:
            continue
        words = log.read_text(errors="replace")[-MAX_LAST_WORDS:].strip()
        kind = EXIT_CODES.get(code, MeshError)
        raise kind("the node did not start", why=words.removeprefix("mesh: ") or f"exit code {code}", fix="mesh doctor")
    raise MeshError(
        "the node is not ready yet",
        why=f"process {child.pid} works on it since {READY_S:.0f} s",
        fix=f"mesh status, and tail {log}",
    )


async def await_drained(api: NodeApi, limit_s: float) -> bool:
    """Let no new deal in and wait for the running ones; whether all were done in time."""
    await api.drain(True)
    give_up = trio.current_time() + limit_s
    told = 0
    while trio.current_time() < give_up:
        provider = (await api.status()).provider
        left = 0 if provider is None else provider.busy + provider.holds
        if not left:
            return True
        if left != told:
            told = left
            say(f"draining: {left} jobs or holds left")
        await trio.sleep(DRAIN_POLL_S)
    return False


async def stop_node(api: NodeApi, status: NodeStatus) -> None:
    """End the node and wait until its home is free. Raises ``MeshError`` when it does not end."""
    with suppress(NodeUnreachable):  # it may be gone before it can answer, which is what was asked
        await api.stop()
    lock = Path(status.home) / "node.db.lock"
    give_up = trio.current_time() + STOP_S
    while trio.current_time() < give_up:
        if not await trio.to_thread.run_sync(_held, lock):
            return
        await trio.sleep(POLL_S)
    raise MeshError(
        "the node has not stopped yet", why=f"process {status.pid} still holds {lock}", fix=f"kill {status.pid}"
    )


def _held(lock: Path) -> bool:
    """Whether a node holds its store."""
    try:
        with lock.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True
    return False
