"""Whom does a seat, and whom does the provider, publish as its match? Nothing before everybody is known, or the time is up."""

from typing import Final

from protocols.deals.states import Ran
from protocols.deals.terms import Level
from protocols.disputes.fingerprint import provider_mask, seat_mask
from protocols.disputes.record import Record
from protocols.disputes.states import Phase, Stage
from protocols.effects import Effect
from protocols.env import Env
from protocols.handlers import outputs
from protocols.handlers.outputs import Mine
from protocols.mediation.case import Case, ending_of, matches_provider, opened_root
from protocols.mediation.outputs import Look, key_of, wanted, whole
from protocols.messages.deal import ResultNotice
from protocols.state import Half, NodeState
from protocols.units import Hash32

__all__ = [
    "MATCH_MARGINS",
    "has_looked",
    "late",
    "provider_looks",
    "provider_match",
    "seat_looks",
    "seat_mark",
    "seat_match",
]

MATCH_MARGINS: Final = 3
"""A phase of matching is over for who still looks so many of its margins before its end: all who have waited in vain for the
same bytes write at once, seven seats and the provider."""
_OPENED: Final = frozenset({Phase.REVEALING, Phase.MATCHING})
_SPEAKS: Final = frozenset(
    {
        (Phase.COMMITTING, Stage.ACCEPTED),
        (Phase.REVEALING, Stage.COMMITTED),
        (Phase.MATCHING, Stage.REVEALED),
    }
)
"""When a place has something to say that hangs on its output."""


# --- a seat ----------------------------------------------------------------------------------------------------------


def seat_looks(state: NodeState, record: Record, case: Case, env: Env) -> list[Effect]:
    """What a seat has done to know its fingerprints and its matches: nothing before it has executed."""
    own = tuple(place for place in record.places if place.operator == env.signer.address)
    if case.ran is None or not any((record.phase, place.stage) in _SPEAKS for place in own):
        return []
    mine = _mine(case, env)
    effects = outputs.look(state, record, mine, env, own)
    theirs = _providers(record, case)
    known = outputs.look_of(state, record.deal_id)
    if theirs is None or record.phase not in _OPENED or not case.bytes_here or record.provider in known.same:
        return effects
    if mine.level is Level.EXACT or theirs.root == case.ran.root:
        return effects
    return [*effects, outputs.compare_with(record.deal_id, mine, theirs)]


def late(state: NodeState, record: Record, env: Env) -> bool:
    """Whether a phase is so near to its end that what is known must be said."""
    margins = MATCH_MARGINS if record.phase is Phase.MATCHING else 1
    return state.chain_now >= record.until - margins * env.params.deadline_margin


def seat_mark(state: NodeState, record: Record, seat: int) -> Hash32 | None:
    """The fingerprint of this node's output for one of its places in the panel that sits; None until it is made."""
    place = next(one for one in record.places if one.seat == seat)
    return outputs.look_of(state, record.deal_id).marks.get(key_of(record, record.round, place))


def seat_match(state: NodeState, record: Record, case: Case, env: Env) -> int | None:
    """Whom a seat says that it matches; None while it may still find out more."""
    at_once = late(state, record, env)
    if record.phase is not Phase.MATCHING or case.ran is None or (case.result is None and not at_once):
        return None
    known, level = outputs.look_of(state, record.deal_id), case.deal.level
    provider = _provider_same(record, case, known)
    if (provider is None or wanted(record, known, level, firsts=True)) and not at_once:
        return None
    return seat_mask(record, ending_of(case.ran), whole(record, known, level), provider=bool(provider))


def _mine(case: Case, env: Env) -> Mine:
    ran = case.ran
    assert ran is not None
    own = Ran(env.signer.address, ran.outcome, ran.exit_code, ran.fuel, ran.root)
    return Mine(own, case.job, case.deal.level)


def _providers(record: Record, case: Case) -> Ran | None:
    """The provider's output. While nobody has shown what it has signed, it may have ended as ours; its file ``exitCode`` is
    among what is compared."""
    root, said = opened_root(record), case.result or case.ran
    if root is None or said is None:
        return None
    return Ran(record.provider, said.outcome, said.exit_code, said.fuel, root)


def _provider_same(record: Record, case: Case, known: Look) -> bool | None:
    theirs, mine = _providers(record, case), case.ran
    if case.deal.level is Level.EXACT or theirs is None or mine is None:
        return matches_provider(record, case)
    if theirs.root == mine.root:
        return (theirs.outcome, theirs.exit_code) == (mine.outcome, mine.exit_code)
    return known.same.get(record.provider)


# --- the provider ------------------------------------------------------------------------------------------------------


def provider_looks(state: NodeState, half: Half, record: Record, env: Env) -> list[Effect]:
    """The same for the provider, whose own output all have seen by now."""
    found = _own(state, half, env)
    return outputs.look(state, record, found, env, ()) if found else []


def provider_match(state: NodeState, half: Half, record: Record, env: Env) -> int | None:
    """Whom the provider says that it matches; None while it has not looked at all."""
    found = _own(state, half, env)
    if found is None or record.phase is not Phase.MATCHING:
        return None
    known = outputs.look_of(state, record.deal_id)
    if wanted(record, known, found.level, firsts=False) and not late(state, record, env):
        return None
    return provider_mask(record, whole(record, known, found.level))


def has_looked(record: Record) -> bool:
    """Whether the provider has nothing more to find out: it has published, or it is not its time."""
    return record.phase not in _OPENED or record.sittings[-1].provider_mask is not None


def _own(state: NodeState, half: Half, env: Env) -> Mine | None:
    terms, notice = half.state.terms, getattr(half.state, "result", None)
    body = state.durable.jobs.get(terms.deal.job_id)
    if body is None or not isinstance(notice, ResultNotice):
        return None
    commit = notice.commit
    ran = Ran(env.signer.address, commit.outcome, commit.exit_code, commit.fuel, notice.root)
    return Mine(ran, body, terms.deal.level)
