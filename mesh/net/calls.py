"""How do question and answer share one stream? Length-prefixed frames with a number, so that calls may overlap.

Frame: length of the rest (4 bytes, big-endian), call number (4 bytes), kind (1 byte), body.
Works over any trio stream, so it is tested without sockets.
"""

import enum
import itertools
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from mesh.net.link import CALL_MAX_BYTES, CallRefused, MessageTooLarge, PeerUnreachable

__all__ = ["CALLS_IN_FLIGHT_MAX", "CallChannel", "answer_calls"]

HEADER_BYTES: Final = 9
CALLS_IN_FLIGHT_MAX: Final = 32
"""Requests of one peer and protocol worked on at once; further ones wait unread, so the peer feels it."""
REASON_MAX_BYTES: Final = 256
"""Text of a refusal."""


class Kind(enum.IntEnum):
    """What a frame is."""

    REQUEST = 0
    ANSWER = 1
    REFUSED = 2


class FrameError(Exception):
    """The peer sent what is no frame, or one over the bound."""


def frame(number: int, kind: Kind, body: bytes) -> bytes:
    """The bytes of one frame."""
    return (len(body) + 5).to_bytes(4, "big") + number.to_bytes(4, "big") + bytes([kind]) + body


class FrameReader:
    """Takes frames off a stream. A frame over the bound is not read."""

    def __init__(self, stream: trio.abc.ReceiveStream, max_body: int) -> None:
        self._stream, self._max_body = stream, max_body
        self._buffer = bytearray()

    async def next(self) -> tuple[int, Kind, bytes] | None:
        """The next call number, kind and body; None at the end. Raises ``FrameError``, and the stream's own errors."""
        if not await self._fill(HEADER_BYTES):
            return None
        length = int.from_bytes(self._buffer[:4], "big")
        if not 5 <= length <= self._max_body + 5:
            raise FrameError(f"a frame of {length} bytes; the bound is {self._max_body + 5}")
        number, kind = int.from_bytes(self._buffer[4:8], "big"), self._buffer[8]
        if kind > max(Kind):
            raise FrameError(f"unknown kind of frame: {kind}")
        await self._fill(4 + length)
        body = bytes(self._buffer[HEADER_BYTES : 4 + length])
        del self._buffer[: 4 + length]
        return number, Kind(kind), body

    async def _fill(self, size: int) -> bool:
        """Reads until ``size`` bytes are there; False at a clean end."""
        while len(self._buffer) < size:
            chunk = await self._stream.receive_some()
            if not chunk:
                if self._buffer:
                    raise FrameError("the stream ended inside a frame")
                return False
            self._buffer += chunk
        return True


class _Waiting:
    """A call under way: ``answer`` is set, or stays None because the stream broke, before ``done``."""

    __slots__ = ("answer", "done")

    def __init__(self) -> None:
        self.answer: tuple[Kind, bytes] | None = None
        self.done = trio.Event()


class CallChannel:
    """Our side of one stream to one peer and protocol. ``run`` must run for as long as calls are made."""

    def __init__(self, stream: trio.abc.HalfCloseableStream) -> None:
        self._stream = stream
        self._numbers = itertools.count()
        self._waiting: dict[int, _Waiting] = {}
        self._sending = trio.StrictFIFOLock()
        self.broken = False

    async def run(self) -> None:
        """Hands answers to their callers until the stream ends, then fails those that still wait. Raises nothing."""
        try:
            reader = FrameReader(self._stream, CALL_MAX_BYTES)
            while (got := await reader.next()) is not None:
                number, kind, body = got
                waiting = self._waiting.pop(number, None)
                if waiting is not None:  # else: its caller gave up
                    waiting.answer = kind, body
                    waiting.done.set()
        except (FrameError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the callers are told below
        finally:
            await self.fail()

    async def fail(self) -> None:
        """Ends the channel: whoever waits gets ``PeerUnreachable``."""
        self.broken = True
        for waiting in self._waiting.values():
            waiting.done.set()
        self._waiting.clear()
        await trio.aclose_forcefully(self._stream)

    async def call(self, request: bytes) -> bytes:
        """Sends a request and waits for its answer. Cancelled: the answer is dropped when it comes.

        Raises ``CallRefused``, ``MessageTooLarge``, ``PeerUnreachable``.
        """
        if len(request) > CALL_MAX_BYTES:
            raise MessageTooLarge(f"a request is at most {CALL_MAX_BYTES} bytes, this one has {len(request)}")
        number = next(self._numbers) & 0xFFFFFFFF
        waiting = self._waiting[number] = _Waiting()
        try:
            await self._send(frame(number, Kind.REQUEST, request))
            await waiting.done.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise PeerUnreachable("the stream to the peer broke before it was asked") from error
        finally:
            self._waiting.pop(number, None)
        if waiting.answer is None:
            raise PeerUnreachable("the stream to the peer broke before it answered")
        kind, body = waiting.answer
        if kind is Kind.ANSWER:
            return body
        raise CallRefused(body[:REASON_MAX_BYTES].decode(errors="replace") or "refused without a reason")

    async def _send(self, data: bytes) -> None:
        """Whole or not at all: half a frame would end all calls on the stream."""
        await _take(self._sending)
        try:
            with trio.CancelScope(shield=True):  # bounded: a stream that takes nothing breaks after 5 s
                await self._stream.send_all(data)
        finally:
            self._sending.release()


async def _take(lock: trio.StrictFIFOLock) -> None:
    """Takes a lock, without a turn of the scheduler if it is free."""
    try:
        lock.acquire_nowait()
    except trio.WouldBlock:
        await lock.acquire()


async def answer_calls(
    stream: trio.abc.HalfCloseableStream, handler: Callable[[bytes], Awaitable[bytes]], max_bytes: int
) -> None:
    """The serving side: answers requests until the stream ends; if it breaks, handlers still at work are cancelled.

    What a handler raises becomes a refusal; ``CallRefused`` with its text, anything else without details. A request
    over ``max_bytes`` ends the stream unread. Raises ``FrameError`` for that and for malformed frames, and what the
    stream raises when it breaks.
    """
    sending = trio.StrictFIFOLock()
    free = trio.Semaphore(CALLS_IN_FLIGHT_MAX)

    async def answer(number: int, request: bytes) -> None:
        try:
            reply = await _answer(handler, number, request)
            await _take(sending)
            try:
                await stream.send_all(reply)
            finally:
                sending.release()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the caller is gone; the reading side notices too
        finally:
            free.release()

    failure: Exception | None = None
    async with trio.open_nursery() as nursery:
        reader = FrameReader(stream, max_bytes)
        try:
            while (got := await reader.next()) is not None:
                number, kind, request = got
                if kind is not Kind.REQUEST:
                    raise FrameError("an answer where a request is due")
                await free.acquire()
                nursery.start_soon(answer, number, request)
            # The caller closed its direction: handlers finish, for it may still read what it asked for.
        except (FrameError, trio.BrokenResourceError, trio.ClosedResourceError) as error:
            failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure


async def _answer(handler: Callable[[bytes], Awaitable[bytes]], number: int, request: bytes) -> bytes:
    try:
        body = await handler(request)
        if len(body) <= CALL_MAX_BYTES:
            return frame(number, Kind.ANSWER, body)
        reason = f"the answer has {len(body)} bytes, over the bound of {CALL_MAX_BYTES}"
    except CallRefused as refusal:
        reason = str(refusal)
    except Exception as error:
        reason = f"the handler failed ({type(error).__name__})"
    return frame(number, Kind.REFUSED, reason.encode()[:REASON_MAX_BYTES])
