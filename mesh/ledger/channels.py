"""What does the chain tell the node about its channels? Each log of one of ours becomes a `ChannelSeen`.

A log says that it is time to look; what the rules get is the channel as it is, so nothing goes wrong when a log comes
twice or is taken back. An endpoint that has not caught up with the log is asked again.
"""

from typing import Final

import trio

from mesh.base.clock import Clock
from mesh.base.observe import get_log
from mesh.chain.contracts import Contracts
from mesh.chain.errors import ChainError
from mesh.chain.events import ChannelClosed, ChannelClosing, ChannelFunded, EscrowEvent, VoucherRedeemed, read_event
from mesh.chain.feed import LogRef
from mesh.chain.wire import Log, Malformed
from mesh.engine import Engine
from protocols.channels.states import book_of
from protocols.contracts.channels import Channel, ChannelWord
from protocols.events import ChannelSeen
from protocols.state import NodeState
from protocols.units import Address, Hash32

__all__ = ["ChannelFeed"]

RETRY_S: Final = 0.5
TRIES: Final = 20
"""Ten seconds for a lagging endpoint to show what another one has logged; then its word is taken."""
MAX_REFS: Final = 4_096
"""Logs of ours that may be taken back, the newest: a node's channels move far less often between two finalized blocks."""

log = get_log("ledger")


class ChannelFeed:
    """The channels of one operator."""

    def __init__(self, contracts: Contracts, me: Address, clock: Clock) -> None:
        self._contracts = contracts
        self._me = me
        self._clock = clock
        self._seen: dict[LogRef, Channel] = {}

    async def told(self, engine: Engine, ref: LogRef, item: Log | None) -> None:
        """A log was read, or (None) taken back."""
        if item is None:
            channel = self._seen.pop(ref, None)
            if channel is not None:
                await self._post(engine, channel, None)
            return
        try:
            event = read_event(item)
        except Malformed:
            return  # said already, by the follower
        channel = self._ours(engine, event)
        if channel is None:
            return
        self._seen[ref] = channel
        while len(self._seen) > MAX_REFS:
            del self._seen[next(iter(self._seen))]
        await self._post(engine, channel, event)

    def _ours(self, engine: Engine, event: EscrowEvent | None) -> Channel | None:
        match event:
            case ChannelFunded():
                generation = ChannelWord.of(event.word).generation
                ours = self._me in (event.client, event.provider)
                return Channel(event.client, event.provider, event.client_owner, generation) if ours else None
            case VoucherRedeemed() | ChannelClosing() | ChannelClosed():
                return engine.view(lambda state: _known(state, event.channel_id))
            case _:
                return None

    async def _post(self, engine: Engine, channel: Channel, event: EscrowEvent | None) -> None:
        seen = await self._read(channel, event)
        await engine.post(ChannelSeen(at=self._clock.monotonic_ms(), channel=seen[0], word=seen[1]))

    async def _read(self, channel: Channel, event: EscrowEvent | None) -> tuple[Channel, ChannelWord]:
        tries = 0
        while True:
            try:
                seen = await self._contracts.channel_of(channel.client, channel.provider, channel.client_owner)
                tries += 1
                if tries >= TRIES or _caught_up(seen[1], channel, event):
                    return seen
            except ChainError as error:
                log.info("channel.awaited", reason=str(error))
            await trio.sleep(RETRY_S)


def _caught_up(word: ChannelWord, channel: Channel, event: EscrowEvent | None) -> bool:
    """Whether a reading is at least as new as the log."""
    if word.generation != channel.generation:
        return word.generation > channel.generation
    match event:
        case ChannelFunded():
            return word.until == 0 or word.deposit >= ChannelWord.of(event.word).deposit
        case VoucherRedeemed():
            return word.redeemed >= event.cumulative
        case ChannelClosed():
            return word.until == 0
        case _:
            return True


def _known(state: NodeState, channel_id: Hash32) -> Channel | None:
    for half in state.durable.channels.values():
        book = book_of(half.state)
        if book is not None and book.channel.channel_id == channel_id:
            return book.channel
    return None
