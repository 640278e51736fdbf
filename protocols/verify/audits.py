"""Which results are re-executed, by whom, and what follows?

A pure machine. It begins when the client has signed its ``ResultReceipt``, which names a beacon round that nobody has seen
yet, so that no provider knows while it works whether it will be checked:

```mermaid
stateDiagram-v2
    [*] --> Concluded: nothing to compare
    [*] --> Waiting: receipt names a round
    Waiting --> Concluded: not drawn
    [*] --> First: ended at a limit that is the same everywhere
    Waiting --> First: drawn
    First --> Concluded: matches
    First --> Second: differs
    First --> First: unusable, somebody else
    Second --> Concluded: decided
    Second --> Second: unusable, somebody else
    Waiting --> Concluded: time is up
    First --> Concluded: time is up
    Second --> Concluded: time is up
```

Whoever drives it performs the requests, compares outputs with the level's comparator (``protocols.verify.comparators``),
and hands the answers back as events. One mismatch accuses nobody: the first re-execution may be the wrong one.

A provider whose time was up may have a slower machine, or may not have begun: which of the two, nobody can prove. So such a
check never mismatches; it says how much of the limit the job takes here (`Timed`), which the client's record of that
provider is made of (docs/adr/0008-results-without-work.md).
"""

from typing import Final, Literal, assert_never

import msgspec

from protocols.canonical import tagged_digest
from protocols.deals.eip712 import Deal
from protocols.deals.terms import OutcomeCode
from protocols.units import PPM, Address, DealId, Hash32, Tokens
from protocols.verify.levels import auditable, looked_at_always

__all__ = [
    "AMPLE_FACTOR",
    "AMPLE_MS",
    "BEACON_LEAD",
    "CONTRADICTED",
    "MAX_REEXECUTIONS",
    "AuditEvent",
    "AuditRequest",
    "AuditState",
    "AuditStep",
    "AwaitRound",
    "Checked",
    "Concluded",
    "First",
    "Reexecuted",
    "Reexecution",
    "RoundArrived",
    "RunElsewhere",
    "RunHere",
    "Second",
    "Subject",
    "TimeUp",
    "Timed",
    "Unusable",
    "Waiting",
    "advance",
    "drawn",
    "start",
]

BEACON_LEAD: Final = 3
"""Rounds between the latest verified one and the one a receipt names: the client cannot have seen it (9 s at drand)."""
MAX_REEXECUTIONS: Final = 4
"""Tries of one audit, usable or not: two that count and two that failed. Then what is known decides."""

AMPLE_FACTOR: Final = 4
"""A limit that is so many times what a job takes here was ample: the machines that sell computing differ in speed by two or
three, and a provider's offer says how many jobs it runs at once."""
AMPLE_MS: Final = 2_000
"""And so much of it must have been left: a second is lost by any machine now and then."""

CONTRADICTED: Final = "contradicted"
"""The time was up, said the provider, and it was ample (`Checked`)."""
Checked = Literal["bytes", "unfinished", "audited", "replicated", "disputed", "too-long", "slow", "contradicted"]
"""What was done to a result before it was accepted: all bytes verified; the same, and an audit that was drawn came to no end;
re-executed; run by several; fought over. Of one whose time was up: here it was up too; here it was not; here it was ample."""


def drawn(round_value: Hash32, deal_id: DealId, audit_ppm: int) -> bool:
    """Whether this deal is audited: ``H(round value, DealId) < auditPpm * 2^256 / 10^6``."""
    ticket = int.from_bytes(tagged_digest("audit-draw/1", round_value, deal_id))
    return ticket * PPM < audit_ppm << 256


# --- what it is about, what happens, what is asked for -----------------------------------------------------------


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """The result to be checked."""

    deal_id: DealId
    executor: str
    """``wasm`` runs here: the client's own executor gives the same bytes as anybody's."""
    audit_ppm: int
    numeric_class: Hash32
    client_owner: Address
    provider_owner: Address
    beacon_round: int
    """Of the ResultReceipt: latest verified + BEACON_LEAD."""
    budget: Tokens
    """What is left of the run's budget for re-executions by others, in wei."""
    timed_out: bool | msgspec.UnsetType = msgspec.UNSET
    """Its provider's time was up. Unset in rows of before there was the field: no."""

    @classmethod
    def of(cls, deal_id: DealId, deal: Deal, *, executor: str, owners: tuple[Address, Address], latest: int,
           budget: Tokens) -> "Subject":  # fmt: skip
        """Of a deal; ``owners`` are the client's and the provider's, ``latest`` the newest verified round."""
        client_owner, provider_owner = owners
        return cls(
            deal_id=deal_id,
            executor=executor,
            audit_ppm=deal.audit_ppm,
            numeric_class=deal.numeric_class,
            client_owner=client_owner,
            provider_owner=provider_owner,
            beacon_round=latest + BEACON_LEAD,
            budget=budget,
        )


class Reexecution(msgspec.Struct, frozen=True):
    """A usable re-execution: who ran it, and whether its output matches the provider's."""

    owner: Address
    matches: bool


class AuditEvent(msgspec.Struct, frozen=True):
    """Something that happened to one audit."""


class RoundArrived(AuditEvent, frozen=True):
    """A beacon round was verified."""

    round: int
    value: Hash32


class Reexecuted(AuditEvent, frozen=True):
    """A re-execution has an output, and it was compared.

    ``matches_first`` is None for a first one. ``cost`` is what it took from the budget.
    """

    owner: Address
    matches: bool
    matches_first: bool | None = None
    cost: Tokens = Tokens(0)


class Timed(AuditEvent, frozen=True):
    """How long a job whose provider's time was up took here, of how much; ``took_ms`` is None when it was up here too."""

    took_ms: int | None
    limit_ms: int


class Unusable(AuditEvent, frozen=True):
    """A re-execution came to nothing: nobody fits, it failed, it ran out of time, or its output cannot be compared."""

    owner: Address | None
    """None when nobody was found; otherwise it is not asked again."""
    reason: str
    cost: Tokens = Tokens(0)


class TimeUp(AuditEvent, frozen=True):
    """The window leaves no time for more."""


class AwaitRound(msgspec.Struct, frozen=True, tag=True):
    """Tell me when this beacon round is known."""

    round: int


class RunHere(msgspec.Struct, frozen=True, tag=True):
    """Run the job in this node's own executor and compare."""


class RunElsewhere(msgspec.Struct, frozen=True, tag=True):
    """Buy a run from a provider of this numeric class whose owner is none of these, for at most so much, and compare."""

    numeric_class: Hash32
    other_than: tuple[Address, ...]
    at_most: Tokens


AuditRequest = AwaitRound | RunHere | RunElsewhere

# --- where it stands ---------------------------------------------------------------------------------------------


class Waiting(msgspec.Struct, frozen=True, tag=True):
    """For the beacon round."""

    subject: Subject


class First(msgspec.Struct, frozen=True, tag=True):
    """Drawn; a first re-execution is under way."""

    subject: Subject
    left: Tokens
    tries: int = 1
    unfit: tuple[Address, ...] = ()


class Second(msgspec.Struct, frozen=True, tag=True):
    """The first did not match; a second, by a third owner, is under way."""

    subject: Subject
    left: Tokens
    first: Reexecution
    tries: int
    unfit: tuple[Address, ...] = ()


class Concluded(msgspec.Struct, frozen=True, tag=True):
    """The end.

    ``mismatch``: no re-execution stands for the result, so it is not to be signed off. ``confirmed``: two re-executions
    by different owners agree with each other and not with the provider; under a panel, dispute.
    """

    checked: Checked
    reason: str
    mismatch: bool = False
    confirmed: bool = False
    outvoted: Address | None = None
    """An owner whose re-execution turned out to be the wrong one."""


AuditState = Waiting | First | Second | Concluded
AuditStep = tuple[AuditState, tuple[AuditRequest, ...]]


def start(subject: Subject, deal: Deal, outcome: OutcomeCode) -> AuditStep:
    """The client has signed its receipt."""
    if subject.audit_ppm == 0 or not auditable(deal.level, outcome, subject.executor):
        reason = "nothing to compare at this level" if subject.audit_ppm else "the deal has no audit"
        return Concluded("bytes", reason), ()
    if looked_at_always(outcome):
        return _begun(subject)
    if outcome is OutcomeCode.TIMEOUT:
        subject = msgspec.structs.replace(subject, timed_out=True)
    return Waiting(subject), (AwaitRound(subject.beacon_round),)


def _begun(subject: Subject) -> AuditStep:
    first = First(subject, subject.budget)
    return (first, (RunHere(),)) if subject.executor == "wasm" else _elsewhere(first)


def advance(state: AuditState, event: AuditEvent) -> AuditStep:
    """Where the audit stands after this. Events that do not belong to a state change nothing."""
    match state:
        case Waiting():
            return _waiting(state, event)
        case First():
            return _first(state, event)
        case Second():
            return _second(state, event)
        case Concluded():
            return state, ()
        case _:
            assert_never(state)


def _waiting(state: Waiting, event: AuditEvent) -> AuditStep:
    subject = state.subject
    match event:
        case RoundArrived() if event.round == subject.beacon_round:
            if not drawn(event.value, subject.deal_id, subject.audit_ppm):
                return Concluded("bytes", "not drawn"), ()
            return _begun(subject)
        case TimeUp():
            return Concluded("bytes", "the beacon was silent"), ()
        case _:
            return state, ()


def _first(state: First, event: AuditEvent) -> AuditStep:
    if state.subject.timed_out:
        return _timed(state, event)
    match event:
        case Reexecuted() if event.owner == state.subject.provider_owner:
            return state, ()  # its own word again
        case Reexecuted() if event.matches:
            return Concluded("audited", "a re-execution matches"), ()
        case Reexecuted():
            first = Reexecution(event.owner, matches=False)
            return _elsewhere(Second(state.subject, _less(state.left, event.cost), first, state.tries + 1, state.unfit))
        case Unusable():
            return _again(state, event)
        case TimeUp():
            return Concluded("unfinished", "no re-execution ended in time"), ()
        case _:
            return state, ()


def _timed(state: First, event: AuditEvent) -> AuditStep:
    """One run here is enough, and only here: nothing follows that another would have to confirm, and it costs no money."""
    match event:
        case Timed(took_ms=None):
            return Concluded("too-long", "it runs out of time here too"), ()
        case Timed(took_ms=int(took), limit_ms=limit):
            ample = took * AMPLE_FACTOR <= limit and limit - took >= AMPLE_MS
            words = f"run again here, it ended after {took} of {limit} ms"
            return Concluded(CONTRADICTED if ample else "slow", words), ()
        case Unusable():
            return Concluded("unfinished", event.reason), ()
        case TimeUp():
            return Concluded("unfinished", "no re-execution ended in time"), ()
        case _:
            return state, ()


def _second(state: Second, event: AuditEvent) -> AuditStep:
    first = state.first.owner
    match event:
        case Reexecuted() if event.owner in _parties(state):
            return state, ()  # whoever drives us asked one that we excluded: it proves nothing
        case Reexecuted() if event.matches:
            return Concluded("audited", "the second re-execution matches", outvoted=first), ()
        case Reexecuted() if event.matches_first:
            agreed = "two re-executions agree with each other and not with the result"
            return Concluded("audited", agreed, mismatch=True, confirmed=True), ()
        case Reexecuted():
            return Concluded("audited", "three runs gave three results", mismatch=True), ()
        case Unusable():
            return _again(state, event)
        case TimeUp():
            return _unconfirmed("no second re-execution ended in time")
        case _:
            return state, ()


def _again(state: First | Second, event: Unusable) -> AuditStep:
    """Somebody else, while tries and budget last."""
    unfit = state.unfit if event.owner is None else (*state.unfit, event.owner)
    nobody = event.owner is None or state.tries >= MAX_REEXECUTIONS
    if nobody:
        return _unconfirmed(event.reason) if isinstance(state, Second) else (Concluded("unfinished", event.reason), ())
    left = _less(state.left, event.cost)
    return _elsewhere(msgspec.structs.replace(state, left=left, tries=state.tries + 1, unfit=unfit))


def _elsewhere(state: First | Second) -> AuditStep:
    if state.left == 0:
        reason = "the budget leaves nothing for a re-execution"
        return _unconfirmed(reason) if isinstance(state, Second) else (Concluded("unfinished", reason), ())
    return state, (RunElsewhere(state.subject.numeric_class, _parties(state), state.left),)


def _unconfirmed(why: str) -> AuditStep:
    """One mismatch and nothing more: enough not to sign, not enough to accuse."""
    return Concluded("audited", f"a re-execution differs, and {why}", mismatch=True), ()


def _parties(state: First | Second) -> tuple[Address, ...]:
    first = (state.first.owner,) if isinstance(state, Second) else ()
    subject = state.subject
    return tuple(dict.fromkeys((subject.client_owner, subject.provider_owner, *first, *state.unfit)))


def _less(left: Tokens, cost: Tokens) -> Tokens:
    return Tokens(max(left - cost, 0))
