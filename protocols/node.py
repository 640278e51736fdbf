"""What does a node do when something happens? A table from event type to handler, and nothing else.

`handle` changes the state in place and returns the effects that follow. It is deterministic: the same state and the same
event give the same effects, on every machine, in the simulator and in a replay.
"""

from collections.abc import Callable
from typing import Any, Final

from protocols import events as ev
from protocols.effects import Effect
from protocols.env import Env
from protocols.handlers import (
    beacon,
    cases,
    channels,
    client,
    deals,
    disputes,
    hearsay,
    outputs,
    owners,
    provider,
    scores,
    search,
    seat_work,
    seats,
    wire,
)
from protocols.state import CLIENT, NodeState

__all__ = ["HANDLERS", "handle", "next_wakeup"]

Handler = Callable[[NodeState, Any, Env], list[Effect]]


def _started(state: NodeState, event: ev.NodeStarted, env: Env) -> list[Effect]:
    state.wall = event.wall
    state.incarnation = event.incarnation
    state.addresses = event.addresses
    state.timers.set("sweep:", event.at + env.params.offer_heartbeat * 1000)
    beacon.started(state, event)
    return [
        *channels.started(state, env),
        *deals.started(state, event, env),
        *client.started(state, event, env),
        *provider.started(state, event, env),
        *disputes.started(state, env),
    ]


def _ticked(state: NodeState, event: ev.Ticked, env: Env) -> list[Effect]:
    state.wall = event.wall
    effects: list[Effect] = []
    for name in state.timers.pop_due(event.at):
        kind, _, rest = name.partition(":")
        effects += _TIMERS[kind](state, bytes.fromhex(rest), event, env)
    return effects


def _swept(state: NodeState, _: bytes, event: ev.Event, env: Env) -> list[Effect]:
    """A node that nothing happens to still learns what time it is, and forgets what has lapsed."""
    state.timers.set("sweep:", event.at + env.params.offer_heartbeat * 1000)
    state.market.offers.expire(state.wall)
    state.market.jobs.expire(state.wall)
    return beacon.swept(state, event, env)


def _peer_up(state: NodeState, event: ev.PeerCameUp, env: Env) -> list[Effect]:
    state.peers.add(event.peer)
    return client.peer_up(state, event, env)


def _peer_down(state: NodeState, event: ev.PeerWentDown, env: Env) -> list[Effect]:
    state.peers.discard(event.peer)
    return client.peer_down(state, event, env)


def _round_arrived(state: NodeState, event: ev.RoundArrived, env: Env) -> list[Effect]:
    return beacon.round_arrived(state, event, env, _ROUNDS)


def _time_moved(state: NodeState, event: ev.ChainTimeMoved, env: Env) -> list[Effect]:
    return [*channels.time_moved(state, event, env), *disputes.time_moved(state, event, env)]


def _blobs_arrived(state: NodeState, event: ev.BlobsArrived, env: Env) -> list[Effect]:
    if event.purpose.startswith(outputs.PURPOSE):
        return disputes.output_arrived(state, event, env)
    return _ARRIVED.get(event.purpose, deals.blobs_arrived)(state, event, env)


def _blobs_failed(state: NodeState, event: ev.BlobsFailed, env: Env) -> list[Effect]:
    if event.purpose.startswith(outputs.PURPOSE):
        return disputes.output_failed(state, event, env)
    return _FAILED.get(event.purpose, deals.blobs_failed)(state, event, env)


def _run_again(state: NodeState, event: ev.AuditCompleted, env: Env) -> list[Effect]:
    """As the client of a deal, or as a seat: nobody is both."""
    mine = event.deal_id in state.durable.deals
    return deals.audit_completed(state, event, env) if mine else seats.executed(state, event, env)


def _compared(state: NodeState, event: ev.OutputsCompared, env: Env) -> list[Effect]:
    """For the client's own check, or for what a panel publishes."""
    half = state.durable.deals.get(event.deal_id)
    checks = half is not None and half.role == CLIENT
    return deals.outputs_compared(state, event, env) if checks else disputes.outputs_compared(state, event, env)


def _tx_failed(state: NodeState, event: ev.TxFailed, env: Env) -> list[Effect]:
    cases.refused(state, event, env)
    mine = event.deal_id in state.durable.deals
    return deals.tx_failed(state, event, env) if mine else seats.tx_failed(state, event)


def _progressed(state: NodeState, event: ev.JobProgressed, env: Env) -> list[Effect]:
    return provider.progressed(state, event, env)


_TIMERS: Final[dict[str, Callable[[NodeState, bytes, ev.Event, Env], list[Effect]]]] = {
    "search": search.search_due,
    "lost": client.provider_lost,
    "hold": provider.holds_due,
    "heartbeat": provider.heartbeat_due,
    "sweep": _swept,
    "recheck": search.recheck_due,
    "replica": search.replica_due,
    "case": cases.announce_due,
}
_ARRIVED: Final[dict[str, Handler]] = {
    seat_work.CASE: seats.arrived,
    seat_work.OPENED: seats.arrived,
    cases.SERVED: cases.served,
}
_FAILED: Final[dict[str, Handler]] = {
    seat_work.CASE: seats.failed,
    seat_work.OPENED: seats.failed,
    cases.SERVED: cases.unserved,
}
"""Pulls because of a dispute, by purpose; all others are a deal's."""

_ROUNDS: Final[beacon.Waiters] = {"audit": deals.round_drawn}
"""Who is told of a round that was waited for (`beacon.wait_for`), by kind."""

HANDLERS: Final[dict[type[ev.Event], Handler]] = {
    ev.NodeStarted: _started,
    ev.Ticked: _ticked,
    ev.PeerCameUp: _peer_up,
    ev.PeerWentDown: _peer_down,
    ev.GossipArrived: wire.gossip_arrived,
    ev.CaseHeard: seats.notice_heard,
    ev.MessageArrived: wire.message_arrived,
    ev.ProviderChanged: provider.provider_changed,
    ev.DrainRequested: provider.drain_requested,
    ev.AccountRead: provider.account_read,
    ev.OperatorSet: lambda state, event, env: owners.operator_set(state, event),
    ev.OperatorsForgotten: lambda state, event, env: owners.operators_forgotten(state),
    ev.ScoreCredited: lambda state, event, env: scores.score_credited(state, event),
    ev.SeatsRead: provider.seats_read,
    ev.RunSubmitted: client.run_submitted,
    ev.QuoteRequested: client.quote_requested,
    ev.CancelRequested: client.cancel_requested,
    ev.RetryRequested: client.retry_requested,
    ev.BlobsArrived: _blobs_arrived,
    ev.BlobsFailed: _blobs_failed,
    ev.Unsealed: deals.unsealed,
    ev.JobProgressed: _progressed,
    ev.PullWaited: seats.waited,
    ev.JobEnded: deals.job_ended,
    ev.AuditCompleted: _run_again,
    ev.OutputsCompared: _compared,
    ev.OutputMarked: disputes.output_marked,
    ev.RoundArrived: _round_arrived,
    ev.ChainTimeMoved: _time_moved,
    ev.ChannelSeen: channels.seen,
    ev.ChannelCommanded: channels.commanded,
    ev.ChannelTxFailed: channels.tx_failed,
    ev.DealMovedOnChain: deals.deal_moved,
    ev.DealRetractedOnChain: deals.deal_retracted,
    ev.DealsWitnessed: hearsay.witnessed,
    ev.DisputeLogged: disputes.logged,
    ev.DisputeRetracted: disputes.retracted,
    ev.TxFailed: _tx_failed,
}


def handle(state: NodeState, event: ev.Event, env: Env) -> list[Effect]:
    """Change the state, return what follows. Raises ``LocalProtocolError`` only when this node broke its own rules."""
    return HANDLERS[type(event)](state, event, env)


def next_wakeup(state: NodeState) -> int | None:
    """Monotonic milliseconds at which a `Ticked` is due; None when nothing waits."""
    return state.timers.next()
