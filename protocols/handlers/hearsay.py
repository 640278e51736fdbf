"""What does the chain show of a provider's deals with others, and who is asked with that in mind?

Own deals make a record (`deals`); here what others lived through is laid beside it. The chain names operators and offers name
peers, so the two meet whenever an offer is heard, which is every half minute.
"""

from protocols import events as ev
from protocols.effects import Effect
from protocols.env import Env
from protocols.reputation import Record
from protocols.signing import address_of_peer
from protocols.state import Hearsay, NodeState
from protocols.units import PeerId

__all__ = ["recall", "witnessed"]


def witnessed(state: NodeState, event: ev.DealsWitnessed, env: Env) -> list[Effect]:
    """Keep how deals of others have ended. Those of this node's own owner are its own, whoever operated them."""
    me = env.signer.address
    mine = (me, state.owner_of(me))
    for end in event.ends:
        if end.provider == me or end.counterparty in mine:
            continue
        heard = state.durable.hearsay.get(end.provider)
        before = Record(seen=heard.seen if heard else ())
        after = before.witness(end.timestamp, end.counterparty, kept=end.kept)
        state.durable.put_hearsay(end.provider, Hearsay(after.seen))
    return []


def recall(state: NodeState, peer: PeerId) -> None:
    """A provider offers: what was heard of it by now stands in its record."""
    heard = state.durable.hearsay.get(address_of_peer(peer))
    if heard is None:
        return
    record = state.records.get(peer, Record())
    if record.seen is not heard.seen:
        state.records[peer] = Record(record.days, record.kinds, heard.seen)
