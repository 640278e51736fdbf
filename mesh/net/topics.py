"""What happens to a record that a topic brings? Deduplicated by content, judged once, queued for its subscriber."""

import hashlib
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from typing import Final

import structlog
import trio

from mesh.net.link import AcceptRecord, Verdict
from protocols.units import PeerId

__all__ = ["QUEUE_RECORDS", "Topics"]

QUEUE_RECORDS: Final = 4096
"""Records a subscriber may owe: 15 s at 250 a second. 8 MiB of the protocol's records."""
CONTENT_TTL_S: Final = 600.0
"""A record with the same bytes is not delivered again within this: the contract of ``Link.subscribe``."""
CONTENT_MAX: Final = 131_072
"""Contents remembered, 20 MB: 600 s at 200 records a second."""
TRACEBACKS_MAX: Final = 10
"""Tracebacks of a failing validator in the log: strangers choose how often it fails."""

_log = structlog.get_logger(__name__)


class Topics:
    """The subscriptions of a node. Synchronous: a verdict is final before the next message is looked at."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[AcceptRecord, trio.MemorySendChannel[tuple[PeerId, bytes]]]] = {}
        self._seen: OrderedDict[bytes, float] = OrderedDict()
        self.delivered = self.duplicates = self.ignored = self.rejected = self.dropped = self.contained = 0

    def __contains__(self, topic: str) -> bool:
        return topic in self._open

    def open(self, topic: str, accept: AcceptRecord) -> "Subscription":
        """Starts a subscription. Raises ``ValueError`` if the topic has one."""
        if topic in self._open:
            raise ValueError(f"topic {topic} has a subscription already; a topic has one reader")
        send, receive = trio.open_memory_channel[tuple[PeerId, bytes]](QUEUE_RECORDS)
        self._open[topic] = (accept, send)
        return Subscription(self, topic, receive)

    def names(self) -> list[str]:
        """Topics with a subscription."""
        return list(self._open)

    def close(self, topic: str) -> None:
        """Ends a subscription; its reader sees the end after what is queued."""
        entry = self._open.pop(topic, None)
        if entry is not None:
            entry[1].close()

    def close_all(self) -> None:
        """Ends every subscription."""
        for topic in list(self._open):
            self.close(topic)

    def remember(self, topic: str, record: bytes) -> bool:
        """True if this content is new to the topic."""
        now = trio.current_time()
        while self._seen and (len(self._seen) >= CONTENT_MAX or next(iter(self._seen.values())) <= now):
            self._seen.popitem(last=False)
        key = hashlib.sha256(topic.encode() + b"\0" + record).digest()
        if key in self._seen:
            return False
        self._seen[key] = now + CONTENT_TTL_S
        return True

    def deliver(self, forwarder: PeerId, topic: str, record: bytes) -> Verdict:
        """Judges a record and queues it if accepted. ``REJECT`` says that the forwarder is to blame. Never raises."""
        entry = self._open.get(topic)
        if entry is None:
            return Verdict.IGNORE
        if not self.remember(topic, record):
            self.duplicates += 1
            return Verdict.IGNORE
        accept, channel = entry
        try:
            verdict = accept(forwarder, record)
        except Exception:
            # Our defect, so neither the peer pays nor the process: but it must be seen.
            self.contained += 1
            if self.contained <= TRACEBACKS_MAX:
                _log.exception("validator failed; record ignored", topic=topic)
            return Verdict.IGNORE
        if verdict is Verdict.ACCEPT:
            try:
                channel.send_nowait((forwarder, record))
                self.delivered += 1
            except (trio.WouldBlock, trio.BrokenResourceError):
                self.dropped += 1
        elif verdict is Verdict.IGNORE:
            self.ignored += 1
        else:
            self.rejected += 1
        return verdict


class Subscription(AsyncIterator[tuple[PeerId, bytes]]):
    """The records of one topic. Ends when the link closes or after ``aclose``."""

    def __init__(self, topics: Topics, topic: str, receive: trio.MemoryReceiveChannel[tuple[PeerId, bytes]]) -> None:
        self._topics, self._topic, self._receive = topics, topic, receive
        self.when_closed: Callable[[], None] = lambda: None

    async def __anext__(self) -> tuple[PeerId, bytes]:
        try:
            return await self._receive.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise StopAsyncIteration from None

    async def aclose(self) -> None:
        """Leaves the topic."""
        self._topics.close(self._topic)
        self._receive.close()
        self.when_closed()
        await trio.lowlevel.checkpoint()
