"""What is the devnet's purse sent out for, and how does it say that it is back? As JSON: it is another process."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
import trio

from devnet.chain import ChainHandle
from devnet.spawner import Spawner
from mesh.base.errors import ChainOrFunds

__all__ = ["Errand", "Grant", "run_errand", "write_whole"]

LIMIT_S: Final = 240.0
"""An errand takes two seconds; on a machine under load, with a chain of one thread, thirty and more."""


class Grant(msgspec.Struct, frozen=True):
    """What an account of the devnet's mnemonic gets, in wei: so much into the escrow, so much of that staked."""

    account: int
    deposit: str
    stake: str = "0"
    seats: int = 0
    """Places it takes in the panel's class 1; their bonds come out of the deposit."""


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """One order. The contracts are empty where they must be deployed first; ``done``: the file to write."""

    rpc_url: str
    chain_id: int
    done: str
    escrow: str = ""
    token: str = ""
    panel: str = ""
    grants: tuple[Grant, ...] = ()


def write_whole(path: Path, value: object) -> None:
    """Write JSON; whoever waits for the file finds it whole."""
    part = path.with_name(f"{path.name}.part")
    part.write_bytes(msgspec.json.encode(value))
    part.rename(path)


async def run_errand(
    spawner: Spawner,
    chain: ChainHandle,
    home: Path,
    grants: tuple[Grant, ...],
    *,
    escrow: str = "",
    token: str = "",
    panel: str = "",
    meanwhile: Callable[[], object] = bool,
) -> Errand:
    """Deploy the contracts unless they are named, and give. The answer names them. Raises ``ChainOrFunds``.

    ``meanwhile`` is called once the purse is a process of its own and the spawner is free again.
    """
    done, log = home / "purse.json", home / "purse.log"
    done.unlink(missing_ok=True)
    errand = Errand(
        rpc_url=chain.rpc_url,
        chain_id=chain.chain_id,
        done=str(done),
        escrow=escrow,
        token=token,
        panel=panel,
        grants=grants,
    )
    process = await spawner.fork("purse", [msgspec.json.encode(errand).decode()], cwd=home, environment={}, log=log)
    meanwhile()
    with trio.move_on_after(LIMIT_S) as patience:
        await process.wait()
    process.kill()
    if not done.exists():
        late = f"nothing came of it within {LIMIT_S:g} s; " if patience.cancelled_caught else ""
        why = late + log.read_text(errors="replace")[-2_000:]
        raise ChainOrFunds("the devnet has no contracts or no funds", why=why, fix=f"{sys.executable} -m devnet.forks")
    return msgspec.json.decode(done.read_bytes(), type=Errand)
