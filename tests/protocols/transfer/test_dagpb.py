"""Does the node decoder take one form of each value, and nothing else?"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.sim.trees import DIRECTORY_DATA, field, file_data, link, varint
from protocols.errors import RemoteProtocolError
from protocols.transfer.cid import raw_cid
from protocols.transfer.dagpb import (
    MAX_BLOCK_BYTES,
    MAX_FILE_LINKS,
    Child,
    DirectoryNode,
    FileNode,
    children_of,
    decode_node,
    encode_directory,
    encode_file,
)

A = raw_cid(b"a")
B = raw_cid(b"b")
NODE = bytes((1, 0x70, 0x12, 0x20)) + bytes(32)


def refused(block: bytes) -> str:
    with pytest.raises(RemoteProtocolError) as caught:
        decode_node(block)
    return caught.value.code


names = st.text(st.characters(codec="utf-8", exclude_characters="/\x00"), min_size=1, max_size=12).filter(
    lambda name: name not in (".", "..")
)
cids = st.binary(min_size=32, max_size=32).map(lambda digest: bytes((1, 0x70, 0x12, 0x20)) + digest)


@given(entries=st.dictionaries(names, st.tuples(cids, st.integers(0, 1 << 61)), max_size=20))
def test_directories_come_back_as_they_were(entries: dict[str, tuple[bytes, int]]) -> None:
    children = [Child(cid, name, size) for name, (cid, size) in entries.items()]  # type: ignore[arg-type]
    node = decode_node(encode_directory(children))
    assert isinstance(node, DirectoryNode)
    assert sorted(node.children, key=lambda c: c.name) == sorted(children, key=lambda c: c.name)


@given(sizes=st.lists(st.integers(1, 1 << 20), min_size=1, max_size=30))
def test_files_come_back_as_they_were(sizes: list[int]) -> None:
    children = tuple(Child(A, "", size, size) for size in sizes)
    node = decode_node(encode_file(children))
    assert node == FileNode(children, sum(sizes))


@given(block=st.binary(max_size=200))
def test_any_bytes_decode_to_a_value_that_encodes_to_them_or_are_refused(block: bytes) -> None:
    """A forged 36-byte CID makes hits likely enough when mutated below; here nearly all is refused, nothing crashes."""
    try:
        node = decode_node(block)
    except RemoteProtocolError:
        return
    assert (encode_file if isinstance(node, FileNode) else encode_directory)(node.children) == block


@given(at=st.integers(0, 10_000), byte=st.integers(0, 255), cut=st.booleans(), which=st.booleans())
def test_a_mutated_node_is_refused_or_still_canonical(at: int, byte: int, cut: bool, which: bool) -> None:
    file = encode_file((Child(A, "", 300, 300), Child(NODE, "", 700, 600)))  # type: ignore[arg-type]
    good = file if which else encode_directory([Child(A, "x", 1), Child(NODE, "y", 1)])  # type: ignore[arg-type]
    at %= len(good)
    bad = good[:at] if cut else good[:at] + bytes((byte,)) + good[at + 1 :]
    try:
        node = decode_node(bad)
    except RemoteProtocolError:
        return
    assert (encode_file if isinstance(node, FileNode) else encode_directory)(node.children) == bad


@pytest.mark.parametrize(
    ("block", "code"),
    [
        (b"", "bad_node"),
        (link(A, b"a", 1), "bad_node"),  # no data
        (DIRECTORY_DATA + b"\x00", "bad_node"),  # trailing bytes
        (DIRECTORY_DATA + link(A, b"a", 1), "bad_node"),  # links after data
        (link(B, b"b", 1) + link(A, b"a", 1) + DIRECTORY_DATA, "bad_node"),  # order
        (link(A, b"a", 1) + link(B, b"a", 1) + DIRECTORY_DATA, "bad_node"),  # a name twice
        (link(A, b"../x", 1) + DIRECTORY_DATA, "bad_name"),
        (link(A, b"..", 1) + DIRECTORY_DATA, "bad_name"),
        (link(A, b".", 1) + DIRECTORY_DATA, "bad_name"),
        (link(A, b"/etc/passwd", 1) + DIRECTORY_DATA, "bad_name"),
        (link(A, b"a\x00b", 1) + DIRECTORY_DATA, "bad_name"),
        (link(A, b"\xff", 1) + DIRECTORY_DATA, "bad_name"),
        (link(A, b"n" * 256, 1) + DIRECTORY_DATA, "bad_name"),
        (link(A[:-1], b"a", 1) + DIRECTORY_DATA, "bad_node"),  # a CID of 35 bytes
        (link(bytes((1, 0x71)) + A[2:], b"a", 1) + DIRECTORY_DATA, "bad_cid"),  # dag-cbor
        (link(bytes((1, 0x55, 0x00, 0x20)) + A[4:], b"a", 1) + DIRECTORY_DATA, "bad_cid"),  # identity hash
        (link(A, b"a", (1 << 20) + 1) + DIRECTORY_DATA, "bad_node"),  # a leaf larger than a block
        (link(A, b"a", 1 << 62) + DIRECTORY_DATA, "bad_node"),
        (field(0x12, field(0x0A, A) + b"\x18\x01") + DIRECTORY_DATA, "bad_node"),  # no name
        (field(0x12, field(0x0A, A) + field(0x12, b"a")) + DIRECTORY_DATA, "bad_node"),  # no size
        (field(0x12, field(0x12, b"a") + field(0x0A, A) + b"\x18\x01") + DIRECTORY_DATA, "bad_node"),  # field order
        (field(0x12, field(0x0A, A) + field(0x12, b"a") + b"\x18\x01\x20\x01") + DIRECTORY_DATA, "bad_node"),
        (field(0x12, field(0x0A, A) + field(0x12, b"a") + b"\x18\x81\x00") + DIRECTORY_DATA, "bad_node"),  # long varint
        (b"\x12" + b"\xff" * 12, "bad_node"),  # a varint that does not end
        (b"\x12\xff\xff\xff\xff\x7f", "bad_node"),  # a length beyond the block
        (field(0x0A, b"\x08\x01\x38\xed\x03"), "unsupported_node"),  # with a mode
        (field(0x0A, b"\x08\x04\x12\x0b/etc/passwd"), "unsupported_node"),  # a symbolic link
        (field(0x0A, b"\x08\x05"), "unsupported_node"),  # a shard
        (field(0x0A, b"\x08\x02\x12\x01a\x18\x01"), "unsupported_node"),  # inline data
        (file_data(0, []), "bad_node"),  # no parts
        (link(A, b"", 1) + file_data(1, []), "bad_node"),
        (link(A, b"", 1) + file_data(2, [1, 1]), "bad_node"),
        (link(A, b"", 1) + file_data(7, [1]), "bad_node"),  # sum
        (link(A, b"", 0) + file_data(0, [0]), "bad_node"),  # an empty part
        (link(A, b"", 2) + file_data(1, [1]), "bad_node"),  # a leaf of two sizes
        (link(NODE, b"", 1) + file_data(1, [1]), "bad_node"),  # a subtree no larger than its content
        (link(A, b"x", 1) + file_data(1, [1]), "bad_node"),  # a named part
        (
            link(A, b"", 1) * (MAX_FILE_LINKS + 1) + file_data(MAX_FILE_LINKS + 1, [1] * (MAX_FILE_LINKS + 1)),
            "bad_node",
        ),
        (b"".join(link(A, b"%05d" % i, 1) for i in range(5001)) + DIRECTORY_DATA, "bad_node"),
        (bytes(MAX_BLOCK_BYTES + 1), "too_large"),
    ],
)
def test_what_is_not_the_one_form_is_refused(block: bytes, code: str) -> None:
    assert refused(block) == code


def test_leaves_link_to_nothing_and_nodes_to_their_children_in_order() -> None:
    assert children_of(A, b"a") == ()
    block = link(B, b"1", 1) + link(A, b"2", 1) + DIRECTORY_DATA
    assert children_of(NODE, block) == (B, A)  # type: ignore[arg-type]
    assert varint(300) == b"\xac\x02"
