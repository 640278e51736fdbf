"""What happens next in a dispute? One table: state, input, handler.

``DISPUTED > DRAWN > COMMITTING > OPENING > REVEALING > MATCHING > VERDICT (> APPEALED > DRAWN ...) > SETTLED | SLASHED |
VOID``. Pure: time, seats, score and accounts come in ``Ctx``, consequences leave as moves. ``panel`` applies them.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from protocols.disputes import inputs as ins
from protocols.disputes import sittings
from protocols.disputes import states as st
from protocols.disputes.draw import appeal_seed, first_seed
from protocols.disputes.ending import decided, forfeit
from protocols.disputes.params import APPEAL_SEATS, FIRST_SEATS, appeal_deposit
from protocols.disputes.payouts import winner_of
from protocols.disputes.sittings import convene, refuse
from protocols.disputes.states import PHASE, Deposit, DisputeState, Side
from protocols.hashing import keccak256
from protocols.units import UnixSeconds

__all__ = ["TABLE", "advance", "deadline", "side_of"]


def _show_secret(state: st.Disputed, input_: ins.SecretShown, ctx: ins.Ctx) -> ins.Step:
    if ctx.now > state.until:
        raise refuse("too_late", f"the last moment was {state.until}")
    if keccak256(input_.secret) != state.case.provider_secret_hash:
        raise refuse("wrong_secret", "that is not what the provider has signed the hash of")
    seed = first_seed(state.case.client_secret, input_.secret, state.case.lock.deal_id)
    return convene(state.case, seed, FIRST_SEATS, state, ctx)


def _poke_disputed(state: st.Disputed, _input: ins.Poked, ctx: ins.Ctx) -> ins.Step:
    _due(state, ctx)
    return forfeit(state.case, (), (), ctx)


def _poke_sitting(state: st.Working, _input: ins.Poked, ctx: ins.Ctx) -> ins.Step:
    return sittings.poke(state, ctx)


def _poke_verdict(state: st.Verdict, _input: ins.Poked, ctx: ins.Ctx) -> ins.Step:
    """Nobody has appealed."""
    _due(state, ctx)
    return decided(state.case, state.rounds, (), state.finding, winner_of(state.finding), ctx)


def _poke_appealed(state: st.Appealed, _input: ins.Poked, ctx: ins.Ctx) -> ins.Step:
    """The other side has not deposited: the depositor wins."""
    _due(state, ctx)
    winner = state.deposits[0].side
    return decided(state.case, state.rounds, state.deposits, state.finding, winner, ctx)


def _deposit_first(state: st.Verdict, input_: ins.Deposited, ctx: ins.Ctx) -> ins.Step:
    if ctx.now > state.until:
        raise refuse("too_late", f"the last moment was {state.until}")
    if input_.side is winner_of(state.finding):
        raise refuse("wrong_side", "only the side that lost can appeal")
    until = UnixSeconds(ctx.now + ctx.bounds.appeal)
    deposit = Deposit(input_.side, input_.account)
    after = st.Appealed(state.case, until, state.rounds, (deposit,), state.finding)
    return ins.Step(after, (ins.Take(input_.account, appeal_deposit(state.case.fee)),))


def _deposit_second(state: st.Appealed, input_: ins.Deposited, ctx: ins.Ctx) -> ins.Step:
    if ctx.now > state.until:
        raise refuse("too_late", f"the last moment was {state.until}")
    if input_.side is state.deposits[0].side:
        raise refuse("wrong_side", "this side has deposited already")
    both = replace(state, deposits=(*state.deposits, Deposit(input_.side, input_.account)))
    step = convene(state.case, appeal_seed(state.rounds[0]), APPEAL_SEATS, both, ctx)
    return replace(step, moves=(ins.Take(input_.account, appeal_deposit(state.case.fee)), *step.moves))


def _deliver(state: st.Live, _input: ins.Delivered, _ctx: ins.Ctx) -> ins.Step:
    return ins.Step(replace(state, case=replace(state.case, delivered=True)))


def _equivocate(state: st.Live, _input: ins.Equivocated, ctx: ins.Ctx) -> ins.Step:
    """Two signed results are fraud whatever the seats find."""
    rounds = () if isinstance(state, st.Disputed) else state.rounds
    deposits = () if isinstance(state, st.Disputed) else state.deposits
    return forfeit(state.case, rounds, deposits, ctx)


def _due(state: st.Live, ctx: ins.Ctx) -> None:
    if ctx.now <= state.until:
        raise refuse("too_early", f"possible from {state.until + 1}")


Handler = Callable[[Any, Any, ins.Ctx], ins.Step]
_ALWAYS: Final[dict[type[msgspec.Struct], Handler]] = {ins.Delivered: _deliver, ins.Equivocated: _equivocate}

TABLE: Final[dict[type[msgspec.Struct], dict[type[msgspec.Struct], Handler]]] = {
    st.Disputed: _ALWAYS | {ins.SecretShown: _show_secret, ins.Poked: _poke_disputed},
    st.Drawn: _ALWAYS | {ins.Accepted: sittings.accept, ins.Poked: _poke_sitting},
    st.Committing: _ALWAYS
    | {ins.Committed: sittings.commit, ins.InputsMissing: sittings.miss_inputs, ins.Poked: _poke_sitting},
    st.Opening: _ALWAYS | {ins.Opened: sittings.open_, ins.Poked: _poke_sitting},
    st.Revealing: _ALWAYS | {ins.Revealed: sittings.reveal, ins.Poked: _poke_sitting},
    st.Matching: _ALWAYS
    | {ins.Matched: sittings.match, ins.ProviderMatched: sittings.match_provider, ins.Poked: _poke_sitting},
    st.Verdict: _ALWAYS | {ins.Deposited: _deposit_first, ins.Poked: _poke_verdict},
    st.Appealed: _ALWAYS | {ins.Deposited: _deposit_second, ins.Poked: _poke_appealed},
    st.Settled: {},
    st.Slashed: {},
    st.Voided: {},
}
"""Everything that can happen. What is not here is ``wrong_phase``."""


def advance(state: DisputeState, input_: ins.DisputeInput, ctx: ins.Ctx) -> ins.Step:
    """The state after one call of the panel.

    Raises RemoteProtocolError where the contract reverts; its code names the contract's error (``wrong_phase`` for
    ``WrongPhase``, and so on).
    """
    kind: type[msgspec.Struct] = type(state)
    handler = TABLE[kind].get(type(input_))
    if handler is None:
        raise refuse("wrong_phase", f"{type(input_).__name__} is not possible while {PHASE[kind].name}")
    return handler(state, input_, ctx)


def deadline(state: DisputeState) -> UnixSeconds | None:
    """The last moment of the call that is waited for; None once the dispute is over."""
    return None if isinstance(state, (st.Settled, st.Slashed, st.Voided)) else state.until


def side_of(state: DisputeState) -> Side | None:
    """Who is right, so far or for good; None while that is open."""
    if isinstance(state, (st.Verdict, st.Appealed)):
        return winner_of(state.finding)
    if isinstance(state, (st.Settled, st.Slashed)):
        return Side.PROVIDER if isinstance(state, st.Settled) else Side.CLIENT
    return None
