"""How are the rules' questions answered? Volatile ones, to the chain and to the beacon's relays.

Nothing is retried and nothing is durable: whoever still wants to know asks again.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

from mesh.base.clock import Clock
from mesh.base.errors import MeshError
from mesh.base.observe import get_log
from mesh.engine import Engine
from protocols import effects as fx
from protocols import events as ev
from protocols.contracts.channels import Channel, ChannelWord
from protocols.messages.beacon import BeaconRound
from protocols.units import Address, Tokens

__all__ = ["ChainViews", "Question", "Questions", "RoundSource"]

Question = fx.ReadAccount | fx.ReadSeats | fx.ReadChannel | fx.FetchRound

log = get_log("effects")


class ChainViews(Protocol):
    """What the chain can be asked."""

    async def account(self, operator: Address) -> tuple[Tokens, Tokens]:
        """(free, stake) of the operator's owner. Raises when no endpoint answers."""
        ...

    async def seats(self, asked: fx.ReadSeats) -> tuple[int, int]:
        """(seats of the class, how many a dispute between the two could call). Raises when no endpoint answers."""
        ...

    async def read_channel(self, client: Address, provider: Address, owner: Address) -> tuple[Channel, ChannelWord]:
        """The channel of two operators with money of ``owner`` (zero: the client's of now). Raises when no endpoint answers."""
        ...


class RoundSource(Protocol):
    """The beacon's relays, as the effects need them."""

    async def fetch_round(self, number: int) -> BeaconRound | None:
        """A verified round that has passed; None when nobody has it now."""
        ...


class Questions:
    """Asks, and posts the answer as an event."""

    def __init__(self, engine: Engine, chain: ChainViews, rounds: RoundSource, clock: Clock) -> None:
        self._engine = engine
        self._chain = chain
        self._rounds = rounds
        self._clock = clock

    async def ask(self, question: Question) -> None:
        """Returns when the answer, or that there is none, has been told."""
        await _ASKED[type(question)](self, question)

    async def _read_account(self, effect: fx.ReadAccount) -> None:
        free, stake, known = Tokens(0), Tokens(0), True
        try:
            free, stake = await self._chain.account(effect.operator)
        except (MeshError, OSError) as error:
            known = False
            log.warning("account.unknown", operator=effect.operator.hex(), reason=str(error))
        at = self._clock.monotonic_ms()
        await self._engine.post(ev.AccountRead(at=at, operator=effect.operator, free=free, stake=stake, known=known))

    async def _read_seats(self, effect: fx.ReadSeats) -> None:
        total, eligible, known = 0, 0, True
        try:
            total, eligible = await self._chain.seats(effect)
        except (MeshError, OSError) as error:
            known = False
            log.warning("seats.unknown", reason=str(error))
        at, client, provider = self._clock.monotonic_ms(), effect.client, effect.provider
        read = ev.SeatsRead(at=at, client=client, provider=provider, total=total, eligible=eligible, known=known)
        await self._engine.post(read)

    async def _fetch_round(self, effect: fx.FetchRound) -> None:
        one = await self._rounds.fetch_round(effect.number)
        if one is None:
            log.info("round.missing", round=effect.number)
            return
        at, wall = self._clock.monotonic_ms(), self._clock.unix_s()
        await self._engine.post(ev.RoundArrived(at=at, beacon_round=one, gossiped=False, wall=wall))

    async def _read_channel(self, effect: fx.ReadChannel) -> None:
        try:
            channel, word = await self._chain.read_channel(effect.client, effect.provider, effect.owner)
        except (MeshError, OSError) as error:
            log.warning("channel.unknown", provider=effect.provider.hex(), reason=str(error))
            return
        await self._engine.post(ev.ChannelSeen(at=self._clock.monotonic_ms(), channel=channel, word=word))


_ASKED: Final[dict[type[fx.Effect], Callable[[Questions, Any], Awaitable[None]]]] = {
    fx.ReadAccount: Questions._read_account,
    fx.ReadSeats: Questions._read_seats,
    fx.ReadChannel: Questions._read_channel,
    fx.FetchRound: Questions._fetch_round,
}
