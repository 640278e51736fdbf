"""Which gossip records are kept, which are dropped, and who pays for a bad one?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import encode
from protocols.envelope import Envelope, seal
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.offers.book import Change, JobBook, OfferBook
from protocols.offers.rates import BURST, Rates
from protocols.offers.records import JOB_OFFER_TAG, OFFER_TAG, WITHDRAWN_TAG
from protocols.offers.topics import jobs_topic, offers_topic
from protocols.offers.validators import CLOCK_SKEW_S, MAX_LIFETIME_S, Market, admit, check_record
from protocols.units import Hash32, Millis, PeerId, Signature, UnixSeconds

NOW, AT = UnixSeconds(500), Millis(0)
OFFERS, JOBS = offers_topic("devnet", "cpu"), jobs_topic("devnet", "cpu")


def sealed(record, kind=OFFER_TAG, signer=None):
    return encode(Envelope(kind, encode(record), signer or record.author, Signature(bytes(65))))


def good(envelope):
    """A signature check that passes."""


def forged(envelope):
    raise RemoteProtocolError("not signed by its author", code="bad_signature")


@pytest.fixture
def market():
    return Market("devnet", OfferBook(), JobBook(), Rates())


def check(market, data, topic=OFFERS, *, now=NOW, at=AT, verify=good):
    return check_record(market, topic, data, now, at, verify)


def take(market, data, topic=OFFERS, *, now=NOW, at=AT):
    return admit(market, check(market, data, topic, now=now, at=at), data, now, at)


def test_good_records_reach_their_book(market, offer, job_offer, withdrawn):
    assert take(market, sealed(offer())) is Change.NEW
    assert take(market, sealed(job_offer(), JOB_OFFER_TAG), JOBS) is Change.NEW
    assert (len(market.offers), len(market.jobs)) == (1, 1)
    assert take(market, sealed(withdrawn(), WITHDRAWN_TAG)) is Change.WITHDRAWN
    assert take(market, sealed(withdrawn(kind="job_offer"), WITHDRAWN_TAG), JOBS) is Change.WITHDRAWN
    assert (len(market.offers), len(market.jobs)) == (0, 0)


def test_looking_changes_nothing(market, offer):
    data = sealed(offer())
    for _ in range(100):
        check(market, data)
    assert (len(market.offers), len(market.rates)) == (0, 0)


@pytest.mark.parametrize(
    ("change", "topic", "tag", "reason"),
    [
        ({"expires": UnixSeconds(NOW + MAX_LIFETIME_S + CLOCK_SKEW_S + 1)}, OFFERS, OFFER_TAG, "lives at most"),
        ({}, JOBS, OFFER_TAG, "does not belong"),
        ({}, offers_topic("devnet", "gpu-24"), OFFER_TAG, "does not belong"),
        ({}, offers_topic("othernet", "cpu"), OFFER_TAG, "does not belong"),
        ({}, "elsewhere", OFFER_TAG, "does not belong"),
        ({}, OFFERS, JOB_OFFER_TAG, "malformed"),
        ({}, OFFERS, WITHDRAWN_TAG, "malformed"),
    ],
)
def test_the_forwarder_pays_for_these(market, offer, change, topic, tag, reason):
    with pytest.raises(GossipReject, match=reason):
        check(market, sealed(offer(**change), tag), topic)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        b"\x90",
        bytes(MAX_GOSSIP_BYTES),
        bytes(MAX_GOSSIP_BYTES + 1),
        b"\x94" * 2000,
        b"\xdd\xff\xff\xff\xff",
    ],
)
def test_rubbish_is_rejected(market, data):
    with pytest.raises(GossipReject):
        check(market, data)


def test_a_record_signed_by_another_is_rejected(market, offer, withdrawn, peer):
    with pytest.raises(GossipReject, match="somebody else"):
        check(market, sealed(offer(), signer=peer(2)))
    with pytest.raises(GossipReject, match="somebody else"):
        check(market, sealed(withdrawn(), WITHDRAWN_TAG, signer=peer(2)))


def test_a_bad_signature_is_rejected_and_charges_nobody(market, offer):
    for sequence in range(10 * BURST):
        with pytest.raises(GossipReject, match="bad_signature"):
            check(market, sealed(offer(sequence=sequence)), verify=forged)
    assert take(market, sealed(offer())) is Change.NEW


@pytest.mark.parametrize("expires", [0, NOW])
def test_an_expired_record_is_nobodys_fault(market, offer, expires):
    with pytest.raises(GossipIgnore, match="expired"):
        check(market, sealed(offer(expires=UnixSeconds(expires))))


def test_duplicates_and_old_news_are_ignored(market, offer):
    take(market, sealed(offer(sequence=5)))
    for sequence in (4, 5):
        with pytest.raises(GossipIgnore, match="seen already"):
            check(market, sealed(offer(sequence=sequence)))
    assert take(market, sealed(offer(sequence=6))) is Change.REFRESHED


def test_a_type_of_the_future_is_ignored(market, offer):
    with pytest.raises(GossipIgnore, match="unknown record type"):
        check(market, sealed(offer(), "offer/2"))


def test_an_author_that_talks_too_much_is_ignored(market, offer):
    for sequence in range(BURST):
        take(market, sealed(offer(sequence=sequence)))
    with pytest.raises(GossipIgnore, match="too fast"):
        check(market, sealed(offer(sequence=99)))
    assert take(market, sealed(offer(sequence=99)), at=Millis(500)) is Change.REFRESHED


def test_the_signature_is_checked_after_everything_cheaper(market, offer, peer):
    """Costs are told by what is called: nothing that fails a cheap check reaches the signature."""
    asked = []
    take(market, sealed(offer()))
    for data, topic in (
        (sealed(offer()), OFFERS),
        (sealed(offer(sequence=9), signer=peer(2)), OFFERS),
        (sealed(offer(sequence=9)), JOBS),
        (sealed(offer(sequence=9, expires=UnixSeconds(1))), OFFERS),
        (b"x" * 3000, OFFERS),
    ):
        with pytest.raises((GossipIgnore, GossipReject)):
            check(market, data, topic, verify=asked.append)
    assert asked == []
    check(market, sealed(offer(sequence=9)), verify=asked.append)
    assert len(asked) == 1


def test_the_signature_covers_the_network(offer):
    """With the shipped envelope: what was sealed for one network says something else on another."""
    digests: list[Hash32] = []

    class Recorder:
        peer_id = PeerId(b"\x00" * 39)

        def sign(self, digest: Hash32) -> Signature:
            digests.append(digest)
            return Signature(bytes(65))

    for network in ("devnet", "arbitrum-one"):
        seal(Recorder(), network, OFFER_TAG, encode(offer()))
    assert digests[0] != digests[1]


@given(st.binary(max_size=300))
def test_any_bytes_get_a_verdict(data):
    market = Market("devnet", OfferBook(), JobBook(), Rates())
    with pytest.raises((GossipIgnore, GossipReject)):
        check(market, data)
