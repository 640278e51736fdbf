"""What does a node do to learn whom its output matches? Has it hashed, asks for others', pulls, verifies, compares.

The same for a seat and for the provider. Nothing of a stranger's output is read in this process: it is hashed, normalised and
compared in one that is locked in (`MarkOutput`, `CompareOutputs`).
"""

from typing import Final

import msgspec

from protocols import events as ev
from protocols.deals.states import Ran
from protocols.deals.terms import Level
from protocols.disputes.params import TOLERANCE
from protocols.disputes.record import Place, Record
from protocols.disputes.states import Phase
from protocols.effects import CompareOutputs, Effect, FetchBlobs, MarkOutput, Notify, Send
from protocols.env import Env
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.job.canonical import CanonicalJob
from protocols.mediation.book import ANSWER_EVERY_MS, ASK_EVERY_S
from protocols.mediation.case import result_bytes
from protocols.mediation.outputs import Look, key_of, may_see, named_places, shows, wanted
from protocols.messages.dispute import OutputPull, OutputTold
from protocols.messages.negotiation import InputRoot
from protocols.signing import address_of_peer
from protocols.state import NodeState
from protocols.units import Address, Cid, DealId, Hash32, Millis, PeerId

__all__ = [
    "PURPOSE",
    "Mine",
    "arrived",
    "compare_with",
    "compared",
    "failed",
    "look",
    "look_of",
    "marked",
    "pull_arrived",
    "told",
]

PURPOSE: Final = "output-"
"""How the purpose of a pull of another's output begins; the operator follows, in hexadecimal."""
_FOLDER: Final = bytes.fromhex("01701220")
_NEVER: Final = frozenset({"too_large", "malformed"})
"""Codes of a pull that ended because of what the tree is."""


class Mine(msgspec.Struct, frozen=True):
    """This node's own output, and how its job wants it to be compared."""

    ran: Ran
    job: bytes
    level: Level


def look_of(state: NodeState, deal_id: DealId) -> Look:
    """What is known of outputs in a dispute. What was known of disputes that are over is forgotten here."""
    for over in [one for one in state.looks if one not in state.open_disputes]:
        del state.looks[over]
    return state.looks.setdefault(deal_id, Look())


def look(state: NodeState, record: Record, mine: Mine, env: Env, own: tuple[Place, ...]) -> list[Effect]:
    """Whatever is to be done now. ``own``: places of this operator in the panel that sits; none for the provider.

    Its own output is hashed once, under the key of everybody who may reveal: then most is known when all have.
    """
    known = look_of(state, record.deal_id)
    # What this node holds under other fingerprints than its own places have revealed is nowhere to be pulled from.
    known.theirs.setdefault(mine.ran.owner, {})
    matching = record.phase is Phase.MATCHING
    keys = dict.fromkeys(key_of(record, *place) for place in named_places(record, firsts=bool(own)))
    missing = tuple(key for key in keys if key not in known.marks and key not in known.marking)
    effects: list[Effect] = []
    if missing:
        known.marking.update(missing)
        effects.append(_mark(record.deal_id, mine, mine.ran, missing))
    if matching and mine.level in TOLERANCE and all(key in known.marks for key in keys):
        for operator, open_ in wanted(record, known, mine.level, firsts=bool(own)).items():
            effects += _approach(state, record, known, operator, open_, mine, env)
    return effects


def _approach(
    state: NodeState,
    record: Record,
    known: Look,
    operator: Address,
    places: list[tuple[int, Place]],
    mine: Mine,
    env: Env,
) -> list[Effect]:
    """The next step towards knowing whether an operator's output matches: its word, its bytes, their hash, the comparison."""
    deal_id, theirs = record.deal_id, known.told.get(operator)
    if theirs is None:
        return _ask(state, record, known, operator, env)
    if operator not in known.pulled:
        if theirs.root != mine.ran.root:
            return [_pull(deal_id, known.peers[operator], theirs, mine)]
        known.pulled.add(operator)
    if operator not in known.theirs:
        return [_mark(deal_id, mine, theirs, tuple(key_of(record, *place) for place in places))]
    return [compare_with(deal_id, mine, theirs)]


def _ask(state: NodeState, record: Record, known: Look, operator: Address, env: Env) -> list[Effect]:
    last = known.asked.get(operator)
    if last is not None and state.chain_now - last < ASK_EVERY_S:
        return []
    known.asked[operator] = state.chain_now
    authors = [author for about, author in state.cases.notices if about == record.deal_id]
    protocol, data = env.seal(OutputPull(record.deal_id))
    return [Send(peer=one, protocol=protocol, data=data) for one in authors if address_of_peer(one) == operator]


def _pull(deal_id: DealId, peer: PeerId, theirs: Ran, mine: Mine) -> FetchBlobs:
    purpose = PURPOSE + theirs.owner.hex()
    roots = (InputRoot(theirs.root, result_bytes(CanonicalJob.decode(mine.job))),)
    key = f"fetch:{deal_id.hex()}:{purpose}"
    return FetchBlobs(key=key, deal_id=deal_id, purpose=purpose, peer=peer, roots=roots)


def _mark(deal_id: DealId, mine: Mine, ran: Ran, keys: tuple[Hash32, ...]) -> MarkOutput:
    """Another output, or other keys, is another effect."""
    name = keccak256(ran.root, *keys)[:8].hex()
    return MarkOutput(key=f"mark:{deal_id.hex()}:{name}", deal_id=deal_id, job=mine.job, ran=ran, keys=keys)


def compare_with(deal_id: DealId, mine: Mine, theirs: Ran) -> CompareOutputs:
    """Compare another's output, which is here, with this node's own."""
    key = f"compare:{deal_id.hex()}:{theirs.owner.hex()}"
    return CompareOutputs(key=key, deal_id=deal_id, job=mine.job, ran=theirs, others=(mine.ran,))


# --- asked and told ------------------------------------------------------------------------------------------------


def pull_arrived(state: NodeState, peer: PeerId, message: OutputPull, at: Millis, env: Env) -> list[Effect]:
    """Who may see it is told which output stands behind this node's fingerprint. Who asks too early is not to blame."""
    deal_id = message.deal_id
    record, case = state.cases.records.get(deal_id), state.durable.cases.get(deal_id)
    if record is None or case is None or case.ran is None or not shows(record, env.signer.address):
        return []
    if not may_see(record, address_of_peer(peer), case.deal.level):
        return []
    known = look_of(state, deal_id)
    if at - known.answered.get(peer, Millis(at - ANSWER_EVERY_MS)) < ANSWER_EVERY_MS:
        return []
    known.answered[peer] = at
    protocol, data = env.seal(OutputTold(deal_id, case.ran.root, case.ran.outcome, case.ran.exit_code))
    return [Send(peer=peer, protocol=protocol, data=data)]


def told(state: NodeState, peer: PeerId, message: OutputTold) -> bool:
    """Somebody says which output is its own; whether that was asked for. Raises ``RemoteProtocolError`` for what is none."""
    operator, known = address_of_peer(peer), state.looks.get(message.deal_id)
    if message.root[:4] != _FOLDER:
        raise RemoteProtocolError("the root of an output is no folder's", code="bad_root")
    if known is None or operator not in known.asked or operator in known.told:
        return False
    known.peers[operator] = peer
    known.told[operator] = Ran(operator, message.outcome, message.exit_code, 0, Cid(message.root))
    return True


# --- what was done ----------------------------------------------------------------------------------------------------


def arrived(state: NodeState, event: ev.BlobsArrived) -> None:
    """Another's output is here."""
    known = state.looks.get(event.deal_id)
    operator = _operator(event.purpose)
    if known is not None and operator in known.told:
        known.pulled.add(operator)


def failed(state: NodeState, event: ev.BlobsFailed) -> list[Effect]:
    """It is not served, or it is not what it may be. The first is asked for again; the other matches nobody."""
    known = state.looks.get(event.deal_id)
    operator = _operator(event.purpose)
    if known is None or operator not in known.told:
        return []
    if event.code in _NEVER:
        known.pulled.add(operator)
        known.theirs[operator] = {}
    else:
        del known.told[operator]
    fields = {"operator": "0x" + operator.hex(), "code": event.code, "detail": event.detail}
    return [Notify(subject=event.deal_id, name="output.unserved", fields=fields)]


def _operator(purpose: str) -> Address:
    return Address(bytes.fromhex(purpose.removeprefix(PURPOSE)))


def marked(state: NodeState, event: ev.OutputMarked, env: Env) -> list[Effect]:
    """Fingerprints are made: of this node's own output, or of one that it has pulled."""
    if event.deal_id not in state.open_disputes:
        return []
    known, found = look_of(state, event.deal_id), dict(zip(event.keys, event.marks, strict=bool(event.marks)))
    operator = event.ran.owner
    if operator == env.signer.address:
        known.marks.update(found)
        known.marking.difference_update(found)
    elif known.told.get(operator) == event.ran:
        known.theirs[operator] = found
    if event.marks:
        return []
    fields = {"operator": "0x" + operator.hex(), "detail": event.detail}
    return [Notify(subject=event.deal_id, name="output.unreadable", fields=fields)]


def compared(state: NodeState, event: ev.OutputsCompared) -> list[Effect]:
    """The comparator has looked at another's output. Where it could not say anything, the two do not match."""
    if event.deal_id not in state.open_disputes:
        return []
    same = event.same == (True,)
    look_of(state, event.deal_id).same[event.owner] = same
    fields = {"operator": "0x" + event.owner.hex(), "same": str(same), "detail": event.detail}
    return [Notify(subject=event.deal_id, name="output.compared", fields=fields)]
