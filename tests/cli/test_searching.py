"""Does a run that finds nobody say so at once, in words or as events, and again only when that changes?"""

import json

import msgspec
import pytest

from mesh.base.errors import ChainOrFunds
from mesh.cli.searching import last_attempt, search_facts, search_text
from mesh.cli.session import Session
from mesh.cli.watching import await_offers

TOKEN = 10**18
RUN = "0x1f3acdcd"


@pytest.fixture
def answer(run_of):
    """One offer's answer; ``who`` makes it another provider's."""
    plain = run_of().candidates[0]

    def made(who: int, verdict: str, code: str = "", detail: str = "", **changes):
        changes = {"round": 1, "price": None, "attempt": 1} | changes
        return msgspec.structs.replace(
            plain, provider=f"16Uiu2HAm{who}", verdict=verdict, code=code, detail=detail, **changes
        )

    return made


@pytest.fixture
def stuck(searching, answer):
    """A search of three offers: two are busy, one wants more than the owner pays."""
    return msgspec.structs.replace(
        searching,
        candidates=(
            answer(1, "refused", "busy", "all 2 slots are taken"),
            answer(2, "refused", "busy", "all 1 slots are taken"),
            answer(3, "unsuitable", "price", "asks 2 MESH", round=0, price=str(2 * TOKEN)),
        ),
        search_until=1_800_000_060,
    )


TOLD = (
    "searching: asked 2 of 3 offers: 2 refused (busy: all 2 slots are taken); 1 cannot take it (price: asks 2 MESH);"
    " cheapest fitting costs 2 MESH, your limit is 1 MESH; waiting for new offers until 08:01:00 UTC"
)


def test_what_is_told(stuck) -> None:
    facts = search_facts(stuck)
    assert facts is not None
    assert search_text(facts) == TOLD


def test_submit_says_at_once_why_it_waits_and_again_when_that_changes(mesh, node, job, stuck, answer, run_of) -> None:
    news = msgspec.structs.replace(stuck, candidates=(*stuck.candidates, answer(4, "silent", "silent")))
    node.story = [stuck, stuck, stuck, stuck, news, news, run_of()]
    said = mesh("submit", str(job))
    assert said.code == 0
    lines = [line for line in said.talk.splitlines() if line.startswith("searching: ")]
    assert lines[0] == TOLD
    assert len(lines) == 2
    assert "asked 3 of 4 offers" in lines[1]
    assert "1 did not answer" in lines[1]


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_programs_get_the_same_as_events(mesh, node, job, stuck, run_of, form) -> None:
    node.story = [stuck, stuck, stuck, run_of()]
    said = mesh("submit", str(job), "-o", form)
    (event,) = [json.loads(line) for line in said.talk.splitlines() if line.startswith('{"event": "search"')]
    assert event["run_id"].startswith(RUN)
    assert (event["offers"], event["asked"], event["until"]) == (3, 2, 1_800_000_060)
    assert (event["cheapest"], event["limit"]) == (str(2 * TOKEN), str(TOKEN))
    assert event["answers"][0] == {"verdict": "refused", "code": "busy", "count": 2, "detail": "all 2 slots are taken"}
    assert [one["status"] for one in said.lines] == ["done"]


def test_quiet_is_quiet(mesh, node, job, stuck, run_of) -> None:
    node.story = [stuck, stuck, stuck, run_of()]
    assert mesh("submit", str(job), "-q").talk == ""


def test_a_search_that_has_a_quote_needs_no_explaining(stuck, answer, run_of) -> None:
    quoted = answer(4, "quoted", price="1")
    assert search_facts(msgspec.structs.replace(stuck, candidates=(*stuck.candidates, quoted))) is None
    assert search_facts(run_of()) is None


def test_nothing_known_yet(searching) -> None:
    facts = search_facts(msgspec.structs.replace(searching, candidates=(), search_until=1_800_000_060))
    assert facts is not None
    assert search_text(facts) == "searching: no offer is known yet; waiting for new offers until 08:01:00 UTC"


def test_only_the_newest_attempt_counts(stuck, answer) -> None:
    later = msgspec.structs.replace(stuck, candidates=(*stuck.candidates, answer(1, "silent", "silent", attempt=2)))
    facts = search_facts(later)
    assert facts is not None
    assert (facts.attempt, facts.offers) == (2, 1)
    assert [one.verdict for one in last_attempt(later.candidates)] == ["silent"]


def test_strangers_words_move_no_cursor(searching, answer) -> None:
    facts = search_facts(msgspec.structs.replace(searching, candidates=(answer(1, "refused", "\x1b[2J", "\r\n"),)))
    assert facts is not None
    assert "\x1b" not in search_text(facts)
    assert "\n" not in search_text(facts)


def test_describe_keeps_attempts_apart(mesh, node, stuck, answer) -> None:
    node.story = [stuck]
    assert "attempt 1" not in mesh("describe", RUN).out
    both = (*stuck.candidates, answer(1, "refused", "draining", "closes down", attempt=2))
    node.story = [msgspec.structs.replace(stuck, candidates=both)]
    first, second = mesh("describe", RUN).out.split("attempt 2\n")
    assert first.count("busy") == 2
    assert "attempt 1\nPROVIDER" in first
    assert "draining" not in first
    assert "busy" not in second
    assert "draining" in second


def test_the_last_words_of_a_failed_run_are_of_its_last_attempt(mesh, node, stuck, answer) -> None:
    both = (*stuck.candidates, answer(1, "refused", "draining", "closes down", attempt=2))
    node.story = [
        msgspec.structs.replace(stuck, candidates=both, status="failed", code="no-match", detail="1 x draining")
    ]
    talk = mesh("wait", RUN).talk
    assert "draining" in talk
    assert "all 2 slots" not in talk


class Lonely:
    """A node that has just started and hears of nobody."""

    def __init__(self, about, peers: int) -> None:
        self.about = msgspec.structs.replace(about, peers=peers, offers=0, uptime_s=0)

    async def status(self):
        return self.about


@pytest.mark.parametrize(
    ("peers", "told"),
    [
        (0, "waiting: no peer is connected yet"),
        (2, "waiting: 2 peers are connected, and none has told of an offer yet"),
    ],
)
async def test_what_is_waited_for_before_a_search_is_said_after_some_seconds(
    peers, told, node, capsys, autojump_clock
) -> None:
    """It was silent for twenty seconds."""
    session = Session(Lonely(node.about, peers), own=True)
    await await_offers(session)
    said = capsys.readouterr().err
    assert said.startswith(told)
    assert said.count("\n") == 1
    await await_offers(session, shown=False)
    assert capsys.readouterr().err == ""


async def test_without_any_chain_endpoint_nothing_is_submitted(node, autojump_clock) -> None:
    """It ended two minutes later with "no offer on the network has been seen"."""
    api = Lonely(node.about, 2)
    ready, *_ = node.about.endpoints
    dead = msgspec.structs.replace(ready, state="cooling", failures=3)
    api.about = msgspec.structs.replace(api.about, chain_block=0, endpoints=(dead, dead))
    with pytest.raises(ChainOrFunds, match="no RPC endpoint of chain 31337") as caught:
        await await_offers(Session(api, own=True), needs_chain=True)
    assert "cooling, 3 failures" in caught.value.why
    assert "chain.rpc" in caught.value.fix
    await await_offers(Session(api, own=True))
    api.about = msgspec.structs.replace(api.about, endpoints=(dead, ready))
    await await_offers(Session(api, own=True), needs_chain=True)
