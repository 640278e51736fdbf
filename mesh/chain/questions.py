"""What do we want to be certain of, how is an endpoint asked for it, and what proves an answer?

Each question is a value: who is asked, and who is believed, is for ``agreement`` to decide.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, Generic, TypeVar

import msgspec

from mesh.chain import wire
from mesh.chain.endpoint import Endpoint
from mesh.chain.errors import ChainError
from mesh.chain.proofs import Ask, block_proven
from mesh.chain.rpc import Rpc
from mesh.chain.wire import Head, Log, Receipt
from protocols.units import Hash32

__all__ = [
    "Question",
    "block_asked",
    "block_question",
    "receipt_question",
    "value_question",
    "window_question",
]

MAX_PROVEN_BLOCKS: Final = 4
"""Blocks whose receipts are fetched to prove an answer: one that was forged is enough."""

_Value = TypeVar("_Value")
Window = tuple[Head, tuple[Log, ...]]


class Question(msgspec.Struct, Generic[_Value], frozen=True):
    """Something to be certain of. ``ask`` answers None for what an endpoint does not know (yet)."""

    about: str
    """In words, the same each time it is asked: contradictions are timed by it."""
    ask: Callable[[Endpoint], Awaitable[_Value | None]]
    same: Callable[[_Value, _Value], bool]
    proven: Callable[[Endpoint, _Value, Sequence[_Value]], Awaitable[bool]]
    """Whether the endpoint can prove its answer, of which others tell ``others``."""
    vouched: Callable[[Endpoint, Endpoint, _Value], Awaitable[bool]]
    """Whether a witness that does not know the answer knows what proves it."""
    stands_in: Callable[[_Value], tuple[int, Hash32 | None]] | None = None
    """The height of the block that an answer stands in: whoever has it must know the answer. With its hash where the answer
    names one: then only who denies to have any block there is passed over, and who has another contradicts."""
    condemns: bool = True
    """Whether a wrong answer shows a liar: the newest state differs between honest endpoints."""
    settles: bool = False
    """Whether it is about what an endpoint that is waited for tells itself: then nothing further is asked of that one."""
    anywhere: bool = False
    """Whether the others are asked too when the endpoint that serves does not know it: what it hides is then found."""


def window_question(
    rpc: Rpc,
    last: int,
    block: Callable[[Endpoint], Awaitable[Head | None]],
    logs: Callable[[Endpoint], Awaitable[tuple[Log, ...]]],
    wanted: Callable[[Log], bool],
) -> Question[Window]:
    """The block of height ``last`` and the ``wanted`` logs of a window that ends there."""

    async def ask(endpoint: Endpoint) -> Window | None:
        head = await block(endpoint)
        return None if head is None else (head, await logs(endpoint))

    async def proven(endpoint: Endpoint, value: Window, others: Sequence[Window]) -> bool:
        head, told = value
        contested = {log.block_number for _, other in others for log in set(other) ^ set(told)} or {last}
        return all([
            await _block_stands(rpc, endpoint, number, head if number == last else None, told, wanted)
            for number in sorted(contested)[:MAX_PROVEN_BLOCKS]
        ])  # fmt: skip

    def same(one: Window, other: Window) -> bool:
        return one[0].hash == other[0].hash and one[0].timestamp == other[0].timestamp and one[1] == other[1]

    return Question("blocks and their logs", ask, same, proven, _nobody, lambda _: (last, None))


def block_question(rpc: Rpc, number: int) -> Question[Window]:
    """Which block is at a height, whatever is in it."""

    async def block(endpoint: Endpoint) -> Head | None:
        return await rpc.ask(endpoint, *block_asked(number))

    async def logs(endpoint: Endpoint) -> tuple[Log, ...]:
        return ()

    question = window_question(rpc, number, block, logs, lambda _: False)
    return msgspec.structs.replace(question, about=f"block {number}")


def block_asked(number: int) -> tuple[str, list[object], Callable[[object], Head | None]]:
    """Method, parameters and reader of a block by its height, None where there is none yet."""
    read = wire.matching(wire.head_or_none, lambda head: head is None or head.number == number, "block")
    return "eth_getBlockByNumber", [wire.hex_quantity(number), False], read


async def _block_stands(
    rpc: Rpc, endpoint: Endpoint, number: int, head: Head | None, told: Sequence[Log], wanted: Callable[[Log], bool]
) -> bool:
    """Whether a block and what is told of it hold together: hash, parent, receipts, and the logs in them."""
    ask: Ask = partial(rpc.ask, endpoint)
    found = await block_proven(ask, number)
    if found is None or (head is not None and found[0] != head):
        return False
    parent = await ask("eth_getBlockByNumber", [wire.hex_quantity(max(number - 1, 0)), False], wire.head_or_none)
    if number and (parent is None or parent.hash != found[0].parent):
        return False
    inside = {log for receipt in found[1] for log in receipt.logs if wanted(log)}
    return {log for log in told if log.block_number == number} == inside


def receipt_question(
    rpc: Rpc, tx_hash: Hash32, receipt: Callable[[Endpoint], Awaitable[Receipt | None]], *, anywhere: bool
) -> Question[Receipt]:
    """How a transaction of ours ended."""

    async def proven(endpoint: Endpoint, value: Receipt, others: Sequence[Receipt]) -> bool:
        try:
            found = await block_proven(partial(rpc.ask, endpoint), value.block_number)
        except ChainError:  # of the one that is to prove: it says nothing about who was asked besides
            return False
        return found is not None and found[0].hash == value.block_hash and value in found[1]

    async def vouched(witness: Endpoint, endpoint: Endpoint, value: Receipt) -> bool:
        number = wire.hex_quantity(value.block_number)
        head = await rpc.ask(witness, "eth_getBlockByNumber", [number, False], wire.head_or_none)
        return head is not None and head.hash == value.block_hash and await proven(endpoint, value, ())

    def same(one: Receipt, other: Receipt) -> bool:
        return msgspec.structs.replace(one, gas_price=0) == msgspec.structs.replace(other, gas_price=0)

    def block(value: Receipt) -> tuple[int, Hash32 | None]:
        return value.block_number, value.block_hash

    about = f"the receipt of 0x{tx_hash.hex()}"
    return Question(about, receipt, same, proven, vouched, block, anywhere=anywhere)


def value_question(
    rpc: Rpc, about: str, method: str, params: Sequence[object], read: Callable[[object], _Value]
) -> Question[_Value]:
    """A value of the newest state: a balance, a nonce. Endpoints that are some blocks apart tell different ones for a moment."""

    async def ask(endpoint: Endpoint) -> _Value | None:
        return await rpc.ask(endpoint, method, params, read)

    async def proven(endpoint: Endpoint, value: _Value, others: Sequence[_Value]) -> bool:
        return False

    return Question(about, ask, lambda one, other: one == other, proven, _nobody, condemns=False)


async def _nobody(witness: Endpoint, endpoint: Endpoint, value: object) -> bool:
    return False
