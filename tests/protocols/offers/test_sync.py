"""Does a node that joins get what it lacks, in pages, from a peer that may be hostile?"""

import pytest

from protocols.errors import RemoteProtocolError
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.offers.book import MAX_RECORDS, OfferBook
from protocols.offers.sync import (
    MAX_PAGE_BYTES,
    SyncPage,
    SyncRequest,
    next_request,
    page_for,
    read_page,
    read_request,
    to_wire,
)
from protocols.units import UnixSeconds


def filled(offer, peer, count, size=2000):
    book = OfferBook()
    for number in range(count):
        book.put(offer(provider=peer(number)), number.to_bytes(4, "big") + bytes(size - 4), UnixSeconds(0))
    return book


def pull(book, digest):
    request, records, pages = SyncRequest(digest), [], 0
    while request is not None:
        page = read_page(to_wire(page_for(book, read_request(to_wire(request)))))
        records += page.records
        pages += 1
        request = next_request(request, page)
    return records, pages


def test_everything_comes_once_in_bounded_pages(offer, peer):
    book = filled(offer, peer, 300)
    records, pages = pull(book, OfferBook().digest())
    assert [int.from_bytes(one[:4], "big") for one in records] == list(range(300))
    assert pages == -(-300 // (MAX_PAGE_BYTES // 2000))
    assert len(to_wire(page_for(book, SyncRequest(())))) < MAX_MESSAGE_BYTES


def test_small_records_are_bounded_by_count_too(offer, peer):
    book = filled(offer, peer, 1000, size=4)
    assert len(page_for(book, SyncRequest(())).records) == MAX_PAGE_BYTES // 128
    assert len(pull(book, ())[0]) == 1000


def test_whoever_has_all_of_it_gets_nothing(offer, peer):
    book = filled(offer, peer, 50)
    assert pull(book, book.digest()) == ([], 1)


def test_a_full_book_is_pulled_in_full(offer, peer):
    assert len(pull(filled(offer, peer, MAX_RECORDS, size=4), ())[0]) == MAX_RECORDS


def test_a_peer_cannot_keep_us_in_a_loop():
    request = SyncRequest((), b"b", 3)
    assert next_request(request, SyncPage((), b"b", 3, True)) is None
    assert next_request(request, SyncPage((), b"a", 9, True)) is None
    assert next_request(request, SyncPage((), b"c", 0, False)) is None
    assert next_request(request, SyncPage((), b"c", 0, True)) == SyncRequest((), b"c", 0)


@pytest.mark.parametrize(
    "request_",
    [SyncRequest((b"x" * 15,)), SyncRequest((b"x" * 16,) * 65), SyncRequest((), b"x" * 40), SyncRequest((), b"", 16)],
    ids=str,
)
def test_malformed_requests(request_):
    with pytest.raises(RemoteProtocolError):
        read_request(to_wire(request_))


def test_malformed_pages():
    for page in (SyncPage((b"x" * 2049,)), SyncPage((b"x",) * 481), SyncPage((), b"x" * 40)):
        with pytest.raises(RemoteProtocolError):
            read_page(to_wire(page))
