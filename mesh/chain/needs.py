"""How much gas does a transaction take and what may it pay, when an endpoint may lie about both?

Every endpoint is asked. One that tells too little would have a transaction fail half way, or wait for ever; one that says that
a call reverts would keep a claim from being posted; one that tells too much would have the account look empty. A transaction
pays the base fee of its block, whatever it offers, and gas that is left over costs nothing: of two answers the larger is taken,
of three the middle one.
"""

import math
from typing import Final

import trio

from mesh.chain.endpoint import Endpoint
from mesh.chain.errors import FeeAboveCap, RpcError
from mesh.chain.eth import MAX_GAS, SURE_PAUSE_S, SURE_S, Eth, TxCall
from mesh.chain.polls import told_by_all, upper_median, voted
from protocols.units import Address

__all__ = ["GAS_MARGIN", "gas_limit", "max_fee", "told_base_fee"]

GAS_MARGIN: Final = (6, 5)
"""Gas limit = estimate x 1.2: state may change between estimate and block."""


async def gas_limit(eth: Eth, call: TxCall, sender: Address) -> int:
    """Gas to sign for. Raises ``RpcError`` when the call would revert and ``ChainUnreachable``.

    A call reverts when every endpoint says so, or most of three. Where one of two does, both are asked again for as long as one
    may be some blocks behind; then the call is sent: a revert on chain costs its gas, a claim that is never posted all of it.
    """
    if call.gas is not None:
        return call.gas

    async def ask(endpoint: Endpoint) -> int | RpcError:
        try:
            return await eth.estimate_of(endpoint, call, sender)
        except RpcError as error:
            return error

    until = trio.current_time() + SURE_S
    while True:
        told = await told_by_all(eth.rpc, ask)
        declined = [one for one in told if isinstance(one, RpcError)]
        if declined and voted([isinstance(one, RpcError) for one in told]):
            raise declined[0]
        if not declined or len(told) > 2 or trio.current_time() >= until:
            break
        await trio.sleep(SURE_PAUSE_S)
    estimate = upper_median([one for one in told if isinstance(one, int)])
    return min(-(-estimate * GAS_MARGIN[0] // GAS_MARGIN[1]) + call.spare, MAX_GAS)


async def told_base_fee(eth: Eth, cap: int) -> int:
    """Wei per gas that the newest block asks for; ``cap`` where one of two says more than that and the other less: what is
    signed for it lands if the other is right, and never pays more. Raises ``ChainUnreachable``."""
    told = [head.base_fee for head in await told_by_all(eth.rpc, eth.head_of)]
    if len(told) == 2 and min(told) <= cap < max(told):
        return cap
    return upper_median(told)


def max_fee(base_fee: int, cap: int) -> int:
    """Wei per gas to offer: twice the base fee, which then may double while the transaction waits. Raises ``FeeAboveCap``."""
    if base_fee > cap:
        raise FeeAboveCap(
            f"gas costs {base_fee / 1e9:g} gwei now, this node pays at most {cap / 1e9:g}",
            fix=f"mesh config set chain.max_fee_gwei {math.ceil(base_fee / 1e9 * 2)}   (or wait)",
        )
    return max(1, min(2 * base_fee, cap))
