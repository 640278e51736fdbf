"""What keeps a run from its deal? What its search has found so far, for people and for programs."""

import json
from collections.abc import Sequence
from typing import Final

import msgspec

from mesh.api.types import CandidateInfo, RunInfo
from mesh.cli.render import amount, plain, when

__all__ = ["SearchFacts", "last_attempt", "search_event", "search_facts", "search_text"]

MAX_SHOWN: Final = 4
"""Different answers in one line; `mesh describe` has all."""
DETAIL_CHARS: Final = 120


class Answers(msgspec.Struct, frozen=True):
    """Offers with the same answer; ``detail`` is the first one's sentence."""

    verdict: str
    code: str
    count: int
    detail: str


class SearchFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Where the search of a run stands. Amounts in wei, ``until`` in unix seconds."""

    event: str = "search"
    run_id: str
    attempt: int
    offers: int
    """Looked at in this attempt."""
    asked: int
    answers: tuple[Answers, ...]
    cheapest: str | None
    """Least price of those that would fit but for their price, or that want a deposit first."""
    limit: str
    until: int


def last_attempt(found: Sequence[CandidateInfo]) -> tuple[CandidateInfo, ...]:
    """The candidates of the newest search of a run."""
    newest = max((one.attempt for one in found), default=1)
    return tuple(one for one in found if one.attempt == newest)


def search_facts(run: RunInfo) -> SearchFacts | None:
    """None while there is nothing to explain: the run is not searching, or has a quote in its hands."""
    newest: dict[str, CandidateInfo] = {}
    for one in last_attempt(run.candidates):
        newest[one.provider] = one
    if run.status != "searching" or any(one.verdict in ("quoted", "chosen") for one in newest.values()):
        return None
    prices = [int(one.price) for one in newest.values() if one.price is not None]
    return SearchFacts(
        run_id=run.run_id,
        attempt=max((one.attempt for one in newest.values()), default=1),
        offers=len(newest),
        asked=sum(one.round > 0 for one in newest.values()),
        answers=_grouped(tuple(newest.values())),
        cheapest=str(min(prices)) if prices else None,
        limit=run.max_price,
        until=run.search_until,
    )


def _grouped(found: Sequence[CandidateInfo]) -> tuple[Answers, ...]:
    """Commonest first."""
    groups: dict[tuple[str, str], list[CandidateInfo]] = {}
    for one in found:
        groups.setdefault((one.verdict, one.code), []).append(one)
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    return tuple(Answers(verdict, code, len(those), those[0].detail) for (verdict, code), those in ordered)


_SAYS: Final = {
    "unsuitable": "cannot take it",
    "refused": "refused",
    "silent": "did not answer",
    "indicative": "would take it",
}


def search_text(facts: SearchFacts) -> str:
    """One line for people."""
    if not facts.offers:
        parts = ["searching: no offer is known yet"]
    else:
        known = f"{facts.offers} offer{'s' if facts.offers > 1 else ''}"
        first = f"asked {facts.asked} of {known}" if facts.asked else f"none of {known} fits"
        said = [_answer_text(one) for one in facts.answers[:MAX_SHOWN]]
        rest = sum(one.count for one in facts.answers[MAX_SHOWN:])
        parts = [f"searching: {first}: {'; '.join([*said, *([f'{rest} for other reasons'] if rest else [])])}"]
    if facts.cheapest is not None:
        parts.append(f"cheapest fitting costs {amount(facts.cheapest)}, your limit is {amount(facts.limit)}")
    if facts.until:
        parts.append(f"waiting for new offers until {when(facts.until).split()[1]} UTC")
    return plain("; ".join(parts))


def _answer_text(one: Answers) -> str:
    detail = one.detail if len(one.detail) <= DETAIL_CHARS else f"{one.detail[: DETAIL_CHARS - 3]}..."
    reason = f" ({': '.join(filter(None, (one.code, detail)))})" if one.verdict != "silent" else ""
    return f"{one.count} {_SAYS.get(one.verdict, one.verdict)}{reason}"


def search_event(facts: SearchFacts) -> str:
    """One line of JSON for programs."""
    return json.dumps(msgspec.to_builtins(facts))
