"""Who may say that it has the case of a dispute, and is a stranger's word passed on?"""

import msgspec
import pytest

from mesh.base.keys import NodeKey
from protocols.canonical import decode_strict, encode
from protocols.disputes.record import Place, Record, Sitting
from protocols.disputes.states import Phase, Reason, Stage
from protocols.envelope import Envelope, open_, seal
from protocols.errors import GossipIgnore, GossipReject, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.mediation.book import ANSWER_EVERY_MS, MAX_NOTICES, CaseBook, members
from protocols.mediation.gossip import check_notice
from protocols.messages.dispute import CASE_TAG, CaseNotice, cases_topic
from protocols.offers.rates import BURST, Rates
from protocols.offers.validators import CLOCK_SKEW_S, MAX_LIFETIME_S
from protocols.units import DealId, Hash32, Millis, PeerId, Tokens, UnixSeconds

NOW, AT = UnixSeconds(1_800_000_000), Millis(7_000)
DEAL = DealId(keccak256(b"deal"))
CLIENT, PROVIDER, SEAT, STRANGER = (NodeKey(keccak256(name)) for name in (b"c", b"p", b"s", b"x"))
RECORD = Record(
    deal_id=DEAL,
    client=CLIENT.address,
    provider=PROVIDER.address,
    result_hash=Hash32(bytes(32)),
    reason=Reason.WRONG,
    funder=CLIENT.address,
    fee=Tokens(1),
    phase=Phase.DRAWN,
    until=UnixSeconds(NOW + 60),
    sittings=(Sitting((Place(SEAT.address, 3, Stage.CALLED), Place(), Place())),),
)


def notice(deal_id: DealId = DEAL, life_s: int = 60) -> CaseNotice:
    return CaseNotice(
        deal_id=deal_id, expires=UnixSeconds(NOW + life_s), addresses=(b"\x04\x7f\x00\x00\x01\x06\x00\x01",)
    )


def said(by: NodeKey, one: CaseNotice, *, tag: str = CASE_TAG) -> bytes:
    return seal(by, "devnet", tag, encode(one))


class Listener:
    def __init__(self) -> None:
        self.book, self.rates, self.verified = CaseBook(), Rates(), 0
        self.book.records[DEAL] = RECORD

    def hears(self, data: bytes, now: UnixSeconds = NOW) -> PeerId:
        def verify(envelope: Envelope) -> None:
            self.verified += 1
            open_(STRANGER, "devnet", envelope)

        author, one = check_notice(self.book, self.rates, data, now, AT, verify)
        self.rates.charge(author, AT)
        self.book.put(author, one)
        return author


@pytest.mark.parametrize("author", [CLIENT, PROVIDER, SEAT])
def test_parties_and_called_seats_are_heard(author: NodeKey) -> None:
    listener = Listener()
    assert listener.hears(said(author, notice())) == author.peer_id
    assert listener.book.authors(DEAL, NOW) == (author.peer_id,)


def test_an_author_whose_word_has_lapsed_is_asked_no_more() -> None:
    listener = Listener()
    for author in (CLIENT, PROVIDER):
        listener.hears(said(author, notice()))
    listener.hears(said(CLIENT, notice(life_s=90)))
    assert listener.book.authors(DEAL, UnixSeconds(NOW + 80)) == (CLIENT.peer_id,)
    assert list(listener.book.notices) == [(DEAL, CLIENT.peer_id)]


def test_a_strangers_notice_goes_no_further_and_costs_no_signature_check() -> None:
    listener = Listener()
    with pytest.raises(GossipIgnore, match="no party"):
        listener.hears(said(STRANGER, notice()))
    assert (listener.verified, listener.book.notices) == (0, {})


def test_a_stranger_in_a_partys_name_costs_its_forwarder() -> None:
    envelope = decode_strict(Envelope, said(STRANGER, notice()), max_bytes=MAX_GOSSIP_BYTES)
    forged = encode(msgspec.structs.replace(envelope, signer=CLIENT.peer_id))
    with pytest.raises(GossipReject, match="bad_signature"):
        Listener().hears(forged)


def test_a_dispute_that_the_chain_does_not_know_is_nobodys_case() -> None:
    with pytest.raises(GossipIgnore, match="not heard of"):
        Listener().hears(said(CLIENT, notice(DealId(keccak256(b"another")))))


def test_old_lapsed_and_everlasting_notices_are_not_kept() -> None:
    listener = Listener()
    listener.hears(said(CLIENT, notice(life_s=60)))
    for life_s, how in ((60, "seen already"), (30, "older"), (0, "expired")):
        with pytest.raises(GossipIgnore, match=how):
            listener.hears(said(CLIENT, notice(life_s=life_s)))
    with pytest.raises(GossipReject, match="lives at most"):
        listener.hears(said(CLIENT, notice(life_s=MAX_LIFETIME_S + CLOCK_SKEW_S + 1)))


def test_other_records_large_ones_and_rubbish_are_refused() -> None:
    listener = Listener()
    with pytest.raises(GossipIgnore, match="unknown record type"):
        listener.hears(said(CLIENT, notice(), tag="case/2"))
    with pytest.raises(GossipReject, match="at most"):
        listener.hears(bytes(MAX_GOSSIP_BYTES + 1))
    with pytest.raises(GossipReject, match="malformed"):
        listener.hears(b"\x93rubbish")
    with pytest.raises(RemoteProtocolError, match="not a CaseNotice"):
        decode_strict(CaseNotice, encode(notice()) + b"\x00", max_bytes=2_048)


def test_an_author_that_says_too_much_is_not_passed_on() -> None:
    listener = Listener()
    for life_s in range(1, BURST + 1):
        listener.hears(said(CLIENT, notice(life_s=life_s)))
    with pytest.raises(GossipIgnore, match="too fast"):
        listener.hears(said(CLIENT, notice(life_s=BURST + 1)))
    assert listener.hears(said(PROVIDER, notice())) == PROVIDER.peer_id


def test_notices_are_bounded_and_go_with_their_dispute() -> None:
    book = CaseBook()
    for number in range(MAX_NOTICES + 3):
        book.put(PeerId(number.to_bytes(4)), notice())
        assert book.may_answer(DEAL, PeerId(number.to_bytes(4)), AT)
    assert len(book.notices) == len(book.answered) == MAX_NOTICES
    book.records[DEAL] = RECORD
    book.forget(DEAL)
    assert (book.notices, book.answered, book.records) == ({}, {}, {})


def test_a_peer_is_told_the_same_case_only_so_often() -> None:
    book, peer = CaseBook(), SEAT.peer_id
    assert book.may_answer(DEAL, peer, AT)
    assert not book.may_answer(DEAL, peer, Millis(AT + ANSWER_EVERY_MS - 1))
    assert book.may_answer(DEAL, peer, Millis(AT + ANSWER_EVERY_MS))


def test_the_bytes_of_a_notice_stay_what_they_are() -> None:
    assert encode(CaseNotice(deal_id=DealId(b"\x01" * 32), expires=UnixSeconds(7), addresses=(b"\x02",))).hex() == (
        "93c420" + "01" * 32 + "07" + "91c40102"
    )
    assert cases_topic("devnet") == "/mesh/devnet/cases/1"
    assert members(RECORD) >= {CLIENT.address, PROVIDER.address, SEAT.address}
