"""Do proofs of real receipts hold, does nothing else, and do RLP and trie agree with the libraries that everybody uses?"""

from contextlib import suppress

import msgspec
import pytest
from eth.db.trie import make_trie_root_and_nodes
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.verify.inclusion import LogProof, prove_log, verify_log
from protocols.verify.rlp import MAX_DEPTH, Item, decode_rlp, encode_rlp, integer

items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=5), max_leaves=20)
TOPIC, ADDRESS = b"\x07" * 32, b"\x08" * 20


def receipt(number: int, *, typed: bool = True, status: int = 1, logs: int = 2) -> bytes:
    """A receipt as the chain stores it."""
    found = [[ADDRESS, [TOPIC, number.to_bytes(32)], b"log %d" % log] for log in range(logs)]
    body = encode_rlp([integer(status), integer(21_000 * (number + 1)), bytes(256), found])
    return b"\x02" + body if typed else body


class Encoded(bytes):
    """What py-evm's trie takes: something that encodes itself."""

    def encode(self) -> bytes:
        return bytes(self)


def block(receipts: list[bytes]) -> bytes:
    """A header of a block that holds them; the root comes from py-evm's trie."""
    root, _ = make_trie_root_and_nodes(tuple(map(Encoded, receipts)))  # type: ignore[arg-type]
    fields = [
        bytes(32),
        bytes(32),
        bytes(20),
        bytes(32),
        bytes(32),
        root,
        bytes(256),
        b"",
        integer(77),
        integer(30_000_000),
    ]
    return encode_rlp([*fields, b"\x01", integer(1_795_000_000), b"", bytes(32), bytes(8), b"\x07"])


@pytest.mark.parametrize(
    ("item", "expected"),
    [  # the examples of Ethereum's RLP page
        (b"dog", "83646f67"),
        ([b"cat", b"dog"], "c88363617483646f67"),
        (b"", "80"),
        ([], "c0"),
        (b"\x00", "00"),
        (b"\x0f", "0f"),
        (b"\x04\x00", "820400"),
        ([[], [[]], [[], [[]]]], "c7c0c1c0c3c0c1c0"),
        (
            b"Lorem ipsum dolor sit amet, consectetur adipisicing elit",
            "b838" + b"Lorem ipsum dolor sit amet, consectetur adipisicing elit".hex(),
        ),
    ],
)
def test_rlp_examples(item: Item, expected: str) -> None:
    assert encode_rlp(item).hex() == expected
    assert decode_rlp(bytes.fromhex(expected)) == item


def depth(item: Item) -> int:
    return 1 + max(map(depth, item), default=0) if isinstance(item, list) else 0


@given(items)
def test_rlp_reads_back_what_it_writes(item: Item) -> None:
    assume(depth(item) <= MAX_DEPTH)
    assert decode_rlp(encode_rlp(item)) == item


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_rlp_has_one_form(data: bytes) -> None:
    item: Item | None = None
    with suppress(RemoteProtocolError):
        item = decode_rlp(data)
    assert item is None or encode_rlp(item) == data


def test_deep_rlp_is_refused_and_not_followed() -> None:
    item: Item = []
    for _ in range(MAX_DEPTH - 1):
        item = [item]
    assert decode_rlp(encode_rlp(item)) == item
    with pytest.raises(RemoteProtocolError, match="lists in lists"):
        decode_rlp(encode_rlp([item]))
    with pytest.raises(RemoteProtocolError):
        decode_rlp(b"\xc1" * 100_000)


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 127, 128, 129, 300])
def test_every_log_of_a_block_can_be_proven(count: int) -> None:
    receipts = [receipt(n, typed=n % 3 > 0) for n in range(count)]
    header = block(receipts)
    for transaction in {0, 1, count // 2, count - 1} & set(range(count)):
        proof = prove_log(header, receipts, transaction, 1)
        shown = verify_log(proof)
        assert shown.topics == (TOPIC, transaction.to_bytes(32))
        assert (shown.address, shown.data, shown.block, shown.at) == (ADDRESS, b"log 1", 77, 1_795_000_000)
        assert shown.block_hash == keccak256(header)


RECEIPTS = [receipt(n) for n in range(40)]
PROOF = prove_log(block(RECEIPTS), RECEIPTS, 21, 0)


@given(st.integers(0, 10**6), st.integers(1, 255))
def test_one_changed_byte_breaks_it_or_shows_another_block(at: int, change: int) -> None:
    """Only the header can change without breaking the proof: then its hash, which names the block, is another."""
    parts = [PROOF.header, *PROOF.path]
    at %= sum(map(len, parts))
    for number, part in enumerate(parts):
        if at < len(part):
            parts[number] = part[:at] + bytes([part[at] ^ change]) + part[at + 1 :]
            break
        at -= len(part)
    shown = None
    with suppress(RemoteProtocolError):
        shown = verify_log(msgspec.structs.replace(PROOF, header=parts[0], path=tuple(parts[1:])))
    assert shown is None or shown.block_hash != keccak256(PROOF.header)


@given(st.integers(0, 60), st.integers(0, 5))
def test_a_proof_is_for_one_transaction_and_log(transaction: int, log: int) -> None:
    assume((transaction, log) not in ((21, 0), (21, 1)))
    with pytest.raises(RemoteProtocolError):
        verify_log(msgspec.structs.replace(PROOF, transaction=transaction, log=log))


@pytest.mark.parametrize(
    "path",
    [(), PROOF.path[:-1], (*PROOF.path, PROOF.path[-1]), PROOF.path[1:], (*PROOF.path[:-1], b""), (b"\xc0",)],
)
def test_a_path_that_is_none(path: tuple[bytes, ...]) -> None:
    with pytest.raises(RemoteProtocolError, match="the proof does not hold"):
        verify_log(msgspec.structs.replace(PROOF, path=path))


def test_a_reverted_transaction_proves_nothing() -> None:
    receipts = [receipt(0, status=0)]
    header = block(receipts)
    with pytest.raises(RemoteProtocolError, match="reverted"):
        prove_log(header, receipts, 0, 0)


def test_receipts_of_another_block_make_no_proof() -> None:
    with pytest.raises(LocalProtocolError, match="not those of the block"):
        prove_log(block(RECEIPTS), RECEIPTS[1:], 0, 0)
    with pytest.raises(LocalProtocolError, match="out of 40"):
        prove_log(block(RECEIPTS), RECEIPTS, 40, 0)


@settings(max_examples=200)
@given(
    st.builds(
        LogProof,
        st.binary(max_size=200),
        st.integers(0, 9),
        st.integers(0, 9),
        st.lists(st.binary(max_size=99), max_size=3).map(tuple),
    )
)
def test_nonsense_is_a_refusal(proof: LogProof) -> None:
    with pytest.raises(RemoteProtocolError):
        verify_log(proof)
