"""Does a value have one form on the wire, and does everything else cost its sender?"""

import msgpack
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.sim.samples import Samples
from protocols.canonical import MAX_DEPTH_ITEMS, content_id, decode_strict, encode, tagged_digest
from protocols.errors import RemoteProtocolError
from protocols.limits import MAX_JOB_BYTES, MAX_MESSAGE_BYTES
from protocols.messages.deal import Progress, ResultNotice
from protocols.messages.negotiation import HoldRelease, InputRoot, Quote, Refusal, Rfq
from protocols.messages.registry import MESSAGE_TYPES
from protocols.units import Cid, DealId, Hash32, Tokens

SAMPLES = Samples()
MESSAGES = SAMPLES.messages()


def refused(kind: type, data: bytes, *, max_bytes: int = MAX_MESSAGE_BYTES) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_strict(kind, data, max_bytes=max_bytes)
    return caught.value.code


@pytest.mark.parametrize("tag", list(MESSAGE_TYPES))
def test_one_byte_more_or_less_is_refused(tag: str) -> None:
    kind, data = MESSAGE_TYPES[tag], encode(MESSAGES[tag])
    assert decode_strict(kind, data, max_bytes=len(data)) == MESSAGES[tag]
    assert refused(kind, data + b"\x00") == "malformed"
    assert refused(kind, data + data) == "malformed"
    assert refused(kind, data, max_bytes=len(data) - 1) == "too_large"
    for cut in range(len(data)):
        assert refused(kind, data[:cut]) == "malformed"


@pytest.mark.parametrize("tag", list(MESSAGE_TYPES))
def test_a_field_more_or_less_is_refused(tag: str) -> None:
    kind = MESSAGE_TYPES[tag]
    fields = msgpack.unpackb(encode(MESSAGES[tag]), strict_map_key=False)
    assert msgpack.packb(fields, use_bin_type=True) == encode(MESSAGES[tag])
    for wrong in ([*fields, None], [*fields, fields[-1]], fields[:-1], [], {"rfq_id": b""}, None, 7):
        assert refused(kind, msgpack.packb(wrong, use_bin_type=True)) == "malformed"


def test_a_number_has_one_form() -> None:
    message = Progress(deal_id=SAMPLES.terms().deal_id, phase="x", done=5, total=6)
    data = encode(message)
    assert data.endswith(b"\x05\x06")
    longer = (b"\xcc\x05", b"\xcd\x00\x05", b"\xce\x00\x00\x00\x05", b"\xcf" + bytes(7) + b"\x05", b"\xd0\x05")
    for form in longer:
        assert refused(Progress, data[:-2] + form + b"\x06") == "not_canonical"
    for wrong in (b"\xff", b"\xcb\x40\x14" + bytes(6), b"\xc0", b"\xc2", b"\xa15", b"\xcf" + b"\xff" * 8):
        assert refused(Progress, data[:-2] + wrong + b"\x06") == "malformed"


def test_text_and_bytes_have_one_form() -> None:
    data = encode(HoldRelease(rfq_id=SAMPLES.rfq_id))
    raw = SAMPLES.rfq_id
    assert data == b"\x91\xc4\x20" + raw
    assert refused(HoldRelease, b"\x91\xc5\x00\x20" + raw) == "not_canonical"
    assert refused(HoldRelease, b"\xdc\x00\x01\xc4\x20" + raw) == "not_canonical"
    assert refused(HoldRelease, b"\x91\xd9\x20" + b"a" * 32) == "malformed"
    refusal = encode(Refusal(rfq_id=SAMPLES.rfq_id, code="busy", detail="", free_in_s=0))
    assert refused(Refusal, refusal.replace(b"\xa4busy", b"\xd9\x04busy")) == "not_canonical"
    assert refused(Refusal, refusal.replace(b"\xa4busy", b"\xa4\xff\xfe\xfd\xfc")) == "malformed"


def test_an_amount_is_32_bytes() -> None:
    quote = SAMPLES.quote()
    data, amount = encode(quote), int(quote.price).to_bytes(32, "big")
    for wrong in (b"\xc4\x1f" + amount[1:], b"\xc4\x21\x00" + amount, b"\xcf" + amount[-8:], b"\xc4\x00"):
        assert refused(Quote, data.replace(b"\xc4\x20" + amount, wrong, 1)) == "malformed"


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_identifiers_have_their_length(size: int) -> None:
    wrong = Hash32(bytes(size))
    assert refused(HoldRelease, encode(HoldRelease(rfq_id=wrong))) == "malformed"
    assert refused(Progress, encode(Progress(deal_id=DealId(wrong), phase="", done=0, total=0))) == "malformed"
    notice = msgspec.structs.replace(SAMPLES.notice(), salt=wrong)
    assert refused(ResultNotice, encode(notice)) == "malformed"
    root = msgspec.structs.replace(SAMPLES.rfq(), inputs=(InputRoot(Cid(bytes(size)), 1),))
    assert refused(Rfq, encode(root)) == "malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"run_nonce": -1},
        {"index": 1 << 32},
        {"index": -1},
        {"deadline": -1},
        {"enforcement": 256},
        {"job": bytes(MAX_JOB_BYTES + 1)},
        {"token": bytes(19)},
        {"inputs": tuple(InputRoot(SAMPLES.root, n) for n in range(66))},
        {"inputs": (InputRoot(SAMPLES.root, -1),)},
    ],
)
def test_what_a_request_may_say_is_bounded(changes: dict[str, object]) -> None:
    request = msgspec.structs.replace(SAMPLES.rfq(), **changes)
    assert refused(Rfq, encode(request)) == "malformed"


@pytest.mark.parametrize("name", ["exec_seconds", "claim_seconds", "window_seconds", "hold_ms", "starts_in_s"])
@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_what_a_quote_may_say_is_bounded(name: str, value: int) -> None:
    """A quote whose times fit no Deal once ended the client that took it."""
    assert refused(Quote, encode(msgspec.structs.replace(SAMPLES.quote(), **{name: value}))) == "malformed"


def test_words_of_strangers_are_short() -> None:
    long = Refusal(rfq_id=SAMPLES.rfq_id, code="x", detail="x" * 401, free_in_s=0)
    assert refused(Refusal, encode(long)) == "malformed"
    assert refused(Refusal, encode(msgspec.structs.replace(long, code="x" * 41, detail=""))) == "malformed"


def test_depth_and_size_bombs_are_refused() -> None:
    assert refused(Rfq, b"\x91" * 60_000) == "malformed"
    assert refused(Rfq, b"\x81\x01" * 30_000) == "malformed"
    assert refused(Rfq, b"\xdd\xff\xff\xff\xff") == "malformed"
    assert refused(Rfq, b"\xdf\xff\xff\xff\xff") == "malformed"
    assert refused(Rfq, b"\xc6\xff\xff\xff\xff") == "malformed"
    assert refused(Rfq, b"\xc7\x08\x01" + bytes(8)) == "malformed"
    wide = msgpack.packb([0] * (MAX_DEPTH_ITEMS + 1))
    assert refused(Rfq, wide) == "malformed"


@given(st.binary(max_size=300))
def test_noise_never_does_more_than_raise(data: bytes) -> None:
    for kind in MESSAGE_TYPES.values():
        try:
            value = decode_strict(kind, data, max_bytes=MAX_MESSAGE_BYTES)
        except RemoteProtocolError:
            continue
        assert encode(value) == data


@given(st.sampled_from(list(MESSAGE_TYPES)), st.data())
def test_a_flipped_byte_is_another_value_or_none(tag: str, data: st.DataObject) -> None:
    raw = bytearray(encode(MESSAGES[tag]))
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    try:
        value = decode_strict(MESSAGE_TYPES[tag], bytes(raw), max_bytes=MAX_MESSAGE_BYTES)
    except RemoteProtocolError:
        return
    assert value != MESSAGES[tag]
    assert encode(value) == bytes(raw)


def test_a_type_without_a_canonical_form_is_our_fault() -> None:
    class Odd(msgspec.Struct, array_like=True):
        value: object

    with pytest.raises(NotImplementedError):
        encode(Odd(object()))


@given(st.lists(st.binary(max_size=8), max_size=4), st.lists(st.binary(max_size=8), max_size=4))
def test_no_two_lists_of_parts_share_a_digest(one: list[bytes], other: list[bytes]) -> None:
    assert (tagged_digest("d", *one) == tagged_digest("d", *other)) == (one == other)
    assert tagged_digest("d", *one) != tagged_digest("e", *one)


def test_domains_do_not_run_into_parts() -> None:
    assert tagged_digest("job/1", b"x") != tagged_digest("job/", b"1x")
    assert content_id("a", SAMPLES.quote()) != content_id("b", SAMPLES.quote())


@pytest.mark.parametrize("amount", [-1, 1 << 256])
def test_an_amount_that_is_none_cannot_be_made(amount: int) -> None:
    with pytest.raises(ValueError, match="must lie in"):
        Tokens(amount)
