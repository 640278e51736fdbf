"""How did a transaction end, and if the contract refused it, why? Receipts keep no reasons: the call is asked again."""

from mesh.chain.errors import ChainUnreachable, InsufficientFunds, RpcError, TxRefused
from mesh.chain.eth import Eth, TxCall
from mesh.chain.needs import gas_limit
from mesh.chain.outcomes import Confirmed, Reverted
from mesh.chain.refusals import Refusal, classify
from mesh.chain.reverts import NO_REASON, RevertReason, Reverts
from mesh.chain.wire import Receipt
from protocols.units import Address

__all__ = ["ending", "gas_or_reason"]


async def ending(
    eth: Eth, reverts: Reverts, call: TxCall, sender: Address, receipt: Receipt, gas: int
) -> Confirmed | Reverted:
    """What a receipt says. ``gas``: the limit that was signed; whoever used all of it ran out of it. Raises nothing."""
    if receipt.status:
        return Confirmed(
            receipt.tx_hash,
            receipt.block_number,
            receipt.block_hash,
            receipt.gas_used,
            receipt.created,
            receipt.logs,
        )
    reason = await _why(eth, reverts, call, sender, receipt.block_number)
    if reason is NO_REASON and receipt.gas_used >= gas:
        reason = RevertReason("OutOfGas", {"limit": str(receipt.gas_used)})
    return Reverted(reason, receipt.tx_hash, receipt.block_number, receipt.gas_used)


async def gas_or_reason(eth: Eth, reverts: Reverts, call: TxCall, sender: Address) -> int | Reverted:
    """Gas to sign for, or why the contract would refuse: found out by the estimate, at no cost.

    Raises ``InsufficientFunds``, ``TxRefused``, ``ChainUnreachable``.
    """
    try:
        return await gas_limit(eth, call, sender)
    except RpcError as error:
        if error.data or classify(error.why) is Refusal.REVERT:
            return Reverted(reverts.read(error.data))
        if classify(error.why) is Refusal.FUNDS:
            raise InsufficientFunds(
                "the account cannot pay for the transaction",
                why=error.why,
                fix=f"mesh wallet show   (send ether to 0x{sender.hex()})",
                endpoint=error.endpoint,
            ) from error
        raise TxRefused("the chain cannot estimate the transaction", why=error.why, endpoint=error.endpoint) from error


async def _why(eth: Eth, reverts: Reverts, call: TxCall, sender: Address, block: int) -> RevertReason:
    """Ask the state after the block, then before it, what the call says; nodes keep no reasons in receipts."""
    for tag in (block, block - 1):
        try:
            await eth.call(call, sender, tag)
        except RpcError as error:
            if error.data:
                return reverts.read(error.data)
        except ChainUnreachable:
            break
    return NO_REASON
