"""Which nonce is the next one, when an endpoint may lie about it?

What this node has seen land comes first: nobody is believed who tells less, and nobody alone who tells much more. A nonce too low
is refused by the chain, and one too high waits for ever behind a gap that nothing fills. A nonce is another program's only when
most endpoints say so: else a transaction would be signed anew, and its money sent twice.
"""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import trio

from mesh.base.observe import get_log
from mesh.chain.errors import NonceRefused
from mesh.chain.eth import SURE_PAUSE_S, SURE_S, Eth
from mesh.chain.polls import told_by_all, voted
from protocols.units import Address

__all__ = ["MAX_JUMP", "is_used", "lowest_told", "next_nonce"]

MAX_JUMP: Final = 1024
"""Transactions that another program may have sent with this key since our last one, as one endpoint alone tells it: as many as
this node itself may have in flight."""

log = get_log("chain")


async def next_nonce(eth: Eth, account: Address, known: int | None, stands: Callable[[], Awaitable[bool]]) -> int:
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
