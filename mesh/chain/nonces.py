"""Which nonce is the next one, when an endpoint may lie about it?

What this node has seen land comes first: nobody is believed who tells less, and nobody alone who tells much more. A nonce too low
is refused by the chain, and one too high waits for ever behind a gap that nothing fills. A nonce is another program's only when
most endpoints say so: else a transaction would be signed anew, and its money sent twice.
"""

from collections.abc import Awaitable, Callable, Collection
from functools import partial
from typing import Final

import trio

from mesh.base.observe import get_log
from mesh.chain.errors import NonceRefused
from mesh.chain.eth import SURE_PAUSE_S, SURE_S, Eth
from mesh.chain.journal import TxJournal
from mesh.chain.polls import told_by_all, voted
from protocols.units import Address, Hash32

__all__ = ["MAX_JUMP", "Nonces", "is_used", "lowest_told"]

MAX_JUMP: Final = 1024
"""Transactions that another program may have sent with this key since our last one, as one endpoint alone tells it: as many as
this node itself may have in flight."""

log = get_log("chain")


class Nonces:
    """Those of one account, whose transactions stand in ``journal``."""

    def __init__(self, eth: Eth, account: Address, journal: TxJournal) -> None:
        self._eth = eth
        self._account = account
        self._journal = journal
        self._asked = False
        self._floor = 0
        self._known: int | None = None
        """One more than the nonce of our newest transaction that has landed, while it is known."""
        self._newest: tuple[Hash32, ...] = ()
        """That transaction, or those of which one may be it."""

    async def next(self, waiting: Collection[int]) -> int:
        """The lowest nonce that neither the chain has nor one of ours that is ``waiting``; with none, the chain is asked.

        Raises ``NonceRefused``, ``ChainUnreachable``.
        """
        if not waiting or not self._asked:
            if not self._asked and (newest := await self._journal.newest()):
                self._newest = tuple(Hash32(entry.hash) for entry in newest)
                self._known = newest[-1].nonce + 1 if await self._stands() else None
            self._floor = await _next_nonce(self._eth, self._account, self._known, self._stands)
            self._asked = True
        nonce = self._floor
        while nonce in waiting:
            nonce += 1
        return nonce

    def landed(self, nonce: int, tx_hash: Hash32) -> None:
        """Our transaction of this nonce is in a block."""
        self.taken(nonce)
        if self._known is None or nonce >= self._known:
            self._known, self._newest = nonce + 1, (tx_hash,)

    def taken(self, nonce: int) -> None:
        """Some transaction of this nonce is in a block."""
        self._floor = max(self._floor, nonce + 1)

    async def _stands(self) -> bool:
        """Whether our newest transaction is in the chain."""
        found = [await self._eth.agreed_receipt(tx_hash, anywhere=True) for tx_hash in self._newest]
        return any(receipt is not None for receipt in found)


async def _next_nonce(eth: Eth, account: Address, known: int | None, stands: Callable[[], Awaitable[bool]]) -> int:
    """The lowest nonce that no block has. ``known``: one more than that of our newest transaction known to have landed, None
    where there is none; ``stands`` asks whether that is still in the chain. Raises ``NonceRefused``, ``ChainUnreachable``.
    """
    until = trio.current_time() + SURE_S
    while True:
        told = await _told(eth, account)
        if known is not None and known in told:
            return known
        if known is not None and max(told) < known:
            if await stands():
                log.warning("nonce.below", told=max(told), ours=known)
                return known
            known = None  # the chain was set back
        if (agreed := _agreed(told)) is not None:
            if len(told) > 1 or known is None or agreed <= known + MAX_JUMP:
                return agreed
            raise NonceRefused(
                f"the only RPC endpoint says that {agreed - known} transactions of this key came from elsewhere",
                why=f"it names nonce {agreed}, our own next one is {known}; one that is too high would never be mined",
                fix="mesh config set chain.rpc URL   (a second endpoint, which confirms it)",
            )
        if trio.current_time() >= until:
            raise NonceRefused(
                "the RPC endpoints contradict each other about how many transactions this key has sent",
                why=f"they name nonces {', '.join(map(str, sorted(told)))}" + (f", ours is {known}" if known else ""),
                fix="mesh config set chain.rpc URL   (an endpoint that you trust; a third decides)",
            )
        await trio.sleep(SURE_PAUSE_S)


async def is_used(eth: Eth, account: Address, nonce: int) -> bool:
    """Whether a block has it, as most endpoints say. Raises ``ChainUnreachable``."""
    return voted([one > nonce for one in await _told(eth, account)])


async def lowest_told(eth: Eth, account: Address) -> int:
    """The least that any endpoint says. Raises ``ChainUnreachable``."""
    return min(await _told(eth, account))


async def _told(eth: Eth, account: Address) -> list[int]:
    return await told_by_all(eth.rpc, partial(eth.nonce_of, account))


def _agreed(told: list[int]) -> int | None:
    """What all of them say, or more than half and two at least."""
    return next((one for one in set(told) if voted([other == one for other in told])), None)
