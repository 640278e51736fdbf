"""How is a development chain started and stopped? anvil when it is installed, else the pip-only py-evm server.

Both are child processes on loopback with the same mnemonic, chain id and control methods, so a test or a scenario does
not ask which one it got.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, Literal, Protocol, cast

import httpx
import trio

from devnet.chain.accounts import DEV_MNEMONIC, DevAccount, dev_accounts
from devnet.chain.started import Started

__all__ = ["ChainHandle", "ChainKind", "ChainProcess", "ChainStartError", "ForkChain", "find_anvil", "run_chain"]

ChainKind = Literal["anvil", "pyevm"]

START_TIMEOUT_S: Final = 180.0
"""py-evm imports for 1.1 s on an idle core, for 40 s where thirty programs share two. One that ends is noticed at once."""
STOP_GRACE_S: Final = 2.0
"""From SIGTERM to SIGKILL. A chain holds nothing worth saving."""
STATES_KEPT: Final = 256
"""States that anvil can still be asked about: with none kept, a call at a block that is one old fails."""
_PROBE_S: Final = 0.02
_TAIL_BYTES: Final = 4000
_GREETING_BYTES: Final = 8192
_ACCOUNT_BYTES: Final = 256
"""What anvil prints before it listens: 1.6 KB, and 140 B for each account."""
_LISTENING: Final = re.compile(rb"^Listening on (127\.0\.0\.1:\d+)$", re.MULTILINE)


class ChainStartError(Exception):
    """The development chain did not start; its own last words follow.

    Try ``python -m devnet.chain.server`` to see it directly; the pip-only chain needs ``requirements/devnet.txt``.
    """


@dataclass(frozen=True, slots=True)
class ChainHandle:
    """A running development chain."""

    rpc_url: str
    chain_id: int
    kind: ChainKind
    pid: int
    accounts: tuple[DevAccount, ...]


class ChainProcess(Protocol):
    """The part of a process that is needed here."""

    @property
    def pid(self) -> int: ...

    def poll(self) -> int | None: ...

    async def wait(self) -> int: ...

    def kill(self) -> None: ...


ForkChain = Callable[[list[str], Path], Awaitable[ChainProcess]]
"""Starts the pip-only server as a fork of something that has loaded it: (arguments, log)."""


@dataclass(frozen=True, slots=True)
class _Plan:
    kind: ChainKind
    program: list[str]
    arguments: list[str]
    ready: Callable[[], Awaitable[str | None]]


def find_anvil() -> Path | None:
    """The anvil binary on PATH or in ``./node_modules/.bin``, None where there is neither."""
    on_path = shutil.which("anvil")
    local = Path("node_modules/.bin/anvil")
    named = ([Path(on_path)] if on_path else []) + ([local] if local.exists() else [])
    return next((real for real in map(_binary, named) if real is not None), None)


def _binary(found: Path) -> Path | None:
    """npm's ``anvil`` is a script that starts the real one, and leaves it behind when it is killed: take that one.

    None where npm had no real one for this platform.
    """
    real = found.resolve()
    if real.suffix == ".mjs":
        return next(iter(real.parent.parent.glob("anvil-*/bin/anvil")), None)
    return real


async def run_chain(
    *,
    kind: ChainKind | Literal["auto"] = "auto",
    chain_id: int = 31337,
    accounts: int = 10,
    block_time_s: float = 1.0,
    epoch_blocks: int = 1,
    mnemonic: str = DEV_MNEMONIC,
    log: Path | None = None,
    fork: ForkChain | None = None,
    task_status: Started[ChainHandle] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a chain until cancelled; ``started`` with its handle once it answers.

    ``block_time_s``: seconds between empty blocks of the pip-only chain, 0 for none; anvil always mines each 0.25 s
    (its automine runs away under load: research/evm.md 1.2). ``epoch_blocks``: from the head to the tag ``safe``, and as
    many from there to ``finalized``: what a reorganisation can take back. ``log``: where the child's output goes, nowhere
    if None. ``fork``: starts the pip-only chain quicker.
    Raises ``ChainStartError``, also when the chain ends by itself later. Cancelling ends the child within
    ``STOP_GRACE_S``; if this process is killed, the child ends by itself.
    """
    funded = dev_accounts(accounts, mnemonic)
    anvil = find_anvil() if kind in ("auto", "anvil") else None
    if kind == "anvil" and anvil is None:
        raise ChainStartError("anvil is neither on PATH nor in ./node_modules/.bin; ask for kind 'pyevm' instead")
    with tempfile.TemporaryDirectory(prefix="mesh-chain-") as folder:
        output = log or Path(folder) / "output"
        if anvil is None:
            ready = Path(folder) / "ready.json"
            plan = _pyevm_plan(ready, chain_id, accounts, mnemonic, block_time_s, epoch_blocks)
        else:
            plan = _anvil_plan(anvil, output, chain_id, accounts, mnemonic, epoch_blocks)
        async with trio.open_nursery() as nursery:
            process: ChainProcess
            if fork is not None and plan.kind == "pyevm":
                process = await fork(plan.arguments, output)
            else:
                with output.open("ab") as sink:
                    command = [*plan.program, *plan.arguments]
                    process = await nursery.start(partial(_supervise, command, sink.fileno()))
            try:
                url = await _wait_ready(process, plan, output)
                task_status.started(ChainHandle(url, chain_id, plan.kind, process.pid, funded))
                code = await process.wait()
            finally:
                nursery.cancel_scope.cancel()
                if fork is not None and plan.kind == "pyevm":
                    process.kill()
            raise ChainStartError(f"the chain ended by itself with code {code}:\n{_tail(output)}")


async def _supervise(
    command: list[str], output: int, *, task_status: Started[trio.Process] = trio.TASK_STATUS_IGNORED
) -> None:
    """The child's whole life. Its standard input is a pipe that closes when this process ends, however it ends."""
    await trio.run_process(
        command,
        stdin=subprocess.PIPE,
        stdout=output,
        stderr=output,
        check=False,
        deliver_cancel=_end,
        task_status=cast(Any, task_status),
    )


async def _end(process: trio.Process) -> None:
    process.terminate()
    with trio.CancelScope(shield=True), trio.move_on_after(STOP_GRACE_S):
        await process.wait()
    if process.poll() is None:
        process.kill()


async def _wait_ready(process: ChainProcess, plan: _Plan, output: Path) -> str:
    with trio.move_on_after(START_TIMEOUT_S):
        while process.poll() is None:
            url = await plan.ready()
            if url is not None:
                return url
            await trio.sleep(_PROBE_S)
        raise ChainStartError(f"the chain ended with code {process.poll()}:\n{_tail(output)}")
    raise ChainStartError(f"the chain did not answer within {START_TIMEOUT_S:g} s:\n{_tail(output)}")


def _pyevm_plan(
    ready_file: Path, chain_id: int, accounts: int, mnemonic: str, block_time_s: float, epoch_blocks: int
) -> _Plan:
    async def ready() -> str | None:
        try:
            return str(json.loads(await trio.Path(ready_file).read_text())["rpc_url"])
        except FileNotFoundError:
            return None

    flags = {
        "--port": "0",
        "--ready-file": str(ready_file),
        "--chain-id": str(chain_id),
        "--accounts": str(accounts),
        "--mnemonic": mnemonic,
        "--block-time": str(block_time_s),
        "--epoch-blocks": str(epoch_blocks),
    }
    return _Plan("pyevm", [sys.executable, "-m", "devnet.chain.server", "--watch-stdin"], _flat(flags), ready)


def _anvil_plan(anvil: Path, output: Path, chain_id: int, accounts: int, mnemonic: str, epoch_blocks: int) -> _Plan:
    """It takes a port itself and prints which; one that was found for it could be another program's by then."""
    before = output.stat().st_size if output.exists() else 0
    most = _GREETING_BYTES + accounts * _ACCOUNT_BYTES

    async def ready() -> str | None:
        printed = await trio.to_thread.run_sync(_part, output, before, most)
        found = _LISTENING.search(printed)
        if found is None:
            return None
        url = f"http://{found[1].decode()}"
        try:
            told = await _asked(url, "eth_chainId")
            # From here on it would write down every call: only `--silent` keeps it from that, and from naming its port.
            await _asked(url, "anvil_setLoggingEnabled", False)
        except httpx.TransportError:
            return None
        return url if int(told, 16) == chain_id else None

    flags = {
        "--port": "0",
        "--block-time": "0.25",
        "--slots-in-an-epoch": str(epoch_blocks),
        "--hardfork": "prague",
        "--base-fee": "20000000",
        "--gas-limit": "32000000",
        "--prune-history": str(STATES_KEPT),
        "--chain-id": str(chain_id),
        "--accounts": str(accounts),
        "--mnemonic": mnemonic,
    }
    guard = [sys.executable, "-m", "devnet.chain.guard"]
    return _Plan("anvil", [*guard, str(anvil), "--host", "127.0.0.1"], _flat(flags), ready)


def _flat(flags: dict[str, str]) -> list[str]:
    return [word for pair in flags.items() for word in pair]


def _part(output: Path, start: int, length: int) -> bytes:
    with output.open("rb") as source:
        source.seek(start)
        return source.read(length)


async def _asked(url: str, method: str, *params: object) -> Any:
    async with httpx.AsyncClient(trust_env=False) as client:
        answer = await client.post(url, json={"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    return answer.json()["result"]


def _tail(output: Path) -> str:
    return output.read_bytes()[-_TAIL_BYTES:].decode(errors="replace")
