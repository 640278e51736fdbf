"""How does a dispute end? The row's amounts, the seats' locks and fees, the deposits of an appeal: one list of moves."""

from collections.abc import Iterator

from protocols.disputes.inputs import Burn, Close, Credit, Ctx, LoseLock, Move, PaySeat, Score, Step, UnlockSeat
from protocols.disputes.params import TOLERANCE, appeal_deposit
from protocols.disputes.payouts import END, payout, row_of
from protocols.disputes.states import (
    Case,
    Deposit,
    Finding,
    Outcome,
    Phase,
    Round,
    Row,
    Settled,
    Side,
    Slashed,
    Stage,
    Voided,
)
from protocols.disputes.tolerance import after_failure
from protocols.units import Tokens

__all__ = ["decided", "forfeit"]

_HOLDS_LOCK = frozenset({Stage.ACCEPTED, Stage.NO_INPUT, Stage.COMMITTED, Stage.REVEALED, Stage.MATCHED})


def forfeit(case: Case, rounds: tuple[Round, ...], deposits: tuple[Deposit, ...], ctx: Ctx) -> Step:
    """The provider was silent, or has signed two results: counts as bytes that were never served."""
    return decided(case, rounds, deposits, Finding(Outcome.NO_OUTPUTS), Side.CLIENT, ctx)


def decided(
    case: Case,
    rounds: tuple[Round, ...],
    deposits: tuple[Deposit, ...],
    finding: Finding,
    winner: Side | None,
    ctx: Ctx,
) -> Step:
    """The last panel's finding stands, or one side has let an appeal go by (then ``winner`` is the other)."""
    if ctx.voided:
        finding, winner = Finding(Outcome.SPLIT), None
    row = row_of(case, finding, winner, ctx.score)
    standing = finding.clique if len(rounds) <= 1 else finding.firsts
    had_majority = ctx.voided or any(panel.had_majority for panel in rounds)
    amounts = payout(row, case, standing.bit_count(), had_majority=had_majority)
    moves: list[Move] = [] if ctx.voided else [Close(END[row], amounts)]
    moves += _credits(case, amounts.funder, amounts.provider_credit, amounts.panel_burned)
    for number, panel in enumerate(rounds):
        bits = finding.clique if number == len(rounds) - 1 else finding.firsts
        moves += _seats(panel, bits, case.fee, any_majority=finding.clique != 0)
    moves += _deposits(case, deposits, finding, winner)
    if case.level in TOLERANCE and row in (Row.LOST, Row.CONVICTED):
        moves.append(Score(after_failure(ctx.score)))
    return Step(_state(row, case), tuple(moves))


def _state(row: Row, case: Case) -> Settled | Slashed | Voided:
    if END[row] is Phase.SETTLED:
        return Settled(case, row)
    return Slashed(case, row) if END[row] is Phase.SLASHED else Voided(case, row)


def _credits(case: Case, funder: int, provider: int, burned: int) -> Iterator[Move]:
    if funder:
        yield Credit(case.funder, Tokens(funder))
    if provider:
        yield Credit(case.lock.provider_owner, Tokens(provider))
    if burned:
        yield Burn(Tokens(burned))


def _seats(panel: Round, standing: int, fee: Tokens, *, any_majority: bool) -> Iterator[Move]:
    """Those that stand with the majority are paid; others lose their lock. Without a majority all locks return."""
    for at, turn in enumerate(panel.turns):
        if turn.stage not in _HOLDS_LOCK:
            continue
        if any_majority and not standing >> at & 1:
            yield LoseLock(turn.seat)
            continue
        yield UnlockSeat(turn.seat)
        if any_majority:
            yield PaySeat(turn.seat, fee)


def _deposits(case: Case, deposits: tuple[Deposit, ...], finding: Finding, winner: Side | None) -> Iterator[Move]:
    """The winner's returns; the loser's pays the seats of the second panel. Without such a panel's majority all return."""
    amount = appeal_deposit(case.fee)
    for deposit in deposits:
        if len(deposits) == 2 and finding.clique and deposit.side is not winner:
            paid = finding.clique.bit_count() * case.fee
            if amount > paid:
                yield Burn(Tokens(amount - paid))
        else:
            yield Credit(deposit.funder, amount)
