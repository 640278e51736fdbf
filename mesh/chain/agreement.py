"""Do the RPC endpoints tell the same chain, and which of them forges when they do not?

What a node acts on for good is asked of a second endpoint when there is one. Endpoints that contradict each other for
longer than a reorganisation takes are judged: by majority, else by what each can prove (a header that hashes to its hash and
stands on its parent, receipts that the header names). Whoever loses is never asked again. Where neither decides, nothing is
answered: a node that does not know which chain is true does nothing. Endpoints that are dead, or behind, are no witnesses;
with one endpoint alone that one is believed (docs/protocol/escrow.md).
"""

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Final, Generic, TypeVar

import msgspec
import trio

from mesh.base.observe import get_log
from mesh.chain import wire
from mesh.chain.endpoint import Endpoint
from mesh.chain.errors import ChainError, EndpointsDisagree, Unconfirmed
from mesh.chain.proofs import Ask, block_proven
from mesh.chain.rpc import Doubt, Rpc
from mesh.chain.wire import Head, Log, Receipt
from protocols.units import Hash32

__all__ = [
    "FIX",
    "MAX_DOUBTS",
    "Question",
    "agreed",
    "check_agreement",
    "receipt_question",
    "value_question",
    "window_question",
]

MAX_DOUBTS: Final = 2048
"""Contradictions remembered, 200 B each: one per transaction in flight, and a few about logs and accounts."""
MAX_PROVEN_BLOCKS: Final = 4
"""Blocks whose receipts are fetched to prove an answer: one that was forged is enough."""
FIX: Final = (
    "mesh config set chain.rpc URL   (an endpoint that you trust; it then decides), or remove the one that lies"
)

_Value = TypeVar("_Value")
Window = tuple[Head, tuple[Log, ...]]
log = get_log("chain")


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


async def agreed(rpc: Rpc, question: Question[_Value]) -> _Value | None:
    """The answer that a second endpoint confirms, or, with nobody to ask, that the only one gives; None when it is unknown.

    Raises ``Unconfirmed`` while the others do not know it yet or contradict it, ``EndpointsDisagree`` when that has lasted and
    nothing decides, ``ChainUnreachable`` and ``RpcError``.
    """
    while True:
        endpoint, value = await rpc.served(question.ask)
        if value is None:
            found = await _elsewhere(rpc, question, endpoint) if question.anywhere else None
            if found is None:
                return None
            endpoint, value = found
        heard = await _heard(rpc, question, endpoint, value)
        if heard is not None and heard is not False:
            rpc.doubts.pop(question.about, None)
            return value
        if heard is None:
            raise Unconfirmed(f"{endpoint.name} alone knows {question.about} so far", endpoint=endpoint.name)
        if not await _judge(rpc, question):
            best = await _majority(rpc, question)
            if best is None:
                raise _disagree(rpc, question)
            return best


def check_agreement(rpc: Rpc) -> None:
    """Raises ``EndpointsDisagree`` while they contradict each other: what is sent then may rest on a lie."""
    if told := rpc.disagreement:
        raise EndpointsDisagree("nothing is sent while the RPC endpoints tell different chains", why=told, fix=FIX)


async def _elsewhere(rpc: Rpc, question: Question[_Value], silent: Endpoint) -> tuple[Endpoint, _Value] | None:
    """The first of the others that knows it, and what it says."""
    for other in rpc.witnesses(silent):
        with suppress(ChainError):
            if (told := await question.ask(other)) is not None:
                return other, told
    return None


async def _heard(rpc: Rpc, question: Question[_Value], endpoint: Endpoint, value: _Value) -> bool | None:
    """True: confirmed, or nobody there to ask. False: contradicted. None: they do not know it yet."""
    late = False
    for other in rpc.witnesses(endpoint):
        try:
            told = await question.ask(other)
            if told is None and await question.vouched(other, endpoint, value):
                rpc.doubts.pop(_waited_for(other, question), None)
                return True
        except ChainError:
            continue
        if told is None:
            late |= not other.lagging and not await _denies(rpc, question, other, value)
        elif question.same(told, value):
            rpc.doubts.pop(_waited_for(other, question), None)
            return True
        elif question.condemns:
            return False
        elif not other.lagging:
            if await _abreast(rpc, endpoint, other):
                return False
            late = True
    return None if late else True


async def _denies(rpc: Rpc, question: Question[_Value], witness: Endpoint, value: _Value) -> bool:
    """Whether a witness that does not know the answer is one no longer: for long it has said that it has got so far and denied
    the block, or it is behind and has long stood still. It would be waited for for ever.

    Who tells of blocks that an honest witness has not reached gains nothing by this: that one goes on, and is waited for; nor
    does who tells of a block where a witness has another. That is a contradiction, and judged as one: raises ``Unconfirmed``
    and ``EndpointsDisagree``. So is a newest block of the witness that is not the chain's: who goes on along the same chain in
    true time arrives, or is soon seen to lag.
    """
    if question.stands_in is None:
        return False
    height, named = question.stands_in(value)
    head, found = None, None
    with suppress(ChainError):  # who does not tell has not got further
        head = await rpc.ask(witness, "eth_getBlockByNumber", ["latest", False], wire.head)
        found = await rpc.ask(witness, *_block(height)) if named is not None else None
    if found is not None:
        if found.hash != named:
            await agreed(rpc, _block_question(rpc, height))
        return False
    if head is not None and head.number < height and not question.settles and await _strays(rpc, witness, head):
        return True
    doubt = _doubt(rpc, _waited_for(witness, question))
    before, doubt.height = doubt.height, max(doubt.height, head.number if head is not None else -1)
    denied, doubt.denies = doubt.denies, doubt.height >= height
    if not denied and doubt.height > before:
        doubt.since = trio.current_time()
    patience = rpc.settings.agree_s if doubt.denies else rpc.settings.max_lag_s
    return trio.current_time() - doubt.since >= patience


async def _strays(rpc: Rpc, witness: Endpoint, head: Head) -> bool:
    """Whether a witness that is behind was refused, because it gives its newest block a time that this block does not have: it
    would never be seen to lag. Raises ``Unconfirmed`` and ``EndpointsDisagree`` where the chain has another block."""
    about = f"the chain that {witness.name} is behind on"
    told = await agreed(rpc, msgspec.structs.replace(_block_question(rpc, head.number), about=about, settles=True))
    if told is None or told[0].hash != head.hash or told[0].timestamp == head.timestamp:
        return False
    rpc.refuse(witness, f"forges: it gives block {head.number} another time as its newest than by its number")
    log.error("endpoint.forges", endpoint=witness.name, about=about)
    return True


def _waited_for(witness: Endpoint, question: Question[_Value]) -> str:
    return f"whether {witness.name} knows {question.about}"


def _doubt(rpc: Rpc, name: str) -> Doubt:
    """That of this name, from now on if it is new; the oldest gives way to it."""
    if name not in rpc.doubts and len(rpc.doubts) >= MAX_DOUBTS:
        rpc.doubts.pop(next(iter(rpc.doubts)))
    return rpc.doubts.setdefault(name, Doubt(trio.current_time()))


async def _abreast(rpc: Rpc, one: Endpoint, other: Endpoint) -> bool:
    """Whether two endpoints have the same newest block: only then does their newest state have to be the same."""
    try:
        heads = [await rpc.ask(each, "eth_getBlockByNumber", ["latest", False], wire.head) for each in (one, other)]
    except ChainError:
        return False
    return heads[0].number == heads[1].number


async def _judge(rpc: Rpc, question: Question[_Value]) -> bool:
    """Whether a liar was found and refused, so that it is worth asking again. Raises ``Unconfirmed`` before it is time."""
    now = trio.current_time()
    doubt = _doubt(rpc, question.about)
    if now - doubt.since < rpc.settings.agree_s:
        if doubt.told:
            raise _disagree(rpc, question)
        raise Unconfirmed(f"the endpoints contradict each other about {question.about}")
    doubt.since = now
    if not question.condemns:
        return False
    camps = await _camps(rpc, question)
    if len(camps) < 2:
        rpc.doubts.pop(question.about, None)
        return True
    right = _largest(camps)
    if right is None:
        right = await _only_proven(question, camps)
    if right is None:
        return False
    for value, camp in camps:
        if value is not right:
            for endpoint in camp:
                rpc.refuse(endpoint, f"forges: it contradicts the others about {question.about}")
                log.error("endpoint.forges", endpoint=endpoint.name, about=question.about)
    rpc.doubts.pop(question.about, None)
    return True


async def _majority(rpc: Rpc, question: Question[_Value]) -> _Value | None:
    """What most of the endpoints say, for a question that shows no liars."""
    return None if question.condemns else _largest(await _camps(rpc, question))


async def _camps(rpc: Rpc, question: Question[_Value]) -> list[tuple[_Value, list[Endpoint]]]:
    """Who tells what, of those that know."""
    camps: list[tuple[_Value, list[Endpoint]]] = []
    for endpoint in rpc.witnesses():
        try:
            told = await question.ask(endpoint)
        except ChainError:
            continue
        if told is None:
            continue
        camp = next((members for value, members in camps if question.same(value, told)), None)
        if camp is None:
            camps.append((told, [endpoint]))
        else:
            camp.append(endpoint)
    return camps


def _largest(camps: list[tuple[_Value, list[Endpoint]]]) -> _Value | None:
    """The answer of more than half of them, and of two at least."""
    total = sum(len(members) for _, members in camps)
    return next((value for value, members in camps if len(members) >= 2 and 2 * len(members) > total), None)


async def _only_proven(question: Question[_Value], camps: list[tuple[_Value, list[Endpoint]]]) -> _Value | None:
    """The only answer that somebody proves."""
    proven = []
    for value, members in camps:
        others = [other for other, _ in camps if other is not value]
        for endpoint in members:
            try:
                if await question.proven(endpoint, value, others):
                    proven.append(value)
                    break
            except ChainError:
                continue
    return proven[0] if len(proven) == 1 else None


def _disagree(rpc: Rpc, question: Question[_Value]) -> EndpointsDisagree:
    names = ", ".join(endpoint.name for endpoint in rpc.witnesses())
    told = f"{names} contradict each other about {question.about}, and nothing shows which of them lies"
    if question.condemns and (doubt := rpc.doubts.get(question.about)) is not None:
        doubt.told = told
    return EndpointsDisagree("the RPC endpoints tell different chains", why=told, fix=FIX)


# the questions


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


def _block_question(rpc: Rpc, number: int) -> Question[Window]:
    """Which block is at a height, whatever is in it."""

    async def block(endpoint: Endpoint) -> Head | None:
        return await rpc.ask(endpoint, *_block(number))

    async def logs(endpoint: Endpoint) -> tuple[Log, ...]:
        return ()

    question = window_question(rpc, number, block, logs, lambda _: False)
    return msgspec.structs.replace(question, about=f"block {number}")


def _block(number: int) -> tuple[str, list[object], Callable[[object], Head | None]]:
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
