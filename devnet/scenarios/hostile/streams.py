"""What if a peer breaks the framing, asks for what is not its own, or speaks to a port without being a peer at all?"""

from typing import Final

import msgspec
import trio

from devnet.scenarios.hostile.attack import Act, Attack, Stage
from devnet.scenarios.hostile.peer import CALL_S, Hostile, Target
from devnet.scenarios.hostile.verdicts import Verdict
from mesh.api.types import NodeStatus
from mesh.net.discovery import EXCHANGE
from mesh.net.link import CallRefused
from protocols.canonical import encode
from protocols.messages.registry import DEAL_PROTOCOL, LOGS_PROTOCOL, RFQ_PROTOCOL
from protocols.messages.transfer import LogPull
from protocols.offers.sync import SYNC_PROTOCOL
from protocols.transfer.frames import (
    BLOB_PROTOCOL,
    LENGTH_BYTES,
    Denied,
    WantBlocks,
    decode_answer,
    encode_frame,
)
from protocols.units import Cid

__all__ = ["STREAMS", "speak_to_the_port"]

ROOT: Final = Cid(bytes.fromhex("01551220") + b"\x05" * 32)
NOISE: Final = b"\x93\x01\x02"
SILENT_SOCKETS: Final = 40


def _raw(protocol: str, data: bytes) -> Act:
    async def act(hostile: Hostile, _stage: Stage) -> str:
        await hostile.raw(protocol, data)
        return ""

    return act


def _call(protocol: str, data: bytes) -> Act:
    async def act(hostile: Hostile, _stage: Stage) -> str:
        return await hostile.call(protocol, data)

    return act


async def _foreign_log(hostile: Hostile, stage: Stage) -> str:
    return await hostile.call(LOGS_PROTOCOL, encode(LogPull(deal_id=stage.deal_id, stream="stdout", offset=0)))


async def _foreign_blob(hostile: Hostile, stage: Stage) -> str:
    """What the target answers to a want under a deal of others."""
    stream = await hostile.link.open(hostile.target.peer, BLOB_PROTOCOL)
    got = bytearray()
    try:
        await stream.send_all(encode_frame(WantBlocks(stage.deal_id, (ROOT,))))
        with trio.fail_after(CALL_S):
            while len(got) < LENGTH_BYTES or len(got) < LENGTH_BYTES + int.from_bytes(got[:LENGTH_BYTES], "big"):
                got += await stream.receive_some()
    finally:
        await trio.aclose_forcefully(stream)
    answer = decode_answer(bytes(got[LENGTH_BYTES:]))
    return "denied" if isinstance(answer, Denied) else repr(answer)


async def _unknown_protocol(hostile: Hostile, _stage: Stage) -> str:
    try:
        await hostile.link.open(hostile.target.peer, "/mesh/none/1")
    except CallRefused as refused:
        return str(refused)
    return "it speaks it"


def _frame(number: int, kind: int, body: bytes) -> bytes:
    return (len(body) + 5).to_bytes(4, "big") + number.to_bytes(4, "big") + bytes([kind]) + body


def _blob(body: bytes) -> bytes:
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


STREAMS: Final = (
    Attack("a frame of 4 GiB", _raw(RFQ_PROTOCOL, b"\xff\xff\xff\xff" + bytes(5))),
    Attack("a frame of nothing", _raw(RFQ_PROTOCOL, bytes(9))),
    Attack("half a frame", _raw(DEAL_PROTOCOL, _frame(1, 0, b"x" * 100)[:50])),
    Attack("a frame of an unknown kind", _raw(DEAL_PROTOCOL, _frame(1, 9, b"x"))),
    Attack("an answer where a request is due", _raw(DEAL_PROTOCOL, _frame(1, 1, b"x"))),
    Attack("a protocol that is none", _unknown_protocol, costs=False, says="does not speak /mesh/none/1"),
    Attack("the log of a deal of others", _foreign_log, costs=False, says="not a deal of yours"),
    Attack("a log pull that is none", _call(LOGS_PROTOCOL, NOISE), costs=False, says="not a LogPull"),
    Attack("a log pull of 200 bytes", _call(LOGS_PROTOCOL, bytes(200))),
    Attack("a blob of a deal of others", _foreign_blob, costs=False, says="denied"),
    Attack("a want that is none", _raw(BLOB_PROTOCOL, _blob(NOISE))),
    Attack("a want of 16 MiB", _raw(BLOB_PROTOCOL, (16 << 20).to_bytes(LENGTH_BYTES, "big"))),
    Attack(
        "a want of a block twice", _raw(BLOB_PROTOCOL, _blob(msgspec.msgpack.encode(["want/1", bytes(32), [ROOT] * 2])))
    ),
    Attack("a sync that is none", _call(SYNC_PROTOCOL, NOISE), costs=False, says="not a SyncRequest"),
    Attack("a sync of 5,000 bytes", _call(SYNC_PROTOCOL, bytes(5_000))),
    Attack("an exchange that is none", _call(EXCHANGE, NOISE), costs=False, says="the handler failed"),
)


async def speak_to_the_port(target: Target) -> list[Verdict]:
    """Bytes that are no libp2p, and sockets that say nothing, at the node's port: it goes on as it was."""
    before = await _status(target)
    words = (
        b"",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01" + bytes(300),
        b"\x13/multistream/1.0.0\n\xff" * 9,
    )
    async with trio.open_nursery() as nursery:
        for word in (*words, *([b""] * SILENT_SOCKETS)):
            nursery.start_soon(_speak, target, word)
    after = await _status(target)
    fine = after.pid == before.pid and after.uptime_s >= before.uptime_s
    problem = "" if fine else f"before {before}, after {after}"
    return [Verdict("sockets", f"{len(words) + SILENT_SOCKETS} strangers at the port of {target.member.name}", problem)]


async def _speak(target: Target, word: bytes) -> None:
    with trio.move_on_after(1):
        try:
            stream = await trio.open_tcp_stream(target.host, target.port)
            async with stream:
                if word:
                    await stream.send_all(word)
                while await stream.receive_some():
                    pass
        except (OSError, trio.BrokenResourceError):
            return


async def _status(target: Target) -> NodeStatus:
    async with target.member.api() as api:
        return await api.status()
