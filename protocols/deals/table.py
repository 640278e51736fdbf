"""What is the whole of a deal, on one page? Its states, who moves, by when, what the money does, and every edge.

`client.TABLE` and `provider.TABLE` run it, `MeshEscrow` is its projection on chain. ``tests/protocols/deals/test_table.py``
walks both halves over every state and input and finds exactly these edges; ``docs/protocol/deal.md`` is written from here.
"""

from collections.abc import Iterator
from typing import Final

import msgspec

from protocols.deals.terms import OnChainState

__all__ = ["EDGES", "STATES", "Edge", "StateRow", "edges", "markdown", "mermaid"]


class StateRow(msgspec.Struct, frozen=True):
    """One state. Deadlines are on the chain's clock, counted from the commit unless said otherwise."""

    name: str
    roles: str
    """``both``, ``client`` or ``provider``."""
    on_chain: tuple[OnChainState, ...]
    who: str
    """Whose move it is."""
    deadline: str
    money: str


class Edge(msgspec.Struct, frozen=True, order=True):
    """One party's deal moves from a state to another. ``usual``: drawn in the diagram."""

    role: str
    before: str
    on: str
    after: str
    usual: bool = True


CLIENT: Final = "client"
PROVIDER: Final = "provider"

_NONE: Final = (OnChainState.NONE,)
_COMMITTED: Final = (OnChainState.COMMITTED,)
_CLAIMED: Final = (OnChainState.CLAIMED,)
_PAID: Final = (OnChainState.SETTLED, OnChainState.CANCELLED)
_EXPIRED: Final = (OnChainState.EXPIRED,)
_DISPUTED: Final = (OnChainState.DISPUTED,)
_SLASHED: Final = (OnChainState.SLASHED,)
_VOID: Final = (OnChainState.VOID,)
_GONE: Final = (OnChainState.NONE, OnChainState.BURNED)
_LOCKED: Final = "P and C stay locked"

STATES: Final = (
    StateRow("Proposed", "client", _NONE, "provider: countersign or decline", "client: commitBy + 1, leave", "none"),
    StateRow("Signed", "both", _NONE, "provider: pull the inputs", "both: commitBy + 1, leave", "none"),
    StateRow("Ready", "provider", _NONE, "provider: commit", "provider: commitBy + 1, leave", "none"),
    StateRow("Committed", "both", _COMMITTED, "provider: run", "both: exec + claim + 1, expire", "P and C are locked"),
    StateRow(
        "Running", "provider", _COMMITTED, "provider: finish the job", "provider: exec + claim + 1, expire", _LOCKED
    ),
    StateRow(
        "Resulted",
        "both",
        (*_COMMITTED, *_CLAIMED),
        "client: pull and verify every byte",
        "provider: silence after the result, claim; client: exec + claim + 1, expire; "
        "if it is claimed: claim + window/2, refuse",
        _LOCKED,
    ),
    StateRow(
        "Delivered",
        "both",
        (*_COMMITTED, *_CLAIMED),
        "client: sign the receipt that names a round",
        "provider: silence + rounds + commit time + 2 exec after the result, at most exec + claim/2, claim; "
        "client: exec + claim + 1, expire",
        _LOCKED,
    ),
    StateRow(
        "Checking",
        "both",
        (*_COMMITTED, *_CLAIMED),
        "client: wait for the round, check if drawn, then sign off or refuse",
        "provider: as in Delivered; client: margin before that, take what is known; but what is being computed again goes on "
        "until the claim, and then until a quarter of the window before that ends; unclaimed: exec + claim + 1, expire",
        _LOCKED,
    ),
    StateRow(
        "Accepted",
        "both",
        _COMMITTED,
        "provider: settle",
        "provider: margin before exec + claim, claim; client: exec + claim + window + 1, expire",
        _LOCKED,
    ),
    StateRow(
        "Rejected",
        "both",
        _COMMITTED,
        "provider: claim, if it stands by its result",
        "both: exec + claim + 1, expire",
        _LOCKED,
    ),
    StateRow(
        "Claimed",
        "both",
        _CLAIMED,
        "nobody, until the window is over; a sign-off still settles",
        "provider: claim + window + 1, finalize; client: margin later, finalize; "
        "under a panel and never told the result: claim + window/2, dispute",
        _LOCKED,
    ),
    StateRow(
        "Disputed",
        "both",
        _DISPUTED,
        "the panel (disputes.md); both: secret, opening, masks, deposits",
        "both: dispute + 365 days + 1, void",
        _LOCKED,
    ),
    StateRow(
        "Settled",
        "both",
        _PAID,
        "final",
        "none",
        "paid a <= P: provider a - a/100, client P - a, burned a/100; C returns",
    ),
    StateRow(
        "Slashed",
        "both",
        _SLASHED,
        "final",
        "none",
        "by a panel: its row in disputes.md; two signed results: client P + min(2P, C/2), the rest of C burned",
    ),
    StateRow("Voided", "both", _VOID, "final", "none", "P and C return, but for what BLAMELESS pays the seats"),
    StateRow(
        "Expired", "both", _EXPIRED, "final", "none", "n = min(P, C): client P + n/2, burned n - n/2, provider C - n"
    ),
    StateRow("Abandoned", "both", _GONE, "final", "none", "none; P counts against the budget until commitBy or burned"),
)

_ENDINGS: Final = (
    ("chain: settled", "Settled"),
    ("chain: finalized", "Settled"),
    ("chain: cancelled", "Settled"),
    ("chain: expired", "Expired"),
)
_UNFINISHED: Final = {
    CLIENT: (
        "Proposed", "Signed", "Committed", "Resulted", "Delivered", "Checking", "Accepted", "Rejected", "Claimed",
        "Disputed", "Abandoned",
    ),
    PROVIDER: (
        "Signed", "Ready", "Committed", "Running", "Resulted", "Delivered", "Checking", "Accepted", "Rejected",
        "Claimed", "Disputed", "Abandoned",
    ),
}  # fmt: skip
_USUAL_ENDINGS: Final = {
    ("Accepted", "chain: settled"),
    ("Claimed", "chain: settled"),
    ("Claimed", "chain: finalized"),
    ("Committed", "chain: cancelled"),
    ("Committed", "chain: expired"),
    ("Rejected", "chain: expired"),
}
_OWN: Final = {
    CLIENT: (
        ("Proposed", "countersigned", "Signed"),
        ("Proposed", "declined", "Abandoned"),
        ("Proposed", "deadline", "Abandoned"),
        ("Proposed", "cancel wanted", "Abandoned"),
        ("Proposed", "chain: committed", "Committed"),
        ("Proposed", "chain: committed", "Resulted"),
        ("Proposed", "chain: burned", "Abandoned"),
        ("Signed", "declined", "Abandoned"),
        ("Signed", "deadline", "Abandoned"),
        ("Signed", "cancel wanted", "Abandoned"),
        ("Signed", "chain: committed", "Committed"),
        ("Signed", "chain: committed", "Resulted"),
        ("Signed", "chain: burned", "Abandoned"),
        ("Committed", "result", "Resulted"),
        ("Committed", "chain: claimed", "Claimed"),
        ("Resulted", "fetched", "Delivered"),
        ("Resulted", "fetch failed", "Rejected"),
        ("Delivered", "receipt signed", "Checking"),
        ("Delivered", "nothing to compare", "Accepted"),
        ("Checking", "round", "Accepted"),
        ("Checking", "audit agrees", "Accepted"),
        ("Checking", "audit differs", "Rejected"),
        ("Checking", "audit useless", "Accepted"),
        ("Checking", "rerun agrees", "Accepted"),
        ("Checking", "rerun differs", "Rejected"),
        ("Checking", "rerun useless", "Accepted"),
        ("Checking", "rerun useless", "Rejected"),
        ("Checking", "compared", "Accepted"),
        ("Checking", "compared", "Rejected"),
        ("Checking", "replicas agree", "Accepted"),
        ("Checking", "replicas differ", "Rejected"),
        ("Checking", "deadline", "Accepted"),
        ("Accepted", "chain: claimed", "Claimed"),
        ("Rejected", "chain: claimed", "Claimed"),
        ("Claimed", "result", "Resulted"),
        ("Abandoned", "chain: committed", "Committed"),
    ),
    PROVIDER: (
        ("Signed", "fetched", "Ready"),
        ("Signed", "fetch failed", "Abandoned"),
        ("Signed", "deadline", "Abandoned"),
        ("Signed", "chain: committed", "Committed"),
        ("Ready", "chain: committed", "Committed"),
        ("Ready", "commit refused", "Abandoned"),
        ("Ready", "deadline", "Abandoned"),
        ("Committed", "slot free", "Running"),
        ("Running", "job finished", "Resulted"),
        ("Running", "job failed", "Committed"),
        ("Running", "cancel offered", "Committed"),
        ("Resulted", "delivered", "Delivered"),
        ("Resulted", "signed off", "Accepted"),
        ("Resulted", "disowned", "Rejected"),
        ("Resulted", "chain: claimed", "Claimed"),
        ("Resulted", "receipt", "Checking"),
        ("Delivered", "receipt", "Checking"),
        ("Delivered", "signed off", "Accepted"),
        ("Delivered", "disowned", "Rejected"),
        ("Delivered", "chain: claimed", "Claimed"),
        ("Checking", "signed off", "Accepted"),
        ("Checking", "disowned", "Rejected"),
        ("Checking", "chain: claimed", "Claimed"),
        ("Accepted", "chain: claimed", "Claimed"),
        ("Rejected", "chain: claimed", "Claimed"),
        ("Abandoned", "chain: committed", "Committed"),
    ),
}
_REORGANISED: Final = {
    CLIENT: (
        ("Committed", "reorg: committed", "Signed"),
        ("Claimed", "reorg: claimed", "Committed"),
        ("Claimed", "reorg: claimed", "Resulted"),
        ("Claimed", "reorg: claimed", "Accepted"),
        ("Claimed", "reorg: claimed", "Rejected"),
        ("Settled", "reorg: settled", "Accepted"),
        ("Settled", "reorg: settled", "Claimed"),
        ("Settled", "reorg: finalized", "Claimed"),
        ("Settled", "reorg: cancelled", "Committed"),
        ("Expired", "reorg: expired", "Committed"),
    ),
    PROVIDER: (
        ("Claimed", "reorg: claimed", "Resulted"),
        ("Claimed", "reorg: claimed", "Accepted"),
        ("Settled", "reorg: settled", "Accepted"),
        ("Settled", "reorg: settled", "Claimed"),
        ("Settled", "reorg: finalized", "Claimed"),
        ("Settled", "reorg: cancelled", "Committed"),
        ("Expired", "reorg: expired", "Committed"),
    ),
}
_LOSABLE: Final = {
    CLIENT: ("Committed", "Resulted", "Delivered", "Checking", "Accepted", "Rejected"),
    PROVIDER: ("Committed", "Running", "Resulted", "Delivered", "Checking", "Accepted", "Rejected"),
}
"""A commitment that a reorganisation took and that did not come back by commitBy: their deadline leads out."""
_JUDGED: Final = (
    ("Disputed", "acquitted", "Settled"),
    ("Disputed", "convicted", "Slashed"),
    ("Disputed", "void", "Voided"),
)
_USUALLY_DISPUTED: Final = frozenset({"Rejected", "Claimed"})


def _dispute_edges(role: str) -> Iterator[Edge]:
    """What has been committed can be disputed, and what the provider has signed twice is slashed."""
    for state in (*_LOSABLE[role], "Claimed"):
        yield Edge(role, state, "chain: disputed", "Disputed", state in _USUALLY_DISPUTED)
        yield Edge(role, state, "chain: slashed", "Slashed", state == "Claimed")
        yield Edge(role, "Disputed", "reorg: disputed", state, False)
        yield Edge(role, "Slashed", "reorg: slashed", state, False)
    for before, word, after in _JUDGED:
        yield Edge(role, before, f"chain: {word}", after)
        yield Edge(role, after, f"reorg: {word}", before, False)


def _claimed_meanwhile() -> Iterator[Edge]:
    """A check that ends after its provider has claimed."""
    for before, on, after in _OWN[CLIENT]:
        if before in ("Resulted", "Checking") and after in ("Accepted", "Rejected"):
            yield Edge(CLIENT, before, on, "Claimed", False)
    yield Edge(CLIENT, "Resulted", "deadline", "Claimed", False)


def edges(role: str) -> Iterator[Edge]:
    """Every edge of one half."""
    yield from (Edge(role, before, on, after) for before, on, after in _OWN[role])
    yield from _dispute_edges(role)
    if role == CLIENT:
        yield from dict.fromkeys(_claimed_meanwhile())
    yield from (
        Edge(role, before, on, after, (before, on) in _USUAL_ENDINGS)
        for before in _UNFINISHED[role]
        for on, after in _ENDINGS
    )
    yield from (Edge(role, before, on, after, False) for before, on, after in _REORGANISED[role])
    yield from (Edge(role, before, "deadline", "Abandoned", False) for before in _LOSABLE[role])


EDGES: Final = frozenset((*edges(CLIENT), *edges(PROVIDER)))
"""All of them. What is not here changes no state: duplicates and stragglers are normal."""


def mermaid(role: str) -> str:
    """The state diagram of one half: its usual edges, in the table's order."""
    first = next(row.name for row in STATES if row.roles in ("both", role))
    drawn = [edge for edge in edges(role) if edge.usual]
    lines = [f"    [*] --> {first}"]
    lines += [f"    {edge.before} --> {edge.after}: {edge.on.replace('chain: ', 'on chain ')}" for edge in drawn]
    lines += [f"    {row.name} --> [*]" for row in STATES if row.who == "final"]
    return "\n".join(["stateDiagram-v2", *lines])


def markdown() -> str:
    """The table of states, and both diagrams, as they stand in the documentation."""
    head = [
        "| state | whose | on chain | who moves | deadline (chain time) | moves of money |",
        "|---|---|---|---|---|---|",
    ]
    rows = [
        f"| {row.name} | {row.roles} | {', '.join(one.name for one in row.on_chain)} | {row.who} | {row.deadline} | {row.money} |"
        for row in STATES
    ]
    charts = [f"\n### The {role}'s half\n\n```mermaid\n{mermaid(role)}\n```" for role in (CLIENT, PROVIDER)]
    return "\n".join([*head, *rows, *charts]) + "\n"
