"""How does everybody who asked hear of peers coming and going? In order, without a queue that can grow or overflow."""

from collections import OrderedDict
from collections.abc import AsyncIterator, Iterable

import trio

from mesh.net.link import PeerDown, PeerEvent, PeerUp
from protocols.units import PeerId

__all__ = ["PeerEvents", "PeerWatch"]


class PeerWatch(AsyncIterator[PeerEvent]):
    """One reader. Holds at most a down and an up for each peer: what it has not read yet is folded together."""

    def __init__(self, connected: Iterable[PeerId]) -> None:
        self._pending: OrderedDict[PeerId, list[PeerEvent]] = OrderedDict((peer, [PeerUp(peer)]) for peer in connected)
        self._news = trio.Event()
        self._closed = False

    def tell(self, event: PeerEvent) -> None:
        """Adds an event. An up that was never read and is followed by its down disappears with it."""
        waiting = self._pending.setdefault(event.peer, [])
        if isinstance(event, PeerDown) and waiting and isinstance(waiting[-1], PeerUp):
            waiting.pop()
        else:
            waiting.append(event)
        if not waiting:
            del self._pending[event.peer]
        self._news.set()

    def close(self) -> None:
        """The reader sees the end after what is pending."""
        self._closed = True
        self._news.set()

    async def __anext__(self) -> PeerEvent:
        while not self._pending:
            if self._closed:
                raise StopAsyncIteration
            self._news = trio.Event()
            await self._news.wait()
        peer = next(iter(self._pending))
        waiting = self._pending[peer]
        event = waiting.pop(0)
        if not waiting:
            del self._pending[peer]
        return event

    async def aclose(self) -> None:
        """Stops watching."""
        self._pending.clear()
        self.close()
        await trio.lowlevel.checkpoint()

    @property
    def closed(self) -> bool:
        """Whether nothing will be told any more."""
        return self._closed


class PeerEvents:
    """All readers of one link."""

    def __init__(self) -> None:
        self._watches: list[PeerWatch] = []

    def watch(self, connected: Iterable[PeerId]) -> PeerWatch:
        """A new reader, that first hears of each peer connected now."""
        watch = PeerWatch(connected)
        self._watches.append(watch)
        return watch

    def tell(self, event: PeerEvent) -> None:
        """Tells every reader that still listens."""
        self._watches = [watch for watch in self._watches if not watch.closed]
        for watch in self._watches:
            watch.tell(event)

    def close(self) -> None:
        """Ends all readers."""
        for watch in self._watches:
            watch.close()
        self._watches.clear()
