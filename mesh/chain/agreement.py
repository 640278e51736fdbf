"""Do the RPC endpoints tell the same chain, and which of them forges when they do not?

What a node acts on for good is asked of a second endpoint when there is one. Endpoints that contradict each other for
longer than a reorganisation takes are judged: by majority, else by what each can prove (a header that hashes to its hash and
stands on its parent, receipts that the header names). Whoever loses is never asked again. Where neither decides, nothing is
answered: a node that does not know which chain is true does nothing. Endpoints that are dead, or behind, are no witnesses;
with one endpoint alone that one is believed (docs/protocol/escrow.md).
"""

from contextlib import suppress
from typing import Final, TypeVar

import msgspec
import trio

from mesh.base.observe import get_log
from mesh.chain import wire
from mesh.chain.endpoint import Endpoint
from mesh.chain.errors import ChainError, EndpointsDisagree, Unconfirmed
from mesh.chain.questions import Question, block_asked, block_question
from mesh.chain.rpc import Doubt, Rpc
from mesh.chain.wire import Head

__all__ = ["FIX", "MAX_DOUBTS", "agreed", "check_agreement"]

MAX_DOUBTS: Final = 2048
"""Contradictions remembered, 200 B each: one per transaction in flight, and a few about logs and accounts."""
FIX: Final = (
    "mesh config set chain.rpc URL   (an endpoint that you trust; it then decides), or remove the one that lies"
)

_Value = TypeVar("_Value")
log = get_log("chain")


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
        found = await rpc.ask(witness, *block_asked(height)) if named is not None else None
    if found is not None:
        if found.hash != named:
            await agreed(rpc, block_question(rpc, height))
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
    told = await agreed(rpc, msgspec.structs.replace(block_question(rpc, head.number), about=about, settles=True))
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
