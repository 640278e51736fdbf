"""Do files and directories get the names that IPFS gives them, however their bytes arrive?"""

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.sim.trees import pattern
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.transfer.cid import node_cid, raw_cid
from protocols.transfer.dagpb import Child, FileNode, decode_node, encode_file
from protocols.transfer.unixfs import (
    EMPTY_DIRECTORY,
    EMPTY_FILE,
    Block,
    Importer,
    Root,
    cid_text,
    directory,
    parse_cid,
)
from protocols.units import Cid


def import_bytes(data: bytes, **shape: int) -> tuple[Root, list[Block]]:
    importer = Importer(**shape)
    blocks = importer.feed(data) + importer.finish()
    return importer.root, blocks


def reference(data: bytes, chunk: int, width: int) -> Root:
    """The layout as its specification says it: cut into leaves, group by width until one is left."""
    leaves = [data[at : at + chunk] for at in range(0, len(data), chunk)] or [b""]
    level = [Child(raw_cid(leaf), "", len(leaf), len(leaf)) for leaf in leaves]
    while len(level) > 1:
        above = []
        for at in range(0, len(level), width):
            group = tuple(level[at : at + width])
            block = encode_file(group)
            size = sum(child.content_bytes for child in group)
            above.append(Child(node_cid(block), "", len(block) + sum(child.tree_bytes for child in group), size))
        level = above
    return Root(level[0].cid, level[0].content_bytes, level[0].tree_bytes)


# (bytes, leaf, width, name): made by npm ipfs-unixfs-importer 17.1.1; devnet/interop/unixfs makes them again.
ORACLE = [
    (0, 262144, 174, "bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku"),
    (1, 262144, 174, "bafkreidogqfzz75tpkmjzjke425xqcrmpcib2p5tg44hnbirumdbpl5adu"),
    (262144, 262144, 174, "bafkreiczgstydfoazwtvftp4xsly5nbucgh3deeplmt4klmhxy6mold4yi"),
    (262145, 262144, 174, "bafybeihn3jdjr7ug74plqriwu5bxd4srbljuhif3fpoj4o3ym4lvzrps5u"),
    (120, 4, 174, "bafybeiais5nxa3btzuddipqatfbszmo7v56jm43g74aexkb35l5bp7i4ru"),
    (696, 4, 174, "bafybeibz3itxdhq7gphfo6juoqdkvq7jos7fn4mgldtokfk2qm2jmh6rx4"),
    (700, 4, 174, "bafybeigt7yrdainuhdsd7nikdeg4vpizq3ga5nych5vvfofyov376a2kxe"),
    (121104, 4, 174, "bafybeiedvje3cbpkrqbujassofujez3ipvqsvdvwkdhg2xahffy2wty3ie"),
    (121105, 4, 174, "bafybeia7u5jzoesn2eputd4crsnghgkqool7oa2fao7sqelgfkwwewcrfm"),
    (30, 1, 3, "bafybeib6db7qym73xxmwrhj3mhtkxsxuzfef5xfouyxo6teirgdtxomgiy"),
    (27, 1, 3, "bafybeihqsgs2ccwbtxhahr4vydqvksdka77qw5nieagps2zzf4mc262rie"),
    (28, 1, 3, "bafybeiewt57ldcdaxkep33uhu4r5jpseeipzwojlejnkr3pxakgf54652i"),
    (81, 1, 3, "bafybeibttelaxikiojczppuihg56r2yvupgspuoodjhzkngu6v7npthzbm"),
    (82, 1, 3, "bafybeiezlbtlqgmpkbfiqi62qhk2yx42lvzsmrsqtpbskno44tystmf3qe"),
]


@pytest.mark.parametrize(("size", "chunk", "width", "name"), ORACLE)
def test_files_are_named_as_by_ipfs(size: int, chunk: int, width: int, name: str) -> None:
    root, blocks = import_bytes(pattern(size), chunk_bytes=chunk, width=width)
    assert cid_text(root.cid) == name
    assert root.content_bytes == size
    assert root.tree_bytes == sum(len(block) for _, block in blocks)
    assert blocks[-1][0] == root.cid


def test_directories_are_named_as_by_ipfs() -> None:
    def file(size: int) -> Root:
        return import_bytes(pattern(size))[0]

    empty, _ = directory({})
    assert empty.cid == EMPTY_DIRECTORY
    assert cid_text(empty.cid) == "bafybeiczsscdsbs7ffqz55asqdf3smv6klcw3gofszvwlyarci47bgf354"
    sub, _ = directory({"é": file(0), "b": file(262144)})
    top, block = directory({"a.txt": file(5), "sub": sub, "Z": file(300000), "empty": empty})
    assert cid_text(top.cid) == "bafybeidx2c73c47morihkg554hqq254dkcz7cbhendhoeh4niwlprxuuby"
    assert top.content_bytes == 5 + 300000 + 262144
    assert [child.name for child in decode_node(block).children] == ["Z", "a.txt", "empty", "sub"]


def test_a_file_of_256_mib_of_zeros_has_its_known_name() -> None:
    """The name that the prototype checked against npm; one leaf, repeated, so this needs no time."""
    importer = Importer()
    mib = bytes(1 << 20)
    for _ in range(256):
        importer.feed(mib)
    importer.finish()
    assert cid_text(importer.root.cid) == "bafybeihjkqooiavdqcvsp3oddi6ublcqlm6xwpkzeed5najfkrwatdet3u"


@given(
    data=st.binary(max_size=600), chunk=st.integers(1, 9), width=st.integers(2, 5), cuts=st.lists(st.integers(0, 600))
)
def test_any_cutting_gives_the_reference_layout(data: bytes, chunk: int, width: int, cuts: list[int]) -> None:
    importer = Importer(chunk_bytes=chunk, width=width)
    blocks: list[Block] = []
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    for start, end in itertools.pairwise(edges):
        blocks += importer.feed(memoryview(data)[start:end])
    blocks += importer.finish()
    assert importer.root == reference(data, chunk, width)
    by_name = dict(blocks)
    assert all(cid[4:] == hashlib.sha256(block).digest() for cid, block in blocks)
    assert _content(importer.root.cid, by_name) == data


def _content(cid: Cid, blocks: dict[Cid, bytes]) -> bytes:
    block = blocks[cid]
    if cid[1] == 0x55:
        return block
    node = decode_node(block)
    assert isinstance(node, FileNode)
    return b"".join(_content(child.cid, blocks) for child in node.children)


def test_the_importer_refuses_use_out_of_order() -> None:
    importer = Importer()
    with pytest.raises(LocalProtocolError, match="before finish"):
        _ = importer.root
    importer.finish()
    assert importer.root.cid == EMPTY_FILE
    with pytest.raises(LocalProtocolError, match="after finish"):
        importer.feed(b"x")


@pytest.mark.parametrize(
    "names", [("a", "A"), ("stra\u00dfe", "STRASSE"), ("e\u0301",), ("..",), ("a/b",), ("x\x00",), ("",)]
)
def test_directories_refuse_names_that_could_not_be_written_back(names: tuple[str, ...]) -> None:
    root = Root(EMPTY_FILE, 0, 0)
    with pytest.raises(RemoteProtocolError) as caught:
        directory(dict.fromkeys(names, root))
    assert caught.value.code == "bad_name"


def test_directories_are_capped_at_5000_entries() -> None:
    root = Root(EMPTY_FILE, 0, 0)
    names = [f"{i:04d}".ljust(255, "x") for i in range(5001)]
    widest, block = directory(dict.fromkeys(names[:5000], root))
    assert len(decode_node(block).children) == 5000
    assert widest.tree_bytes == len(block)
    with pytest.raises(LocalProtocolError, match="5000"):
        directory(dict.fromkeys(names, root))


@given(digest=st.binary(min_size=32, max_size=32), codec=st.sampled_from([0x55, 0x70]))
def test_names_survive_their_text_form(digest: bytes, codec: int) -> None:
    cid = bytes((1, codec, 0x12, 0x20)) + digest
    text = cid_text(cid)  # type: ignore[arg-type]
    assert len(text) == 59
    assert parse_cid(text) == cid


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("QmUNLLsPACCz1vLxQVkXqqLX5R1X345qqfHbsf67hvA3Nn", "CIDv0"),
        ("", "59 characters"),
        ("bafkrei", "59 characters"),
        ("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyk!", "a-z, 2-7"),
        ("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykv", "lower case"),
        ("BAFKREIHDWDCEFGH4DQKJV67UZCMW7OJEE6XEDZDETOJUZJEVTENXQUVYKU", "bafy"),
        ("bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvykU", "lower case"),
        ("bafyreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku", "another kind"),
    ],
)
def test_text_that_is_no_name_of_ours_is_refused_with_a_reason(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_cid(text)
