"""Are the generated parts of the protocol's pages those of the code, and do the tables in them say what the rules do?"""

import pytest
from msgspec.structs import replace

from devnet.pages import FOLDER, PARTS, filled
from devnet.pages.machines import GOSSIP, RUN
from devnet.pages.payloads import payloads_markdown, structs
from devnet.sim.samples import Samples
from protocols.deals.states import Abandoned, DealState, Settled
from protocols.handlers import runs
from protocols.messages.registry import MESSAGE_TYPES
from protocols.offers.book import OfferBook
from protocols.offers.records import Ask, ExecutorOffer, OfferWithdrawn, ResourceOffer
from protocols.state import CLIENT, Half, NodeState
from protocols.units import Address, Tokens, UnixSeconds

SAMPLES = Samples()
ADDRESS = Address(bytes(20))
OVER = UnixSeconds(1_000)


@pytest.mark.parametrize("page", PARTS)
def test_a_page_shows_what_the_code_says(page: str) -> None:
    text = (FOLDER / page).read_text()
    assert filled(page, text) == text, "run: make docs"


def test_a_page_without_its_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        filled("run.md", "# The run\n")


def test_every_payload_and_all_its_fields_are_there() -> None:
    text = payloads_markdown()
    for tag in MESSAGE_TYPES:
        assert f"\n### {tag}\n" in text
    for one in structs():
        for field in one.__struct_fields__:
            assert f"\n| {field} | " in text


def word(deal: DealState) -> str:
    """How the table calls what a deal did."""
    if isinstance(deal, Settled) and deal.how == "cancelled":
        return "deal cancelled"
    if isinstance(deal, Settled) and deal.result is None:
        return "paid without a result"
    return f"deal {type(deal).__name__}"


def test_a_run_takes_exactly_the_moves_of_its_table() -> None:
    plain = SAMPLES.states()
    settled, abandoned = plain["Settled"], plain["Abandoned"]
    assert isinstance(settled, Settled)
    assert isinstance(abandoned, Abandoned)
    deals = [*plain.values(), replace(settled, how="cancelled"), replace(settled, result=None)]
    deals.append(replace(abandoned, code="cancelled"))
    env = SAMPLES.env(SAMPLES.client)
    found = set()
    for before, run in SAMPLES.runs().items():
        for deal in deals:
            for attempts, more in ((1, ""), (9, ", attempts left")):
                state = NodeState("devnet")
                market = replace(run.market, max_attempts=attempts)
                mine = replace(run, market=market, run_id=deal.terms.run_id)
                state.durable.put_deal(deal.terms.deal_id, Half(CLIENT, deal))
                state.durable.put_run(mine)
                runs.follow(state, deal, env)
                after = type(state.durable.runs[mine.run_id].status).__name__
                if after != before:
                    found.add((before, word(deal) + (more if after == "Searching" else ""), after))
    assert found == {(one.before, one.on, one.after) for one in RUN.moves if one.walked}
    assert {one.before for one in RUN.moves} | {one.after for one in RUN.moves} == set(RUN.states)


def offer(sequence: int) -> ResourceOffer:
    return ResourceOffer(
        provider=SAMPLES.provider.peer_id,
        sequence=sequence,
        expires=OVER,
        cpus_milli=1,
        memory_mib=1,
        disk_mib=1,
        executors=(ExecutorOffer("wasm", 3),),
        ask=Ask(*(Tokens(1) for _ in range(4))),
        token=ADDRESS,
        escrow=ADDRESS,
        max_wall_s=1,
        free_slots=1,
    )


def withdrawal(sequence: int) -> OfferWithdrawn:
    return OfferWithdrawn(owner=SAMPLES.provider.peer_id, kind="offer", sequence=sequence, expires=OVER)


def where(book: OfferBook, was: str) -> str:
    """The state of the one slot; the book itself tells only live from not live."""
    return "Live" if book.get(SAMPLES.provider.peer_id) is not None else was


def test_a_slot_takes_exactly_the_moves_of_its_table() -> None:
    now = UnixSeconds(10)
    found = set()
    for before in ("Unknown", "Live", "Withdrawn"):
        for on, after in (
            ("record", "Unknown"),
            ("newer record", before),
            ("older record", before),
            ("withdrawal", "Withdrawn"),
            ("expires", "Lapsed"),
        ):
            book = OfferBook()
            if before != "Unknown":
                book.put(offer(5), b"x", now)
            if before == "Withdrawn":
                book.withdraw(withdrawal(6), now)
            match on:
                case "record" | "newer record":
                    book.put(offer(9), b"x", now)
                case "older record":
                    book.put(offer(4), b"x", now)
                case "withdrawal":
                    book.withdraw(withdrawal(9), now)
                case _:
                    book.expire(OVER)
            found.add((before, on, where(book, after)))
    told = {(one.before, one.on, one.after) for one in GOSSIP.moves}
    assert told <= found
    assert {one.before for one in GOSSIP.moves} | {one.after for one in GOSSIP.moves} == set(GOSSIP.states)


def test_every_payload_says_what_it_is() -> None:
    assert all(one.__doc__ for one in structs())
