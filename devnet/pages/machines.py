"""How do a run and a gossip record move? One table each, drawn in the documentation.

``tests/devnet/test_pages.py`` walks the shipped rules over every state and input and finds exactly the edges marked
``walked``; the others are moves of a search or an owner, each with a handler of its own.
"""

from typing import Final

import msgspec

from protocols.limits import MAX_GOSSIP_BYTES
from protocols.offers.book import MAX_RECORDS
from protocols.offers.rates import BURST, PER_SECOND
from protocols.offers.records import MAX_SLOTS
from protocols.offers.validators import CLOCK_SKEW_S, MAX_LIFETIME_S

__all__ = ["GOSSIP", "RUN", "Machine", "Move", "machine_markdown", "verdicts_markdown"]


class Move(msgspec.Struct, frozen=True, order=True):
    """From a state to another. ``walked``: a test walks the code and finds it."""

    before: str
    on: str
    after: str
    walked: bool = True


class Machine(msgspec.Struct, frozen=True):
    """A machine: its states with what each means, the first one first, and its moves."""

    states: dict[str, str]
    final: tuple[str, ...]
    moves: tuple[Move, ...]


RUN: Final = Machine(
    states={
        "Searching": "looking for a provider; the search itself is volatile and begins anew after a restart",
        "Dealing": "a deal is signed, or about to be",
        "Done": "the result is here and checked; `settled` says whether it is paid",
        "Failed": "it ended without an accepted result; `code` says why, `mesh retry` begins the next attempt",
        "Cancelled": "its owner ended it",
    },
    final=("Done", "Failed", "Cancelled"),
    moves=(
        Move("Searching", "a quote is taken", "Dealing", False),
        Move("Searching", "nobody fits in time", "Failed", False),
        Move("Searching", "cancel", "Cancelled", False),
        Move("Searching", "deal Accepted", "Done"),
        Move("Searching", "deal Settled", "Done"),
        Move("Dealing", "deal Accepted", "Done"),
        Move("Dealing", "deal Settled", "Done"),
        Move("Dealing", "deal Rejected", "Failed"),
        Move("Dealing", "deal Slashed", "Failed"),
        Move("Dealing", "deal Voided", "Failed"),
        Move("Dealing", "deal Abandoned, attempts left", "Searching"),
        Move("Dealing", "deal Abandoned", "Failed"),
        Move("Dealing", "deal Expired, attempts left", "Searching"),
        Move("Dealing", "deal Expired", "Failed"),
        Move("Dealing", "deal cancelled, attempts left", "Searching"),
        Move("Dealing", "deal cancelled", "Failed"),
        Move("Dealing", "paid without a result, attempts left", "Searching"),
        Move("Dealing", "paid without a result", "Failed"),
        Move("Dealing", "cancel", "Cancelled", False),
        Move("Failed", "deal Accepted", "Done"),
        Move("Failed", "retry", "Searching", False),
        Move("Cancelled", "deal Accepted", "Done"),
        Move("Cancelled", "retry", "Searching", False),
    ),
)
GOSSIP: Final = Machine(
    states={
        "Unknown": "nothing is known of this author's slot",
        "Live": "the record is in the book and may be asked for a quote",
        "Withdrawn": "its author took it back: only a higher sequence counts from here on",
        "Lapsed": "it expired; its sequence is remembered for a while, so that no old copy comes back",
    },
    final=(),
    moves=(
        Move("Unknown", "record", "Live"),
        Move("Unknown", "withdrawal", "Withdrawn"),
        Move("Live", "newer record", "Live"),
        Move("Live", "older record", "Live"),
        Move("Live", "withdrawal", "Withdrawn"),
        Move("Live", "expires", "Lapsed"),
        Move("Withdrawn", "older record", "Withdrawn"),
        Move("Withdrawn", "newer record", "Live"),
    ),
)


def machine_markdown(machine: Machine) -> str:
    """The states as a table, and the diagram."""
    rows = [f"| {name} | {means} |" for name, means in machine.states.items()]
    first = next(iter(machine.states))
    lines = [f"    [*] --> {first}"]
    lines += [f"    {one.before} --> {one.after}: {one.on}" for one in machine.moves]
    lines += [f"    {name} --> [*]" for name in machine.final]
    chart = "\n".join(["```mermaid", "stateDiagram-v2", *lines, "```"])
    return "\n".join(["| state | meaning |", "|---|---|", *rows, "", chart]) + "\n"


def verdicts_markdown() -> str:
    """What a validator says, in its order, and the bounds of the book."""
    rows = (
        (f"larger than {MAX_GOSSIP_BYTES} bytes", "reject"),
        ("no envelope, or not the one form of its bytes", "reject"),
        ("a type or version that this node does not speak", "ignore"),
        ("a payload that is not the one form of its fields, or out of bounds", "reject"),
        ("signed by somebody else than its author", "reject"),
        ("on a topic that is not its class's", "reject"),
        ("expired", "ignore"),
        (f"would live for more than {MAX_LIFETIME_S} s, our clocks {CLOCK_SKEW_S} s apart at most", "reject"),
        (f"its author sends more than {PER_SECOND} a second, {BURST} at once", "ignore"),
        ("its sequence is not higher than what is known of its slot", "ignore"),
        ("its signature is not its author's", "reject"),
        ("otherwise", "accept"),
    )
    table = [f"| {what} | {verdict} |" for what, verdict in rows]
    bounds = f"An author has {MAX_SLOTS} slots of each kind; a book holds {MAX_RECORDS} records."
    return "\n".join(["| a record that is | verdict |", "|---|---|", *table, "", bounds]) + "\n"
