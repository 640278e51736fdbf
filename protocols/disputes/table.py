"""What is the whole of a dispute, on one page? Its states, who moves, by when, every edge, and where the money goes.

``machine.TABLE`` runs it, ``MediatorPanel`` is the same on chain. ``tests/protocols/disputes/test_table.py`` walks the
machine at random and finds exactly these edges; ``docs/protocol/disputes.md`` is written from here.
"""

from typing import Final

import msgspec

__all__ = ["EDGES", "ROWS", "STATES", "Edge", "RowLine", "StateRow", "markdown", "mermaid"]


class StateRow(msgspec.Struct, frozen=True):
    """One state: who must do what, how long there is for it, and what a poke does when nobody has."""

    name: str
    who: str
    time: str
    """Public networks; ``exec`` is the deal's execution time."""
    otherwise: str


class Edge(msgspec.Struct, frozen=True, order=True):
    """A call that moves a dispute to another state. ``usual``: drawn in the diagram."""

    before: str
    on: str
    after: str
    usual: bool = True


class RowLine(msgspec.Struct, frozen=True):
    """Where price P, collateral C and bond B = 3F + P/2 go. n: first-panel seats in the final majority."""

    row: str
    when: str
    client: str
    provider: str
    seats: str
    burned: str
    funder: str


STATES: Final = (
    StateRow("Disputed", "the provider shows its secret", "26 h", "FORFEIT"),
    StateRow("Drawn", "each called seat accepts", "1 h", "the absent are replaced, three times"),
    StateRow(
        "Committing",
        "each seat executes and commits, or says INPUT_UNAVAILABLE",
        "26 h + 2 exec",
        "the absent lose their lock and are replaced, three times in all",
    ),
    StateRow("Opening", "the provider opens its result and serves the bytes", "26 h", "FORFEIT"),
    StateRow(
        "Revealing", "each seat reveals, and says whether it was served", "26 h", "the unrevealed lose their lock"
    ),
    StateRow("Matching", "seats and provider publish whom they match", "26 h", "who is silent matches nobody"),
    StateRow("Verdict", "who has lost may deposit 7F; after a split either", "26 h", "the finding stands; split: VOID"),
    StateRow("Appealed", "the other side deposits 7F", "26 h from the first deposit", "the depositor wins"),
    StateRow("Settled", "over: the provider has its price", "", ""),
    StateRow("Slashed", "over: the provider has lost collateral", "", ""),
    StateRow("Voided", "over: price and collateral have returned", "", ""),
)

_WORK: Final = ("Drawn", "Committing", "Opening", "Revealing", "Matching")
_LIVE: Final = ("Disputed", *_WORK, "Verdict", "Appealed")
_ENDS: Final = ("Settled", "Slashed", "Voided")
_USUAL: Final = (
    Edge("Disputed", "SecretShown", "Drawn"),
    Edge("Disputed", "Poked", "Slashed"),
    Edge("Drawn", "Accepted", "Committing"),
    Edge("Drawn", "Poked", "Committing"),
    Edge("Committing", "Committed", "Opening"),
    Edge("Committing", "InputsMissing", "Verdict"),
    Edge("Committing", "Poked", "Drawn"),
    Edge("Committing", "Poked", "Opening"),
    Edge("Opening", "Opened", "Revealing"),
    Edge("Opening", "Poked", "Slashed"),
    Edge("Revealing", "Revealed", "Matching"),
    Edge("Revealing", "Revealed", "Verdict"),
    Edge("Revealing", "Poked", "Matching"),
    Edge("Matching", "Matched", "Verdict"),
    Edge("Matching", "ProviderMatched", "Verdict"),
    Edge("Matching", "Poked", "Verdict"),
    *(Edge("Verdict", "Poked", end) for end in _ENDS),
    Edge("Verdict", "Deposited", "Appealed"),
    Edge("Appealed", "Deposited", "Drawn"),
    Edge("Appealed", "Poked", "Settled"),
    Edge("Appealed", "Poked", "Slashed"),
    *(Edge("Matching", "Matched", end) for end in _ENDS),
)
_ODD: Final = (
    # Nobody to call, or nobody who came.
    ("Disputed", "SecretShown", "Verdict"),
    ("Drawn", "Poked", "Verdict"),
    ("Drawn", "Poked", "Opening"),
    ("Committing", "Poked", "Verdict"),
    ("Committing", "Committed", "Verdict"),
    ("Committing", "InputsMissing", "Opening"),
    ("Revealing", "Poked", "Verdict"),
    ("Appealed", "Deposited", "Voided"),
    # The second panel's findings are final.
    *(("Drawn", "Poked", end) for end in ("Settled", "Voided")),
    *(("Committing", on, end) for on in ("Poked", "InputsMissing") for end in ("Settled", "Voided")),
    ("Committing", "Committed", "Settled"),
    *(("Revealing", on, end) for on in ("Poked", "Revealed") for end in ("Slashed", "Voided")),
    *(("Matching", on, end) for on in ("Poked", "ProviderMatched") for end in _ENDS),
    # A result at fault for nobody ends a dispute that the client wins.
    ("Appealed", "Poked", "Voided"),
    # Two signed results.
    *((state, "Equivocated", "Slashed") for state in _LIVE),
)
EDGES: Final = frozenset((*_USUAL, *(Edge(*edge, False) for edge in _ODD)))
"""All that change the state. What is not here leaves it, or is refused."""

ROWS: Final = (
    RowLine("FORFEIT", "silent provider, OUTPUT_UNAVAILABLE, two signed results", "P + 2P", "0", "0", "C - 2P", "B"),
    RowLine("CONVICTED", "guilty", "P + 2P", "0", "nF", "C - 2P - nF", "B"),
    RowLine("LOST", "guilty at a tolerance level, score below its limit", "P", "C - P - 3F", "nF", "P + (3 - n)F", "B"),
    RowLine(
        "BLAMELESS", "guilty with a timeout, oom or disk_limit", "P", "C - (3F - 3F/2)", "nF", "(3 - n)F", "B - 3F/2"
    ),
    RowLine("ACQUITTED", "not guilty", "0", "P + C + P/2", "nF", "(3 - n)F", "0"),
    RowLine(
        "UNPROVEN",
        "WITHHELD, not guilty, no DeliveryReceipt",
        "0",
        "P + C - (3F - 3F/2)",
        "nF",
        "(3 - n)F",
        "B - 3F/2",
    ),
    RowLine("UNSERVED", "INPUT_UNAVAILABLE", "0", "P + C", "0", "B", "0"),
    RowLine(
        "VOID", "split and no deposit, or split twice", "P", "C", "0", "B, or 0 if a panel had a majority", "B or 0"
    ),
)


def mermaid() -> str:
    """The state diagram of the usual edges."""
    lines = ["stateDiagram-v2", "    [*] --> Disputed"]
    lines += [f"    {edge.before} --> {edge.after}: {edge.on}" for edge in _USUAL]
    return "\n".join([*lines, *(f"    {end} --> [*]" for end in _ENDS)])


def markdown() -> str:
    """The states, the diagram and the payout rows, as they stand in the documentation."""
    states = ["| state | who moves | time | if nobody does |", "|---|---|---|---|"]
    states += [f"| {row.name} | {row.who} | {row.time} | {row.otherwise} |" for row in STATES]
    money = [
        "| row | when | client | provider | seats | burned | funder of the bond |",
        "|---|---|---|---|---|---|---|",
    ]
    money += [
        f"| {row.row} | {row.when} | {row.client} | {row.provider} | {row.seats} | {row.burned} | {row.funder} |"
        for row in ROWS
    ]
    return "\n".join([*states, "", "```mermaid", mermaid(), "```", "", *money]) + "\n"
