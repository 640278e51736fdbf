"""Do rounds reach the rules from relays and from peers, with few questions asked, and what does a liar get?"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import trio

from devnet.beacon import BeaconServer, devnet_key
from devnet.sim.memory_link import MemoryHub, MemoryLink
from mesh.beacon.relays import Relays
from mesh.engine import Engine
from mesh.net.link import CallRefused, Verdict
from mesh.rounds import CHECKS_PER_S, RoundFeed
from mesh.store import Store
from protocols.beacon.chain import DEVNET_BEACON
from protocols.canonical import encode
from protocols.deals.eip712 import Domain
from protocols.effects import Effect, Publish
from protocols.env import Env
from protocols.limits import DEVNET
from protocols.messages.beacon import BEACON_PROTOCOL, BeaconRound, beacon_topic
from protocols.state import NodeState
from protocols.units import Millis, PeerId, UnixSeconds
from tests.clock import PatientClock

if TYPE_CHECKING:
    from devnet.sim.signer import KeyRing, SimSigner

TOPIC = beacon_topic("devnet")
N = 80_000
START = DEVNET_BEACON.time_of(N)


class LoopClock:
    """The event loop's time as both clocks; ``skew_s`` plays a wrong wall clock."""

    def __init__(self, skew_s: int = 0) -> None:
        self._skew_s = skew_s
        self.began = trio.current_time()

    def monotonic_ms(self) -> Millis:
        return Millis(int(trio.current_time() * 1000))

    def true_s(self) -> int:
        return START + int(trio.current_time() - self.began)

    def unix_s(self) -> UnixSeconds:
        return UnixSeconds(self.true_s() + self._skew_s)


class Source:
    """Relays in the form of a list of rounds: what is due by the true time, or nothing while ``down``."""

    def __init__(self, clock: LoopClock) -> None:
        self._clock = clock
        self.down = False
        self.polls: list[float] = []

    def __len__(self) -> int:
        return 1

    async def newest(self, above: int) -> BeaconRound | None:
        self.polls.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        number = DEVNET_BEACON.round_at(UnixSeconds(self._clock.true_s()))
        return devnet_key().sign(number) if number > above and not self.down else None


class Follower:
    """A node that does nothing but follow the beacon."""

    def __init__(self, store: Store, link: MemoryLink, signer: "SimSigner", relays: object, clock: LoopClock) -> None:
        self.link, self.clock = link, clock
        env = Env(params=DEVNET, signer=signer, domain=Domain(DEVNET.chain_id, DEVNET.escrow))
        self.engine = Engine(NodeState("devnet"), env, store, clock)
        self.sent: trio.MemorySendChannel[Effect]
        self.sent, self._effects = trio.open_memory_channel[Effect](10_000)
        self.engine.connect(self.sent.send_nowait, lambda key: None)
        self.feed = RoundFeed(self.engine, link, clock, relays, jitter=lambda: 0.5)  # type: ignore[arg-type]

    async def publish(self) -> None:
        """What the real shell does with `Publish`."""
        async for effect in self._effects:
            assert isinstance(effect, Publish)
            await self.link.publish(effect.topic, effect.data)

    @property
    def newest(self) -> int:
        return self.engine.view(lambda state: state.beacon.newest)


Make = Callable[..., Awaitable[Follower]]


@pytest.fixture
async def follower(nursery: trio.Nursery, tmp_path: Path, hub: MemoryHub, ring: "KeyRing") -> AsyncIterator[Make]:
    """Start a node: ``await follower(relays, clock)``."""
    stores: list[Store] = []

    async def start(relays: object, clock: LoopClock) -> Follower:
        store = await Store.open(tmp_path / f"{len(stores)}.db", clock=clock)
        stores.append(store)
        signer = ring.signer()
        made = Follower(store, hub.link(signer.peer_id), signer, relays, clock)
        await nursery.start(partial(made.engine.run))
        await nursery.start(partial(made.feed.run))
        nursery.start_soon(made.publish)
        return made

    yield start
    for store in stores:
        await store.aclose()


@pytest.fixture
def nobody() -> Relays:
    return Relays([], DEVNET_BEACON, jitter=lambda: 0.5)


async def test_a_node_without_relays_lives_off_gossip(
    nursery: trio.Nursery, follower: Make, nobody: Relays, eventually: Callable[..., Awaitable[None]]
) -> None:
    """The one relay is a real server, the rounds are real signatures."""
    clock = LoopClock()
    server = BeaconServer(wall=lambda: float(clock.true_s()))
    await nursery.start(partial(server.run))
    relays = Relays([server.url], DEVNET_BEACON, jitter=lambda: 0.5)
    deaf = await follower(nobody, clock)
    hearing = await follower(relays, clock)
    await eventually(lambda: hearing.newest > N and deaf.newest > N)
    assert deaf.engine.view(lambda s: s.beacon.known(N + 1)) == hearing.engine.view(lambda s: s.beacon.known(N + 1))
    await relays.aclose()


async def test_one_poll_a_period(follower: Make, autojump_clock: PatientClock) -> None:
    clock = LoopClock()
    source = Source(clock)
    node = await follower(source, clock)
    await trio.sleep(300)
    assert abs(node.newest - (N + 300)) <= 2
    assert 200 <= len(source.polls) <= 320


@pytest.mark.parametrize("skew_s", [-7_200, -1, 1, 7_200])
async def test_a_wrong_clock_follows_all_the_same(follower: Make, autojump_clock: PatientClock, skew_s: int) -> None:
    clock = LoopClock(skew_s)
    source = Source(clock)
    node = await follower(source, clock)
    await trio.sleep(300)
    assert abs(node.newest - (N + 300)) <= 3
    assert len(source.polls) <= 700


async def test_polls_of_dead_relays_grow_rare(follower: Make, autojump_clock: PatientClock) -> None:
    clock = LoopClock()
    source = Source(clock)
    source.down = True
    node = await follower(source, clock)
    await trio.sleep(600)
    assert len(source.polls) < 40
    assert max(later - one for one, later in zip(source.polls, source.polls[1:], strict=False)) <= 45
    source.down = False
    await trio.sleep(60)
    assert abs(node.newest - (N + 660)) <= 2


async def test_what_gossip_brings_is_not_asked_for(
    follower: Make, nobody: Relays, autojump_clock: PatientClock
) -> None:
    clock = LoopClock()
    source = Source(clock)
    peer = await follower(nobody, clock)
    node = await follower(source, clock)
    await trio.sleep(0.5)
    first, asked, published = node.newest, len(source.polls), node.engine.statistics().effects
    for number in range(first + 1, first + 60):
        await trio.sleep_until(clock.began + number - N)
        await peer.link.publish(TOPIC, encode(devnet_key().sign(number)))
    await trio.sleep(0.05)
    assert node.newest == first + 59
    assert len(source.polls) - asked <= 2
    assert node.engine.statistics().effects - published <= 2, "and what gossip brought is not published again"


async def test_a_missed_round_comes_from_a_peer_when_there_is_no_relay(follower: Make, nobody: Relays) -> None:
    clock = LoopClock()
    asking, knowing = await follower(nobody, clock), await follower(nobody, clock)
    assert await asking.feed.fetch_round(N) is None
    await knowing.feed._post(devnet_key().sign(N), gossiped=True)
    assert await asking.feed.fetch_round(N) == devnet_key().sign(N)


@pytest.mark.parametrize(
    "answer",
    [
        encode(BeaconRound(N, devnet_key().sign(N + 1).signature)),
        encode(devnet_key().sign(N + 1)),
        b"junk",
    ],
    ids=["forged", "another", "junk"],
)
async def test_a_peer_that_lies_about_a_round_pays(
    follower: Make, nobody: Relays, hub: MemoryHub, ring: "KeyRing", answer: bytes
) -> None:
    asking = await follower(nobody, LoopClock())
    liar = hub.link(ring.signer().peer_id)

    async def lie(_: PeerId, request: bytes) -> bytes:
        return answer

    liar.serve(BEACON_PROTOCOL, lie, 64)
    assert await asking.feed.fetch_round(N) is None
    assert asking.link.peers()[liar.me].score < 0


@pytest.mark.parametrize("request_", [b"", b"\x91\x00", b"\x91\xcd\x00\x05", bytes(64)])
async def test_a_question_that_is_none_is_refused(
    follower: Make, nobody: Relays, hub: MemoryHub, ring: "KeyRing", request_: bytes
) -> None:
    knowing = await follower(nobody, LoopClock())
    asking = hub.link(ring.signer().peer_id)
    with pytest.raises(CallRefused):
        await asking.call(knowing.link.me, BEACON_PROTOCOL, request_, 60.0)


async def test_the_verdict_on_a_record_is_the_validators(follower: Make, nobody: Relays) -> None:
    node = await follower(nobody, LoopClock())
    genuine = devnet_key().sign(N)
    forged = BeaconRound(N, devnet_key().sign(N + 1).signature)
    assert node.feed._verdict(encode(genuine)) is Verdict.ACCEPT
    assert node.feed._verdict(encode(forged)) is Verdict.REJECT
    assert node.feed._verdict(b"junk") is Verdict.REJECT
    assert node.feed._verdict(encode(devnet_key().sign(N + 100_000))) is Verdict.REJECT
    await node.feed._post(genuine, gossiped=True)
    assert node.feed._verdict(encode(genuine)) is Verdict.IGNORE


async def test_a_flood_of_forgeries_costs_a_bounded_number_of_pairings(
    follower: Make, nobody: Relays, autojump_clock: PatientClock
) -> None:
    node = await follower(nobody, LoopClock())
    wrong = devnet_key().sign(1).signature
    verdicts = [node.feed._verdict(encode(BeaconRound(N - count, wrong))) for count in range(CHECKS_PER_S + 15)]
    assert verdicts == [Verdict.REJECT] * CHECKS_PER_S + [Verdict.IGNORE] * 15
    await trio.sleep(1.0)
    assert node.feed._verdict(encode(devnet_key().sign(N))) is Verdict.ACCEPT
