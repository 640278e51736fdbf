"""Who has what? The money of a devnet's members as the chain tells it, also of those whose process is gone."""

from typing import Any, Final

import msgspec

from devnet.chain.control import native_of, view
from devnet.cluster import ProcessCluster
from devnet.scenario import Failed
from protocols.hashing import keccak256

__all__ = ["Books", "Holding", "balance_figures", "check_conserved", "read_books"]

_ACCOUNT_OF: Final = keccak256(b"accountOf(address)")[:4]
_BURNABLE: Final = keccak256(b"burnable()")[:4]


class Holding(msgspec.Struct, frozen=True):
    """One member's money in wei: free and staked in the escrow, and the chain's own coin for gas."""

    free: int
    stake: int
    gas: int


class Books(msgspec.Struct, frozen=True):
    """Everybody's money at one moment; ``burnable``: fees and penalties that nobody gets any more."""

    holdings: dict[str, Holding]
    burnable: int

    def __getitem__(self, name: str) -> Holding:
        return self.holdings[name]


async def read_books(cluster: ProcessCluster) -> Books:
    """What the escrow holds for each member, by name. Raises ``ChainRefused``."""
    chain, holdings = cluster.chain, {}
    for member in cluster.members.values():
        if member.account is None:
            continue
        address = member.account.address
        words = await view(chain, cluster.escrow, _ACCOUNT_OF + bytes(12) + address)
        free, stake = int.from_bytes(words[:32]), int.from_bytes(words[32:64])
        holdings[member.name] = Holding(free, stake, await native_of(chain, address))
    burnable = int.from_bytes(await view(chain, cluster.escrow, _BURNABLE))
    return Books(holdings, burnable)


def check_conserved(before: Books, after: Books) -> None:
    """Raises ``Failed`` when tokens came from nowhere or are still locked: what all lost is what was burned."""
    totals = [sum(one.free + one.stake for one in books.holdings.values()) for books in (before, after)]
    burned = after.burnable - before.burnable
    if totals[0] - totals[1] != burned:
        raise Failed(f"all together are {totals[0] - totals[1]} wei lighter, {burned} wei were burned")


def balance_figures(before: Books, after: Books) -> dict[str, Any]:
    """What each has in the end and what came or went, in wei as text: the ``balances`` of a report."""
    shown: dict[str, Any] = {}
    for name, now in after.holdings.items():
        then = before.holdings.get(name, now)
        shown[name] = {
            "free_wei": str(now.free),
            "stake_wei": str(now.stake),
            "free_change_wei": str(now.free - then.free),
            "stake_change_wei": str(now.stake - then.stake),
            "gas_paid_wei": str(then.gas - now.gas),
        }
    return {**shown, "burned_wei": str(after.burnable - before.burnable)}
