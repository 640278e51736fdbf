"""Does the head of a log follow from its bytes alone, however they arrived?"""

import hashlib

from hypothesis import given
from hypothesis import strategies as st

from mesh.exec.executor import Stream
from mesh.exec.logs import LOG_BLOCK_BYTES, StreamChain, log_head, log_head_of

GOLDEN = "260b875e1c32f3dd23e55a4492fbfcbb661de78ace50fbda8dde038bf65d6bcd"
"""Of `hello\\n` and `warning\\n`: changing the chain changes every signed result."""


def test_the_empty_log_by_hand() -> None:
    sha = hashlib.sha256
    out, err = sha(b"mesh/log/1\x01").digest(), sha(b"mesh/log/1\x02").digest()
    assert log_head_of(b"", b"") == sha(b"mesh/log-head/1" + bytes(8) + out + bytes(8) + err).digest()


def test_two_blocks_by_hand() -> None:
    sha = hashlib.sha256
    data = bytes(range(256)) * 17
    head = sha(b"mesh/log/1\x01").digest()
    head = sha(head + data[:4096]).digest()
    head = sha(head + data[4096:]).digest()
    chain = StreamChain(Stream.STDOUT)
    chain.append(data)
    assert (chain.head(), chain.length_bytes) == (head, 4352)


def test_golden_head() -> None:
    assert log_head_of(b"hello\n", b"warning\n").hex() == GOLDEN


@given(st.lists(st.tuples(st.sampled_from(list(Stream)), st.binary(max_size=3 * LOG_BLOCK_BYTES)), max_size=12))
def test_chunks_and_interleaving_do_not_matter(chunks: list[tuple[Stream, bytes]]) -> None:
    chains = {stream: StreamChain(stream) for stream in Stream}
    for stream, data in chunks:
        chains[stream].append(data)
        chains[stream].head()
    whole = {stream: b"".join(data for kind, data in chunks if kind is stream) for stream in Stream}
    assert log_head(chains[Stream.STDOUT], chains[Stream.STDERR]) == log_head_of(
        whole[Stream.STDOUT], whole[Stream.STDERR]
    )


@given(st.binary(max_size=9000), st.integers(min_value=0), st.integers(min_value=1, max_value=255))
def test_every_byte_and_the_stream_matter(data: bytes, place: int, change: int) -> None:
    if not data:
        return
    other = bytearray(data)
    other[place % len(data)] ^= change
    assert log_head_of(data, b"") != log_head_of(bytes(other), b"")
    assert log_head_of(data, b"") != log_head_of(b"", data)
    assert log_head_of(data, b"") != log_head_of(data + b"\0", b"")
    assert log_head_of(data, b"") != log_head_of(data[:-1], b"")
