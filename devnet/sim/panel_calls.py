"""What does the calldata of a call of the panel mean? The panel's side of ``protocols.contracts.panel``.

Every argument is a word. Signatures come in their compact form, as they do on a chain.
"""

from collections.abc import Callable
from typing import Final

import msgspec

from protocols.contracts.calls import selector
from protocols.deals import eip712
from protocols.deals.eip712 import OutcomeCode, ResultCommit
from protocols.disputes import inputs as ins
from protocols.disputes.states import Side
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Signature, Tokens

__all__ = ["AboutAccount", "AboutDispute", "Join", "Resign", "Retire", "Shown", "Withdraw", "decoded"]

_WORD: Final = 32


class Shown(msgspec.Struct, frozen=True):
    """A signature that has to be checked before the input counts: of this struct, by ``client`` or ``provider``."""

    by: str
    value: eip712.SignedStruct
    signature: Signature


class AboutDispute(msgspec.Struct, frozen=True):
    """A call about one dispute."""

    deal_id: DealId
    input: ins.DisputeInput
    shown: Shown | None = None


class Join(msgspec.Struct, frozen=True):
    """One more seat."""

    seat_class: int


class Resign(msgspec.Struct, frozen=True):
    """A seat leaves."""

    seat_class: int
    seat: int


class Retire(msgspec.Struct, frozen=True):
    """What is left of a seat that has left."""

    seat_class: int
    seat: int


class Withdraw(msgspec.Struct, frozen=True):
    """Back to the escrow."""

    amount: Tokens


AboutAccount = Join | Resign | Retire | Withdraw
Decoder = Callable[[Address, list[Hash32]], AboutDispute | AboutAccount]


def _number(word: bytes) -> int:
    return int.from_bytes(word)


def _signature(r: bytes, vs: bytes) -> Signature:
    """65 bytes out of EIP-2098's 64."""
    bit, s = vs[0] >> 7, bytes([vs[0] & 0x7F]) + vs[1:]
    return Signature(r + s + bytes([27 + bit]))


def _result(deal_id: bytes, salted: Hash32, words: list[Hash32]) -> ResultCommit:
    """``words``: outcome, exit code, fuel, wall time, log head."""
    exit_code = int.from_bytes(words[1], signed=True)
    outcome = OutcomeCode(_number(words[0]))
    return ResultCommit(DealId(deal_id), salted, outcome, exit_code, _number(words[2]), _number(words[3]), words[4])


def _open(sender: Address, w: list[Hash32]) -> AboutDispute:
    # The panel puts in its own deal id and salted root.
    commit = _result(w[0], ZERO_HASH, w[3:])
    return AboutDispute(DealId(w[0]), ins.Opened(sender, w[1], w[2], commit))


def _equivocation(_: Address, w: list[Hash32]) -> AboutDispute:
    other = _result(w[0], w[1], w[2:7])
    return AboutDispute(DealId(w[0]), ins.Equivocated(), Shown("provider", other, _signature(w[7], w[8])))


def _delivery(_: Address, w: list[Hash32]) -> AboutDispute:
    receipt = eip712.DeliveryReceipt(deal_id=DealId(w[0]), result_hash=ZERO_HASH)
    return AboutDispute(DealId(w[0]), ins.Delivered(), Shown("client", receipt, _signature(w[1], w[2])))


def _seat(make: Callable[[Address, int, list[Hash32]], ins.DisputeInput]) -> Decoder:
    """(dealId, position, ...) sent by a seat's operator."""
    return lambda sender, w: AboutDispute(DealId(w[0]), make(sender, _number(w[1]), w[2:]))


_RESULT: Final = "(bytes32,uint256,int256,uint256,uint256,bytes32,bytes32,bytes32)"
_CALLS: Final[dict[bytes, Decoder]] = {
    selector("join(uint32)"): lambda _, w: Join(_number(w[0])),
    selector("resign(uint32,uint256)"): lambda _, w: Resign(_number(w[0]), _number(w[1])),
    selector("retire(uint32,uint256)"): lambda _, w: Retire(_number(w[0]), _number(w[1])),
    selector("withdraw(uint256)"): lambda _, w: Withdraw(Tokens(_number(w[0]))),
    selector("showSecret(bytes32,bytes32)"): lambda _, w: AboutDispute(DealId(w[0]), ins.SecretShown(w[1])),
    selector("accept(bytes32,uint256)"): _seat(lambda who, at, w: ins.Accepted(who, at)),
    selector("commit(bytes32,uint256,bytes32)"): _seat(lambda who, at, w: ins.Committed(who, at, w[0])),
    selector("missInputs(bytes32,uint256)"): _seat(lambda who, at, w: ins.InputsMissing(who, at)),
    selector("open(bytes32,(bytes32,bytes32,uint256,int256,uint256,uint256,bytes32))"): _open,
    selector("reveal(bytes32,uint256,bytes32,bytes32,bool)"): _seat(
        lambda who, at, w: ins.Revealed(who, at, w[0], w[1], bool(_number(w[2])))
    ),
    selector("publish(bytes32,uint256,uint16)"): _seat(lambda who, at, w: ins.Matched(who, at, _number(w[0]))),
    selector("publishProvider(bytes32,uint16)"): lambda who, w: AboutDispute(
        DealId(w[0]), ins.ProviderMatched(who, _number(w[1]))
    ),
    selector("showDelivery(bytes32,bytes32,bytes32)"): _delivery,
    selector(f"proveEquivocation(bytes32,{_RESULT})"): _equivocation,
    selector("deposit(bytes32,uint8)"): lambda who, w: AboutDispute(
        DealId(w[0]), ins.Deposited(who, Side(_number(w[1])))
    ),
    selector("poke(bytes32)"): lambda _, w: AboutDispute(DealId(w[0]), ins.Poked()),
}


def decoded(sender: Address, data: bytes) -> AboutDispute | AboutAccount | None:
    """What a call asks for; None for one that the panel does not have, or with words that no type of its has."""
    decode = _CALLS.get(data[:4])
    words = [Hash32(data[at : at + _WORD]) for at in range(4, len(data), _WORD)]
    try:
        return decode(sender, words) if decode else None
    except (ValueError, IndexError):
        return None
