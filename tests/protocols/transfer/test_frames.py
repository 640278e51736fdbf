"""Do blob frames have one form, and does the fast path for blocks agree with the general one?"""

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import decode_strict, encode
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.transfer.cid import raw_cid
from protocols.transfer.dagpb import MAX_BLOCK_BYTES
from protocols.transfer.frames import (
    MAX_FRAME_BYTES,
    MAX_WANT_FRAME_BYTES,
    BlockFrame,
    Denied,
    Missing,
    WantBlocks,
    WantTree,
    block_header,
    decode_answer,
    decode_want,
    encode_frame,
    frame_bytes,
)
from protocols.units import Cid, DealId

DEAL = DealId(bytes(range(32)))
CIDS = tuple(raw_cid(bytes((i,))) for i in range(64))


def code_of(body: bytes, *, want: bool = False) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        (decode_want if want else decode_answer)(body)
    return caught.value.code


@pytest.mark.parametrize("size", [0, 1, 255, 256, 65535, 65536, 262144, MAX_BLOCK_BYTES])
def test_a_block_travels_with_the_header_that_msgpack_gives_it(size: int) -> None:
    block = bytes(size)
    frame = BlockFrame(CIDS[0], block)
    whole = encode_frame(frame)
    assert block_header(CIDS[0], size) + block == whole
    assert frame_bytes(whole[:4], MAX_FRAME_BYTES) == len(whole) - 4
    assert decode_answer(whole[4:]) == frame


@given(
    body=st.binary(max_size=120) | st.binary(max_size=80).map(lambda tail: encode(BlockFrame(CIDS[0], b"x" * 9)) + tail)
)
def test_the_fast_path_refuses_what_the_general_one_refuses(body: bytes) -> None:
    try:
        expected = decode_strict(BlockFrame, body, max_bytes=MAX_FRAME_BYTES)
    except RemoteProtocolError:
        code_of(body)
        return
    assert decode_answer(body) == expected


def test_golden_bytes() -> None:
    want = encode_frame(WantBlocks(DEAL, CIDS[:1]))
    assert want.hex() == "00000051" + "93" + "a6" + b"want/1".hex() + "c420" + DEAL.hex() + "91c424" + CIDS[0].hex()
    tree = encode_frame(WantTree(DEAL, CIDS[0]))
    assert tree.hex() == "00000050" + "93" + "a6" + b"tree/1".hex() + "c420" + DEAL.hex() + "c424" + CIDS[0].hex()
    assert decode_want(tree[4:]) == WantTree(DEAL, CIDS[0])
    block = encode_frame(BlockFrame(CIDS[0], b"\x00"))
    assert block.hex() == "00000032" + "93" + "a7" + b"block/1".hex() + "c424" + CIDS[0].hex() + "c40100"
    missing = encode_frame(Missing(CIDS[:1]))
    assert missing.hex() == "00000032" + "92" + "a9" + b"missing/1".hex() + "91c424" + CIDS[0].hex()
    denied = encode_frame(Denied(CIDS[:1]))
    assert denied.hex() == "00000031" + "92" + "a8" + b"denied/1".hex() + "91c424" + CIDS[0].hex()


def test_full_frames_fit_their_bounds() -> None:
    for frame in (WantBlocks(DEAL, CIDS), Missing(CIDS), Denied(CIDS)):
        body = encode_frame(frame)[4:]
        assert len(body) <= MAX_WANT_FRAME_BYTES
        assert (decode_want if isinstance(frame, WantBlocks) else decode_answer)(body) == frame


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "malformed"),
        (b"\xdd\xff\xff\xff\xff", "malformed"),  # an array that claims 4 Gi items
        (b"\x93\xa6want/1\xc6\xff\xff\xff\xff", "malformed"),
        (encode(WantBlocks(DEAL, CIDS[:1])) + b"\x00", "malformed"),
        (encode(WantBlocks(DealId(b"short"), CIDS[:1])), "malformed"),
        (encode(WantBlocks(DEAL, ())), "malformed"),
        (encode(WantBlocks(DEAL, (CIDS[0], CIDS[0]))), "malformed"),
        (encode(WantBlocks(DEAL, (Cid(b"short"),))), "bad_cid"),
        (encode(WantBlocks(DEAL, (*CIDS, raw_cid(b"65th")))), "malformed"),
        (msgpack.packb(["want/2", DEAL, [CIDS[0]]]), "malformed"),
        (msgpack.packb(["want/1", DEAL, [CIDS[0]], 1]), "not_canonical"),
        (msgpack.packb({"want/1": DEAL}), "malformed"),
        (msgpack.packb(["tree/1", DEAL[1:], CIDS[0]]), "malformed"),
        (msgpack.packb(["tree/1", DEAL, CIDS[0][1:]]), "bad_cid"),
        (msgpack.packb(["tree/1", DEAL, [CIDS[0]]]), "malformed"),
        (msgpack.packb(["tree/1", DEAL, CIDS[0], 1]), "malformed"),
        (bytes(MAX_WANT_FRAME_BYTES + 1), "too_large"),
    ],
)
def test_bad_wants_are_refused(body: bytes, code: str) -> None:
    assert code_of(body, want=True) == code


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (encode(BlockFrame(CIDS[0], b"abc"))[:-1], "malformed"),
        (encode(BlockFrame(CIDS[0], b"abc")) + b"d", "malformed"),
        (encode(BlockFrame(Cid(bytes(36)), b"abc")), "bad_cid"),
        (b"\x93\xa7block/1\xc4\x24" + CIDS[0] + b"\xc6\x00\x00\x00\x01a", "malformed"),  # a longer header than needed
        (encode(BlockFrame(CIDS[0], bytes(MAX_BLOCK_BYTES + 1))), "malformed"),
        (encode(Missing(())), "malformed"),
        (encode(WantBlocks(DEAL, CIDS[:1])), "malformed"),
    ],
)
def test_bad_answers_are_refused(body: bytes, code: str) -> None:
    assert code_of(body) == code


def test_lengths_outside_the_bound_are_refused_before_reading_on() -> None:
    for length in (0, MAX_FRAME_BYTES + 1, 0xFFFFFFFF):
        with pytest.raises(RemoteProtocolError, match="expected 1 to"):
            frame_bytes(length.to_bytes(4, "big"), MAX_FRAME_BYTES)


def test_we_send_no_frame_beyond_its_bound() -> None:
    with pytest.raises(LocalProtocolError, match="at most"):
        encode_frame(WantBlocks(DEAL, CIDS * 3))
