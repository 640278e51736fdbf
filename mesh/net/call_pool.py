"""Which stream carries a call? One for each peer and protocol, opened by the first call and shared by all."""

from collections.abc import Awaitable, Callable

import trio

from mesh.net.addresses import peer_text
from mesh.net.calls import CallChannel
from mesh.net.link import CallTimeout, LinkError
from protocols.units import PeerId

__all__ = ["CallPool"]

Key = tuple[PeerId, str]
OpenStream = Callable[[PeerId, str], Awaitable[trio.abc.HalfCloseableStream]]


class CallPool:
    """The calling side of a link."""

    def __init__(self, open_stream: OpenStream, spawn: Callable[..., None]) -> None:
        """``spawn(task, *args)`` runs a task for as long as the link lives."""
        self._open_stream, self._spawn = open_stream, spawn
        self._channels: dict[Key, CallChannel] = {}
        self._opening: dict[Key, trio.Lock] = {}
        self.made = self.failed = 0

    async def call(self, peer: PeerId, protocol: str, request: bytes, timeout: float) -> bytes:
        """See ``Link.call``."""
        self.made += 1
        try:
            with trio.fail_after(timeout):
                channel = await self._channel((peer, protocol))
                return await channel.call(request)
        except trio.TooSlowError:
            self.failed += 1
            raise CallTimeout(f"no answer on {protocol} from {peer_text(peer)} within {timeout:g} s") from None
        except LinkError:
            self.failed += 1
            raise

    async def _channel(self, key: Key) -> CallChannel:
        channel = self._channels.get(key)
        if channel is not None and not channel.broken:
            return channel
        lock = self._opening.setdefault(key, trio.Lock())
        try:
            async with lock:  # the calls that come meanwhile wait for the one that opens
                channel = self._channels.get(key)
                if channel is None or channel.broken:
                    channel = self._channels[key] = CallChannel(await self._open_stream(*key))
                    self._spawn(self._run, key, channel)
                return channel
        finally:
            if not lock.locked():
                self._opening.pop(key, None)

    async def _run(self, key: Key, channel: CallChannel) -> None:
        try:
            await channel.run()
        finally:
            if self._channels.get(key) is channel:
                del self._channels[key]
