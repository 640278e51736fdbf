"""Who has what? The money of a devnet's members as the chain tells it, also of those whose process is gone."""

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from devnet.chain.control import native_of, view
from devnet.cluster import ProcessCluster
from devnet.scenario import Failed
from mesh.api.types import DealInfo
from protocols.deals.panel_terms import PANEL_CLASS
from protocols.hashing import keccak256

__all__ = ["Books", "Holding", "balance_figures", "check_conserved", "read_books", "still_locked"]

_ACCOUNT_OF: Final = keccak256(b"accountOf(address)")[:4]
_BALANCE_OF: Final = keccak256(b"balanceOf(address)")[:4]
_BURNABLE: Final = keccak256(b"burnable()")[:4]
_SEAT_COUNT: Final = keccak256(b"seatCount(uint32)")[:4]
_SEAT_OF: Final = keccak256(b"seatOf(uint32,uint256)")[:4]
_WORD: Final = 32
_BOND_WORD: Final = 4
"""Of a seat, what is left of its bond; the first word is its owner."""


class Holding(msgspec.Struct, frozen=True):
    """One member's money in wei: in the escrow free and staked, at the panel, and the chain's own coin for gas."""

    free: int
    stake: int
    panel: int
    """Its account there, and the bonds of its seats."""
    gas: int

    @property
    def tokens(self) -> int:
        """All that it owns of the token, wherever it stands."""
        return self.free + self.stake + self.panel


class Books(msgspec.Struct, frozen=True):
    """Everybody's money at one moment, in wei."""

    holdings: dict[str, Holding]
    burnable: int
    """Fees, penalties and lost locks that nobody gets any more, in the escrow and at the panel."""
    held: int
    """What these two contracts own of the token."""

    def __getitem__(self, name: str) -> Holding:
        return self.holdings[name]

    @property
    def locked(self) -> int:
        """What is nobody's at the moment: in deals, channels and disputes that are not over."""
        return self.held - self.burnable - sum(one.tokens for one in self.holdings.values())

    def won_since(self, before: "Books") -> dict[str, int]:
        """Tokens won, or lost, by each member that was there before."""
        return {name: self[name].tokens - was.tokens for name, was in sorted(before.holdings.items())}


async def read_books(cluster: ProcessCluster) -> Books:
    """What the contracts hold for each member, by name. Raises ``ChainRefused``."""
    chain, holdings = cluster.chain, {}
    bonds = await _bonds(cluster)
    for member in cluster.members.values():
        if member.account is None:
            continue
        address = member.account.address
        free, stake = await _ask(cluster, cluster.escrow, _ACCOUNT_OF, address, words=2)
        (credit,) = await _ask(cluster, cluster.panel, _ACCOUNT_OF, address)
        owned = credit + bonds.get(address, 0)
        holdings[member.name] = Holding(free, stake, owned, await native_of(chain, address))
    burnable = held = 0
    for contract in (cluster.escrow, cluster.panel):
        burnable += (await _ask(cluster, contract, _BURNABLE))[0]
        held += (await _ask(cluster, cluster.token, _BALANCE_OF, bytes.fromhex(contract.removeprefix("0x"))))[0]
    return Books(holdings, burnable, held)


async def _bonds(cluster: ProcessCluster) -> dict[bytes, int]:
    """What the seats of each owner hold."""
    held: dict[bytes, int] = {}
    (seats,) = await _ask(cluster, cluster.panel, _SEAT_COUNT, PANEL_CLASS)
    for number in range(seats):
        words = await _ask(cluster, cluster.panel, _SEAT_OF, PANEL_CLASS, number, words=_BOND_WORD + 1)
        owner = words[0].to_bytes(_WORD)[-20:]
        held[owner] = held.get(owner, 0) + words[_BOND_WORD]
    return held


async def _ask(
    cluster: ProcessCluster, contract: str, selector: bytes, *given: bytes | int, words: int = 1
) -> list[int]:
    """The first words that a contract answers."""
    padded = [one.to_bytes(_WORD) if isinstance(one, int) else one.rjust(_WORD, bytes(1)) for one in given]
    told = await view(cluster.chain, contract, selector + b"".join(padded))
    return [int.from_bytes(told[at * _WORD : (at + 1) * _WORD]) for at in range(words)]


def check_conserved(before: Books, after: Books, locked: int = 0) -> None:
    """Raises ``Failed`` when tokens came from nowhere: what all lost is what was burned and, in wei, what is still locked."""
    if after.held != before.held:
        raise Failed(f"the contracts own {after.held - before.held} wei more than before")
    if after.locked - before.locked != locked:
        lost = -sum(after.won_since(before).values())
        burned = after.burnable - before.burnable
        raise Failed(
            f"all together are {lost} wei lighter, {burned} wei were burned, and {locked} wei should be locked"
        )


def still_locked(deals: Iterable[DealInfo]) -> int:
    """Price and collateral, in wei, of the deals among these that are committed and not over on chain."""
    open_ = [one for one in deals if one.commit_tx is not None and one.final_how in ("", "claimed")]
    return sum(int(one.price) + int(one.collateral) for one in open_)


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
        if now.panel or then.panel:
            shown[name] |= {"panel_wei": str(now.panel), "panel_change_wei": str(now.panel - then.panel)}
    burned, locked = after.burnable - before.burnable, after.locked - before.locked
    return {**shown, "burned_wei": str(burned), **({"locked_wei": str(locked)} if locked else {})}
