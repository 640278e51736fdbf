"""Who has lost what in channels, when every one of them is closed?

What the chain has paid in each pair's channels is held against the deals that both sides say it was for. A client is out of
no more than the prices of what it has signed vouchers for, a provider has fetched all that was signed to it; a provider works
for one unpaid deal at a time, and a client pays one price at most to who keeps what was paid for.
"""

from collections import Counter
from collections.abc import Iterator
from typing import Final

from devnet.sim.node import SimNode
from devnet.sim.world import World
from protocols import events as ev
from protocols.channels.states import Closed, book_of, pair_of
from protocols.deals.channel_provider import UNPAID
from protocols.deals.in_channel import HOW, in_channel
from protocols.deals.states import Abandoned, Checking, DealState, Settled, Unsealing
from protocols.state import CLIENT
from protocols.units import Address, Millis

__all__ = ["CHANNEL_PROMISES", "ChannelBooks", "close_all", "ends_in_channels", "locked"]

CLOSING_MINUTES: Final = 8
"""Virtual time in which every channel of a client that is up must close: its patience, the exit delay, and both again."""
STEP_MS: Final = 10_000

CHANNEL_PROMISES: Final = (
    "vouchers: the chain has paid no more than what a client signed for, and all that an honest provider was signed",
    "exposure: a provider works for one unpaid deal at a time",
    "once bitten: nobody pays a second price to who kept what was paid for",
    "closed: every channel of a client that is up is closed when its owner says so",
)


def close_all(world: World) -> None:
    """The owners of all nodes that are up close their channels, and time passes until they are."""
    for node in world.nodes.values():
        for half in list(node.state.durable.channels.values()) if node.up else ():
            book = book_of(half.state)
            if book is not None and not isinstance(half.state, Closed):
                node.post(ev.ChannelCommanded(at=Millis(world.now), peer=book.peer, verb="close"))
    end = world.now + CLOSING_MINUTES * 60_000
    while world.now < end and list(_still_open(world)):
        world.run(world.now + STEP_MS)
    world.run(world.now + STEP_MS)


def _still_open(world: World) -> Iterator[SimNode]:
    for pair, word in world.channels.words.items():
        client = world.by_address[Address(pair[:20])]
        if word.until and client.up:
            yield client


def locked(world: World, who: Address) -> int:
    """What is this client's in channels that are still open, in wei."""
    return sum(
        word.deposit - word.redeemed for pair, word in world.channels.words.items() if word.until and pair[:20] == who
    )


def ends_in_channels(world: World) -> dict[str, int]:
    """Deals that channels paid, or did not, by how they ended for their client."""
    ends: Counter[str] = Counter()
    for _, half in _deals(world, CLIENT):
        state = half
        ends[getattr(state, "how", "") or getattr(state, "code", "") or type(state).__name__.lower()] += 1
    return dict(sorted(ends.items()))


def _deals(world: World, role: str) -> Iterator[tuple[SimNode, DealState]]:
    for node in world.nodes.values():
        for half in node.state.durable.deals.values():
            if half.role == role and in_channel(half.state.terms):
                yield node, half.state


def _is_paid(state: DealState) -> bool:
    """Whether its client has signed for it."""
    return isinstance(state, Settled | Unsealing) or (isinstance(state, Checking) and isinstance(state.seal, Unsealing))


class ChannelBooks:
    """What both sides of every pair say, and what the chain has paid; each deal looked at once."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.signed: Counter[bytes] = Counter()
        """By pair: prices of the deals that the client has signed vouchers for."""
        self.earned: Counter[bytes] = Counter()
        """By pair: prices of the deals whose voucher the provider has."""
        self.kept: Counter[bytes] = Counter()
        """By pair: deals that the client paid for in vain."""
        self.unpaid: Counter[bytes] = Counter()
        """By pair: deals that the provider has worked for in vain."""
        self.dearest: dict[bytes, int] = {}
        """By pair: the price of the provider's dearest deal."""
        self.redeemed: Counter[bytes] = Counter()
        """By pair: what the chain has paid, fees included."""
        for _, state in _deals(world, CLIENT):
            pair = pair_of(state.terms.deal.client, state.terms.deal.provider)
            self.signed[pair] += int(state.terms.deal.price) if _is_paid(state) else 0
            self.kept[pair] += isinstance(state, Settled) and state.how != HOW
        for _, state in _deals(world, "provider"):
            pair = pair_of(state.terms.deal.client, state.terms.deal.provider)
            self.earned[pair] += int(state.terms.deal.price) if isinstance(state, Settled) else 0
            self.dearest[pair] = max(self.dearest.get(pair, 0), state.terms.deal.price)
            self.unpaid[pair] += isinstance(state, Abandoned) and state.code in UNPAID
        for (pair, _), paid in world.channels.redeemed.items():
            self.redeemed[pair] += paid

    def paid_by(self, who: Address) -> int:
        """What a client has signed for in all its channels."""
        return sum(paid for pair, paid in self.signed.items() if pair[:20] == who)

    def broken(self, honest: frozenset[Address]) -> Iterator[str]:
        """A sentence for every promise that was not kept. ``honest``: who told no lie."""
        for pair in sorted({*self.signed, *self.earned, *self.redeemed}):
            client, provider = Address(pair[:20]), Address(pair[20:])
            name, word = pair.hex()[-8:], self._world.channels.words.get(pair)
            if client in honest:
                yield from self._of_client(pair, name)
                if word is not None and word.until and self._world.by_address[client].up:
                    yield f"closed: the channel {name} is open, and its client wanted it closed"
            if provider in honest:
                yield from self._of_provider(pair, name)

    def _of_client(self, pair: bytes, name: str) -> Iterator[str]:
        if self.redeemed[pair] > self.signed[pair]:
            yield f"vouchers: the chain paid {self.redeemed[pair]} wei of {name}, its client has signed {self.signed[pair]}"
        if self.kept[pair] > 1:
            yield f"once bitten: the client of {name} has paid {self.kept[pair]} times for nothing"

    def _of_provider(self, pair: bytes, name: str) -> Iterator[str]:
        word, undone = self._world.channels.words.get(pair), pair in self._world.channels.undone
        generations = (word.generation if word else 0) + undone
        provider = self._world.by_address[Address(pair[20:])]
        if self.unpaid[pair] > generations:
            yield f"exposure: the provider of {name} worked {self.unpaid[pair]} times for nothing in {generations} channels"
        # Of money that a reorganisation took it may have worked for one deal more.
        risked = self.dearest[pair] if undone else 0
        if provider.up and self.redeemed[pair] + risked < self.earned[pair]:
            yield f"vouchers: the provider of {name} holds {self.earned[pair]} wei, and fetched {self.redeemed[pair]}"
