"""Do strangers trade through a channel without trusting each other with more than one price? Two cores, sealed results."""

import pytest

from devnet.sim.node import SimNode
from mesh.logs import may_read
from protocols.contracts.channels import Voucher
from protocols.deals import eip712
from protocols.deals.sealing import KEYLESS, release_of
from protocols.deals.states import Abandoned, DealState, PaidBy, Running, Sealed, Settled, Unsealing
from protocols.envelope import parse_envelope
from protocols.handlers import channels
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.channel import VoucherNotice
from protocols.messages.deal import KeyRelease
from protocols.reputation import evidence_of
from protocols.runs import Done, Failed
from protocols.spending import spending
from protocols.units import ZERO_HASH, Hash32, Signature
from protocols.views import deal_view
from tests.protocols.channels.pair import Pair


def said(pair: Pair) -> list[tuple[str, bytes]]:
    """Tags of what went over the wire so far, each with its payload."""
    assert pair.world.tap is not None
    found = []
    for _, _, data in pair.world.tap:
        envelope = parse_envelope(data, max_bytes=MAX_MESSAGE_BYTES)
        found.append((envelope.type, envelope.payload))
    return found


def tags(pair: Pair) -> list[str]:
    return [tag for tag, _ in said(pair) if tag in ("sealed/1", "key/1", "result/1", "voucher/1")]


def until(pair: Pair, number: int, kind: type, node: SimNode) -> DealState:
    """Step the world until a deal of the node is in a state of this kind."""
    for _ in range(20_000):
        found = [h.state for h in node.state.durable.deals.values() if h.state.terms.deal.run_nonce == number]
        if found and isinstance(found[0], kind):
            return found[0]
        pair.world.run(pair.world.now + 5)
    raise AssertionError(f"deal {number} never was {kind.__name__}")


def test_the_first_deals_are_sealed_and_the_later_ones_are_not() -> None:
    pair = Pair(channel_trust=2)
    pair.world.tap = []
    for number in (1, 2, 3):
        pair.submit(number)
        pair.passes(14)
        assert isinstance(pair.run(number).status, Done)
        deal = pair.deal(pair.client, number)
        assert isinstance(deal, Settled)
        assert (deal.how, deal.checked, deal.paid) == ("voucher", "bytes", pair.price)
    assert tags(pair) == ["sealed/1", "voucher/1", "key/1"] * 2 + ["result/1", "voucher/1"]
    assert pair.world.channels.posted == ["fund"]
    assert pair.book(pair.provider).paid == pair.book(pair.client).paid == 3 * pair.price
    assert not pair.client.outbox
    assert not pair.provider.outbox


def test_nothing_said_before_the_voucher_names_the_result_or_its_salt() -> None:
    pair = Pair(channel_trust=1)
    pair.world.tap = []
    pair.submit(1)
    pair.passes(14)
    deal = pair.deal(pair.client, 1)
    assert isinstance(deal, Settled)
    assert deal.result is not None
    release = release_of(pair.provider.env.signer, deal.terms.deal_id)
    before = [payload for tag, payload in said(pair) if tag != "key/1"]
    for secret in (deal.result.root, deal.result.root[4:], release.key, release.salt):
        assert not any(secret in payload for payload in before)
    assert [payload for tag, payload in said(pair) if tag == "key/1" and release.key in payload]
    assert deal.result.commit.log_head == ZERO_HASH  # which has no salt


def test_a_client_that_pulls_and_never_pays_has_no_key_and_gets_no_second_deal() -> None:
    pair = Pair(channel_trust=5)
    pair.world.tap = []
    pair.submit(1)
    until(pair, 1, Sealed, pair.client)
    pair.client.kill()
    pair.passes(pair.deal(pair.provider, 1).terms.deal.exec_seconds + pair.world.params.silence_before_claim + 10)
    assert isinstance(pair.deal(pair.provider, 1), Abandoned)
    assert "key/1" not in tags(pair)
    owing = pair.book(pair.provider).owing
    assert owing is not None
    # Another voucher's repetition that names the unpaid deal brings no key either.
    book = pair.book(pair.provider)
    notice = VoucherNotice(owing.deal_id, book.voucher, _sign(pair, book.voucher))
    assert channels.message_arrived(pair.provider.state, pair.client.me, notice, pair.provider.env) == []


def _sign(pair: Pair, voucher: Voucher) -> Signature:
    env = pair.client.env
    return env.signer.sign(eip712.digest(env.domain, voucher))


def test_a_provider_that_keeps_the_key_gets_one_price_and_no_further_deal_of_the_channel() -> None:
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    pair.submit(1)
    until(pair, 1, Unsealing, pair.client)
    pair.passes(pair.deal(pair.client, 1).terms.deal.claim_seconds + 5)
    lost = pair.deal(pair.client, 1)
    assert isinstance(lost, Settled)
    assert (lost.how, lost.paid, lost.result) == (KEYLESS, pair.price, None)
    assert isinstance(lost.seal, Unsealing)  # what the provider has signed is kept, and what it was paid with
    assert isinstance(lost.seal.paid_by, PaidBy)
    assert lost.seal.paid_by.notice.voucher == pair.book(pair.client).voucher
    evidence = evidence_of(lost)
    assert evidence is not None
    assert not evidence.kept
    assert [day.broken for day in pair.client.state.records[pair.provider.me].days] == [1]
    pair.passes(60)  # it looks for somebody else, and there is nobody
    assert isinstance(pair.run(1).status, Failed)
    pair.submit(2)
    pair.passes(60)
    assert isinstance(pair.run(2).status, Failed)
    assert pair.book(pair.client).paid == pair.price
    assert not any(h.state.terms.deal.run_nonce == 2 for h in pair.client.state.durable.deals.values())


def test_a_stranger_gets_no_second_deal_while_it_owes_the_key_of_the_first() -> None:
    """Found by chaos: the voucher for the second was signed before the first was given up."""
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    pair.submit(1)
    pair.submit(2)
    until(pair, 1, Unsealing, pair.client)
    pair.passes(pair.deal(pair.client, 1).terms.deal.claim_seconds + 60)
    assert [half.state.how for half in pair.client.state.durable.deals.values() if isinstance(half.state, Settled)] == [
        KEYLESS
    ]
    assert pair.book(pair.client).paid == pair.price
    assert isinstance(pair.run(2).status, Failed)


def test_the_books_count_a_price_once_whether_the_key_comes_or_not() -> None:
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    before = pair.world.escrow.free[pair.client.env.signer.address]
    pair.submit(1)
    until(pair, 1, Unsealing, pair.client)
    for _ in range(2):
        total = spending(pair.client.state).total
        free = pair.world.escrow.free[pair.client.env.signer.address]
        assert (total.paid, total.promised, total.refunded) == (pair.price, 0, 0)
        assert free + total.locked + total.paid == before
        pair.passes(pair.deal(pair.client, 1).terms.deal.claim_seconds + 5)
    view = deal_view(pair.client.state, pair.deal(pair.client, 1).terms.deal_id)
    assert view is not None
    assert (view.final_how, view.final_tx, view.paid, view.root) == (KEYLESS, None, pair.price, None)


def test_a_key_that_comes_late_still_opens_what_was_paid_for() -> None:
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    pair.submit(1)
    until(pair, 1, Unsealing, pair.client)
    pair.passes(pair.deal(pair.client, 1).terms.deal.claim_seconds + 5)
    lost = pair.deal(pair.client, 1)
    assert isinstance(lost, Settled)
    pair.say(pair.provider, release_of(pair.provider.env.signer, lost.terms.deal_id))
    pair.passes(10)
    found = pair.deal(pair.client, 1)
    assert isinstance(found, Settled)
    assert found.how == "voucher"
    assert found.result is not None


def test_a_wrong_key_is_refused_and_the_right_one_still_awaited() -> None:
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    pair.submit(1)
    waiting = until(pair, 1, Unsealing, pair.client)
    deal_id = waiting.terms.deal_id
    right = release_of(pair.provider.env.signer, deal_id)
    pair.say(pair.provider, KeyRelease(deal_id, Hash32(b"\x01" * 32), right.salt))
    pair.passes(2)
    assert pair.deal(pair.client, 1) == waiting
    pair.say(pair.provider, right)
    pair.passes(5)
    assert isinstance(pair.run(1).status, Done)


def test_a_key_that_opens_another_result_than_was_committed_to_is_a_broken_deal() -> None:
    pair = Pair(channel_trust=5)
    pair.provider.habits.keeps_keys = True
    pair.submit(1)
    waiting = until(pair, 1, Unsealing, pair.client)
    right = release_of(pair.provider.env.signer, waiting.terms.deal_id)
    pair.say(pair.provider, KeyRelease(right.deal_id, right.key, Hash32(b"\x02" * 32)))
    pair.passes(5)
    lost = pair.deal(pair.client, 1)
    assert isinstance(lost, Settled)
    assert lost.how == KEYLESS
    assert isinstance(lost.seal, Unsealing)
    assert lost.seal.release is not None  # signed by the provider's envelope, and kept


def test_whoever_sends_its_voucher_again_is_sent_the_key_again() -> None:
    pair = Pair(channel_trust=5)
    pair.submit(1)
    pair.passes(14)
    deal_id = pair.deal(pair.client, 1).terms.deal_id
    book = pair.book(pair.client)
    assert book.signature is not None
    pair.world.tap = []
    pair.say(pair.client, VoucherNotice(deal_id, book.voucher, book.signature))
    pair.passes(3)
    assert "key/1" in tags(pair)


@pytest.mark.parametrize("who", ["client", "provider"])
def test_a_restart_at_any_moment_of_a_sealed_deal_loses_nothing(who: str) -> None:
    for after in range(1, 22, 2):
        pair = Pair(channel_trust=5)
        pair.submit(1)
        pair.world.run(pair.world.now + after * 450)
        node = getattr(pair, who)
        node.kill()
        node.start()
        pair.passes(60)
        assert isinstance(pair.run(1).status, Done), after
        assert pair.book(pair.provider).paid == pair.book(pair.client).paid == pair.price


def test_a_running_sealed_job_is_marked_so_that_nobody_reads_its_log() -> None:
    pair = Pair(channel_trust=5)
    pair.submit(1)
    running = until(pair, 1, Running, pair.provider)
    assert isinstance(running, Running)
    assert running.sealed is True
    assert not may_read(pair.provider.state, running.terms.deal_id, pair.client.me)


def test_the_log_of_a_job_that_is_not_sealed_is_its_clients_to_read() -> None:
    pair = Pair(channel_trust=0)
    pair.submit(1)
    running = until(pair, 1, Running, pair.provider)
    assert may_read(pair.provider.state, running.terms.deal_id, pair.client.me)
    assert not may_read(pair.provider.state, running.terms.deal_id, pair.provider.me)
