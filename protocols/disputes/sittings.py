"""How does a panel work? Seats are called, accept, commit, reveal and match; absent ones are replaced.

Each function takes the state and one input and returns what follows. A call whose moment, sender or content is wrong
raises ``RemoteProtocolError``; its code is the contract's error in lower case (``WrongPhase``: ``wrong_phase``).
"""

from typing import TypeVar, assert_never

from msgspec.structs import replace

from protocols.deals.eip712 import digest
from protocols.disputes import inputs as ins
from protocols.disputes import states as st
from protocols.disputes.draw import commitment_of, fill, fold_salt, new_round, unfilled
from protocols.disputes.ending import decided, forfeit
from protocols.disputes.params import MAX_REPLACEMENTS, lock_of
from protocols.disputes.payouts import winner_of
from protocols.disputes.seats import eligible
from protocols.disputes.states import Finding, Outcome, Stage, Turn
from protocols.disputes.verdict import judge, majority
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, Hash32, UnixSeconds

__all__ = ["accept", "commit", "convene", "match", "match_provider", "miss_inputs", "open_", "poke", "refuse", "reveal"]

Sitting = TypeVar("Sitting", bound=st.Working)


def refuse(code: str, message: str) -> RemoteProtocolError:
    """The error of a call that the panel refuses."""
    return RemoteProtocolError(f"the panel refuses the call: {message}", code=code)


# --- who sits --------------------------------------------------------------------------------------------------------


def convene(case: st.Case, seed: Hash32, size: int, before: st.Disputed | st.Appealed, ctx: ins.Ctx) -> ins.Step:
    """Draw a panel. ``before`` is what it follows: the provider's secret, or both sides' deposits."""
    rounds, deposits = ((), ()) if isinstance(before, st.Disputed) else (before.rounds, before.deposits)
    called = st.Drawn(case, ctx.now, (*rounds, new_round(seed, size)), deposits)
    return _call(called, ctx)


def _call(state: st.Drawn, ctx: ins.Ctx) -> ins.Step:
    """Fill the empty places, and give those who are called their time."""
    case, needs = state.case, lock_of(state.case.lock.price)

    def may_be_called(seat: int) -> bool:
        return eligible(ctx.seats[seat], case.lock, case.opened_at, needs, ctx.bounds.seat_age)

    before = state.rounds[0].called if len(state.rounds) == 2 else ()
    panel = fill(state.rounds[-1], case.pool, may_be_called, before)
    until = UnixSeconds(ctx.now + ctx.bounds.accept)
    return _gathered(replace(state, rounds=(*state.rounds[:-1], panel), until=until), ctx)


def _gathered(state: st.Drawn, ctx: ins.Ctx) -> ins.Step:
    """Go on when nobody is waited for any more."""
    panel = state.rounds[-1]
    if _count(state, Stage.CALLED) or unfilled(panel, state.case.pool):
        return ins.Step(state)
    return _assembled(state, ctx)


def _assembled(state: st.Drawn | st.Committing, ctx: ins.Ctx) -> ins.Step:
    """Nobody else will be called."""
    if not _count(state, Stage.ACCEPTED):
        return _worked(state, ctx)
    until = UnixSeconds(ctx.now + ctx.bounds.work + 2 * state.case.exec_seconds)
    return ins.Step(st.Committing(state.case, until, state.rounds, state.deposits))


def _replace(state: st.Drawn | st.Committing, absent: Stage, ctx: ins.Ctx) -> ins.Step:
    """Call others in place of those who are absent, three times; then go on with those who are there."""
    state = _changed(state, absent, Stage.VACANT)
    panel = state.rounds[-1]
    if panel.waves == MAX_REPLACEMENTS or panel.cursor == state.case.pool:
        return _assembled(state, ctx)
    rounds = (*state.rounds[:-1], replace(panel, waves=panel.waves + 1))
    return _call(st.Drawn(state.case, state.until, rounds, state.deposits), ctx)


def accept(state: st.Drawn, input_: ins.Accepted, ctx: ins.Ctx) -> ins.Step:
    """A seat takes its place and locks its stake in the verdict."""
    turn = _turn(state, input_.sender, input_.position, Stage.CALLED, ctx)
    seat = ctx.seats[turn.seat]
    if seat.bond - seat.locked < lock_of(state.case.lock.price):
        raise refuse("seat_busy", f"seat {turn.seat} has too little of its bond left for another dispute")
    step = _gathered(_with(state, input_.position, replace(turn, stage=Stage.ACCEPTED)), ctx)
    return replace(step, moves=(ins.LockSeat(turn.seat), *step.moves))


# --- what they found -------------------------------------------------------------------------------------------------


def commit(state: st.Committing, input_: ins.Committed, ctx: ins.Ctx) -> ins.Step:
    """A seat binds itself to a fingerprint of its own output, while nobody can see another's."""
    turn = _turn(state, input_.sender, input_.position, Stage.ACCEPTED, ctx)
    done = replace(turn, stage=Stage.COMMITTED, commitment=input_.commitment)
    return _when_all_have_acted(_with(state, input_.position, done), ctx)


def miss_inputs(state: st.Committing, input_: ins.InputsMissing, ctx: ins.Ctx) -> ins.Step:
    """A seat could not have the inputs."""
    turn = _turn(state, input_.sender, input_.position, Stage.ACCEPTED, ctx)
    return _when_all_have_acted(_with(state, input_.position, replace(turn, stage=Stage.NO_INPUT)), ctx)


def _when_all_have_acted(state: st.Committing, ctx: ins.Ctx) -> ins.Step:
    waiting = any(turn.stage is Stage.ACCEPTED for turn in state.rounds[-1].turns)
    return ins.Step(state) if waiting else _worked(state, ctx)


def _worked(state: st.Drawn | st.Committing, ctx: ins.Ctx) -> ins.Step:
    """No more commitments will come."""
    missing, committed = (_count(state, stage) for stage in (Stage.NO_INPUT, Stage.COMMITTED))
    if missing >= majority(missing + committed):
        return found(state, Finding(Outcome.NO_INPUTS), ctx)
    if not committed:
        return found(state, Finding(Outcome.SPLIT), ctx)
    until = UnixSeconds(ctx.now + ctx.bounds.open)
    return ins.Step(st.Opening(state.case, until, state.rounds, state.deposits))


def open_(state: st.Opening, input_: ins.Opened, ctx: ins.Ctx) -> ins.Step:
    """The provider shows what it had committed to; from now on it serves the bytes."""
    _in_time(state, ctx)
    if input_.sender != state.case.lock.provider:
        raise refuse("not_provider", "only the provider's operator opens its result")
    salted = keccak256(input_.salt, input_.root)
    opened = replace(input_.commit, deal_id=state.case.lock.deal_id, salted_root=salted)
    if digest(ctx.domain, opened) != state.case.result_hash:
        raise refuse("bad_opening", "that is not the result it has signed")
    case = replace(state.case, outcome=opened.outcome)
    return ins.Step(st.Revealing(case, UnixSeconds(ctx.now + ctx.bounds.reveal), state.rounds, state.deposits))


def reveal(state: st.Revealing, input_: ins.Revealed, ctx: ins.Ctx) -> ins.Step:
    """A seat shows its fingerprint, and says whether the provider has served it."""
    turn = _turn(state, input_.sender, input_.position, Stage.COMMITTED, ctx)
    number, panel = len(state.rounds) - 1, state.rounds[-1]
    made = commitment_of(state.case.lock.deal_id, number, turn.seat, input_.fingerprint, input_.salt)
    if made != turn.commitment:
        raise refuse("bad_reveal", "fingerprint and salt are not those committed to")
    salts = fold_salt(panel.salts, input_.position, input_.salt)
    state = replace(state, rounds=(*state.rounds[:-1], replace(panel, salts=salts)))
    state = _with(state, input_.position, replace(turn, stage=Stage.REVEALED, served=input_.served))
    return ins.Step(state) if _count(state, Stage.COMMITTED) else _revealed(state, ctx)


def _revealed(state: st.Revealing, ctx: ins.Ctx) -> ins.Step:
    turns = [turn for turn in state.rounds[-1].turns if turn.stage is Stage.REVEALED]
    if sum(not turn.served for turn in turns) >= majority(len(turns)):
        return found(state, Finding(Outcome.NO_OUTPUTS), ctx)
    if len(turns) < majority(len(turns)):
        return found(state, Finding(Outcome.SPLIT), ctx)
    until = UnixSeconds(ctx.now + ctx.bounds.match)
    return ins.Step(st.Matching(state.case, until, state.rounds, state.deposits))


def match(state: st.Matching, input_: ins.Matched, ctx: ins.Ctx) -> ins.Step:
    """A seat publishes whom it matches."""
    turn = _turn(state, input_.sender, input_.position, Stage.REVEALED, ctx)
    done = replace(turn, stage=Stage.MATCHED, mask=input_.mask)
    return _when_all_have_matched(_with(state, input_.position, done), ctx)


def match_provider(state: st.Matching, input_: ins.ProviderMatched, ctx: ins.Ctx) -> ins.Step:
    """The provider publishes whom it matches."""
    _in_time(state, ctx)
    panel = state.rounds[-1]
    if input_.sender != state.case.lock.provider:
        raise refuse("not_provider", "only the provider's operator publishes for the provider")
    if panel.provider_matched:
        raise refuse("already_matched", "the provider has published already")
    panel = replace(panel, provider_matched=True, provider_mask=input_.mask)
    return _when_all_have_matched(replace(state, rounds=(*state.rounds[:-1], panel)), ctx)


def _when_all_have_matched(state: st.Matching, ctx: ins.Ctx) -> ins.Step:
    waiting = _count(state, Stage.REVEALED) or not state.rounds[-1].provider_matched
    return ins.Step(state) if waiting else _matched(state, ctx)


def _matched(state: st.Matching, ctx: ins.Ctx) -> ins.Step:
    first = state.rounds[0] if len(state.rounds) == 2 else None
    return found(state, judge(state.rounds[-1], first), ctx)


def found(state: st.Working, finding: Finding, ctx: ins.Ctx) -> ins.Step:
    """The first panel's finding can be appealed; the second's is final."""
    panel = replace(state.rounds[-1], had_majority=finding.clique != 0)
    rounds = (*state.rounds[:-1], panel)
    if len(rounds) == 2:
        return decided(state.case, rounds, state.deposits, finding, winner_of(finding), ctx)
    return ins.Step(st.Verdict(state.case, UnixSeconds(ctx.now + ctx.bounds.appeal), rounds, finding=finding))


# --- when time has passed --------------------------------------------------------------------------------------------


def poke(state: st.Working, ctx: ins.Ctx) -> ins.Step:
    """Go on without those who are late. A draw that one call could not finish goes on at any time."""
    if isinstance(state, st.Drawn) and unfilled(state.rounds[-1], state.case.pool):
        return _call(state, ctx)
    if ctx.now <= state.until:
        raise refuse("too_early", f"possible from {state.until + 1}")
    match state:
        case st.Drawn():
            return _replace(state, Stage.CALLED, ctx)
        case st.Committing():
            return _losing(state, Stage.ACCEPTED, _replace(state, Stage.ACCEPTED, ctx))
        case st.Opening():
            return forfeit(state.case, state.rounds, state.deposits, ctx)
        case st.Revealing():
            step = _revealed(_changed(state, Stage.COMMITTED, Stage.LOST), ctx)
            return _losing(state, Stage.COMMITTED, step)
        case st.Matching():
            return _matched(state, ctx)
        case _ as never:
            assert_never(never)


# --- small things ----------------------------------------------------------------------------------------------------


def _losing(state: st.Working, stage: Stage, step: ins.Step) -> ins.Step:
    """The step, with the locks of everybody at ``stage`` burned."""
    lost = tuple(ins.LoseLock(turn.seat) for turn in state.rounds[-1].turns if turn.stage is stage)
    return replace(step, moves=(*lost, *step.moves))


def _in_time(state: st.Live, ctx: ins.Ctx) -> None:
    if ctx.now > state.until:
        raise refuse("too_late", f"the last moment was {state.until}")


def _turn(state: st.Working, sender: Address, position: int, stage: Stage, ctx: ins.Ctx) -> Turn:
    """The place that ``sender`` speaks for, if it is its turn."""
    _in_time(state, ctx)
    turns = state.rounds[-1].turns
    if position < len(turns) and turns[position].stage is stage and ctx.seats[turns[position].seat].operator == sender:
        return turns[position]
    raise refuse("not_your_turn", f"place {position} is not the sender's, or not at this step")


def _count(state: st.Working, stage: Stage) -> int:
    return sum(turn.stage is stage for turn in state.rounds[-1].turns)


def _with(state: Sitting, position: int, turn: Turn) -> Sitting:
    panel = state.rounds[-1]
    turns = (*panel.turns[:position], turn, *panel.turns[position + 1 :])
    return replace(state, rounds=(*state.rounds[:-1], replace(panel, turns=turns)))


def _changed(state: Sitting, before: Stage, after: Stage) -> Sitting:
    panel = state.rounds[-1]
    turns = tuple(replace(turn, stage=after) if turn.stage is before else turn for turn in panel.turns)
    return replace(state, rounds=(*state.rounds[:-1], replace(panel, turns=turns)))
