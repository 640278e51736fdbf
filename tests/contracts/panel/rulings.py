"""How did a dispute end, and who has what then? Words, amounts and scenes that the tests of the panel's rules share."""

from typing import TYPE_CHECKING

from protocols.disputes.states import Phase, Row, Side, Slashed, Voided

if TYPE_CHECKING:
    from protocols.contracts.lock import Lock
    from tests.contracts.panel.court import PanelWorld

__all__ = ["ALL", "BOND", "LOCK", "C", "F", "P", "account", "appealed", "ended", "row", "seat_numbers", "split"]

P, C, F = 1_000, 30_000, 1_501
BOND = 3 * F + P // 2
LOCK = 3 * P
ALL = 0b111


def row(court: "PanelWorld", lock: "Lock") -> Row:
    state = court.state(lock)
    assert isinstance(state, (Slashed, Voided)) or court.phase(lock) is Phase.SETTLED
    return state.row  # type: ignore[union-attr]


def ended(court: "PanelWorld", lock: "Lock") -> Row:
    """Nobody does anything more."""
    court.pass_deadline(lock)
    court.poke(lock)
    return row(court, lock)


def account(court: "PanelWorld", key: object) -> int:
    return int(court.model.accounts.get(key.address, 0))  # type: ignore[attr-defined]


def seat_numbers(court: "PanelWorld", lock: "Lock") -> list[int]:
    return [turn.seat for turn in court.panel_of(lock).turns]


def split(court: "PanelWorld") -> "Lock":
    lock = court.disputed()
    court.judged(lock, 0, guilty=True)
    assert court.phase(lock) is Phase.VERDICT
    return lock


def appealed(court: "PanelWorld", *, guilty: bool) -> "Lock":
    """Two of three have decided, the loser has appealed, the other has answered."""
    lock = court.disputed()
    court.judged(lock, 0b011, guilty=guilty)
    court.deposit(lock, Side.PROVIDER if guilty else Side.CLIENT)
    court.deposit(lock, Side.CLIENT if guilty else Side.PROVIDER)
    assert court.phase(lock) is Phase.DRAWN
    return lock
