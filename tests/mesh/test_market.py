"""Does gossip reach the rules, does a joining node catch up, and what does a lying peer get?"""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from multiaddr import Multiaddr

from devnet.sim.memory_link import MemoryHub, MemoryLink
from mesh.base.clock import ManualClock
from mesh.engine import Engine
from mesh.market import Gossip, dialable, serve_messages, watch_peers
from mesh.store import Store
from protocols.canonical import decode_strict
from protocols.deals.eip712 import Domain
from protocols.effects import Effect, Penalise
from protocols.env import Env
from protocols.envelope import parse_envelope
from protocols.limits import DEVNET
from protocols.messages.registry import DEAL_PROTOCOL
from protocols.offers.records import OFFER_TAG, Ask, ExecutorOffer, ResourceOffer
from protocols.offers.sync import SYNC_PROTOCOL, SyncPage, to_wire
from protocols.offers.topics import CPU, offers_topic
from protocols.state import NodeState
from protocols.units import Address, PeerId, Tokens, UnixSeconds
from tests.clock import PatientClock

if TYPE_CHECKING:
    from devnet.sim.signer import KeyRing, SimSigner

NOW = 1_700_000_000
TOPIC = offers_topic("devnet", CPU)
ADDRESS = "/ip4/127.0.0.1/tcp/4021"


class LearningLink:
    """A hub's link that remembers what it was told about addresses."""

    def __init__(self, link: MemoryLink) -> None:
        self._link = link
        self.learnt: dict[PeerId, list[str]] = {}

    def learn(self, peer: PeerId, addresses: Any) -> None:
        self.learnt[peer] = list(addresses)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._link, name)


class Member:
    """A node that does nothing but gossip."""

    def __init__(self, store: Store, link: LearningLink, signer: "SimSigner") -> None:
        self.link, self.signer, self.clock = link, signer, ManualClock()
        self.env = Env(params=DEVNET, signer=signer, domain=Domain(DEVNET.chain_id, DEVNET.escrow))
        self.engine = Engine(NodeState("devnet"), self.env, store, self.clock)
        self.performed: list[Effect] = []
        self.engine.connect(self.performed.append, lambda key: None)
        self.gossip = Gossip(self.engine, link, self.clock)

    def offer(self, sequence: int = 1, expires: int = NOW + 60, **changes: Any) -> bytes:
        fields: dict[str, Any] = {
            "provider": self.signer.peer_id,
            "sequence": sequence,
            "expires": UnixSeconds(expires),
            "cpus_milli": 1000,
            "memory_mib": 512,
            "disk_mib": 512,
            "executors": (ExecutorOffer("wasm", 3),),
            "ask": Ask(Tokens(1), Tokens(1), Tokens(1), Tokens(1)),
            "token": Address(bytes(20)),
            "escrow": Address(bytes(20)),
            "max_wall_s": 60,
            "free_slots": 1,
            "addresses": (Multiaddr(ADDRESS).to_bytes(), b"\xff\xff\xff"),
        }
        return self.env.record(OFFER_TAG, ResourceOffer(**(fields | changes)))

    @property
    def offers(self) -> int:
        return self.engine.view(lambda state: len(state.market.offers))

    async def book(self, data: bytes) -> None:
        """Into its own book, as if it had heard it."""
        assert await self.gossip._take(TOPIC, data)


Make = Callable[[], Awaitable[Member]]


@pytest.fixture
async def member(nursery: trio.Nursery, tmp_path: Path, hub: MemoryHub, ring: "KeyRing") -> AsyncIterator[Make]:
    """Start another node: ``await member()``."""
    stores: list[Store] = []

    async def make() -> Member:
        signer = ring.signer()
        stores.append(await Store.open(tmp_path / f"{len(stores)}.db"))
        made = Member(stores[-1], LearningLink(hub.link(signer.peer_id)), signer)
        await nursery.start(partial(made.engine.run))
        await nursery.start(partial(made.gossip.run))
        return made

    yield make
    for store in stores:
        await store.aclose()


async def test_a_record_is_taken_ignored_or_rejected(member: Make, eventually: Any) -> None:
    one, two = await member(), await member()
    await one.link.publish(TOPIC, one.offer())
    await eventually(lambda: two.offers == 1)
    assert two.link.learnt == {one.signer.peer_id: [ADDRESS]}
    for record in (one.offer(sequence=2, expires=NOW - 1), one.offer(sequence=1, cpus_milli=2)):  # expired; known
        await one.link.publish(TOPIC, record)
    broken = bytearray(one.offer(sequence=3))
    broken[-1] ^= 1
    for record in (b"junk", bytes(broken), two.env.record(OFFER_TAG, ResourceOffer(**_fields(one)))):
        await one.link.publish(TOPIC, record)
    await eventually(lambda: two.link.statistics().ignored + two.link.statistics().rejected == 5)
    assert (two.link.statistics().ignored, two.link.statistics().rejected) == (2, 3)
    assert two.offers == 1


def _fields(member: Member) -> dict[str, Any]:
    return msgspec.structs.asdict(
        decode_strict(ResourceOffer, parse_envelope(member.offer(9), max_bytes=4096).payload, max_bytes=4096)
    )


@pytest.mark.parametrize(
    "raw", [b"", b"\xff", b"\x04", b"\x04\x7f\x00\x00", b"\xa5\x03\xff\x01", bytes(96), b"\x36\x03\xff\xfe\xfd"]
)
def test_addresses_that_are_none_are_left_out(raw: bytes) -> None:
    offer = msgspec.structs.replace(_plain(), addresses=(raw, Multiaddr(ADDRESS).to_bytes()))
    assert ADDRESS in dialable(offer)


@given(st.binary(min_size=1, max_size=96))
def test_no_address_of_a_stranger_harms(raw: bytes) -> None:
    dialable(msgspec.structs.replace(_plain(), addresses=(raw,)))


def _plain() -> ResourceOffer:
    return ResourceOffer(
        provider=PeerId(bytes(39)),
        sequence=1,
        expires=UnixSeconds(NOW),
        cpus_milli=1,
        memory_mib=1,
        disk_mib=1,
        executors=(ExecutorOffer("wasm", 3),),
        ask=Ask(Tokens(1), Tokens(1), Tokens(1), Tokens(1)),
        token=Address(bytes(20)),
        escrow=Address(bytes(20)),
        max_wall_s=60,
        free_slots=1,
    )


async def test_a_newcomer_catches_up_over_many_pages(
    member: Make, ring: "KeyRing", autojump_clock: PatientClock
) -> None:
    old, new = await member(), await member()
    others = [ring.signer() for _ in range(300)]
    for signer in others:
        env = Env(params=DEVNET, signer=signer, domain=old.env.domain)
        offer = msgspec.structs.replace(_plain(), provider=signer.peer_id, expires=UnixSeconds(NOW + 60))
        await old.book(env.record(OFFER_TAG, offer))
    await new.gossip.catch_up(old.signer.peer_id)
    assert new.offers == 300
    calls = new.link.statistics().calls
    assert calls > 1
    await new.gossip.catch_up(old.signer.peer_id)  # once per connection
    assert new.link.statistics().calls == calls
    await old.gossip.catch_up(new.signer.peer_id)  # the other way there is nothing to learn
    assert old.offers == 300


class Liar:
    """A peer that answers sync requests as it likes."""

    def __init__(self, link: MemoryLink, answer: Callable[[int], bytes]) -> None:
        self.me, self.calls = link.me, 0
        self._answer = answer
        link.serve(SYNC_PROTOCOL, self._take, 4096)

    async def _take(self, _: PeerId, request: bytes) -> bytes:
        self.calls += 1
        return self._answer(self.calls)


def _endless(call: int) -> bytes:
    return to_wire(SyncPage((), call.to_bytes(39), 0, True))


@pytest.mark.parametrize(
    "answer",
    [
        lambda call: b"\xc1 junk",
        lambda call: to_wire(SyncPage((b"junk",), b"", 0, False)),
        lambda call: bytes(100_000),
        _endless,
    ],
)
async def test_a_lying_sync_peer_pays_and_is_left(
    member: Make, hub: MemoryHub, ring: "KeyRing", autojump_clock: PatientClock, answer: Callable[[int], bytes]
) -> None:
    new = await member()
    liar = Liar(hub.link(ring.signer().peer_id), answer)
    await new.gossip.catch_up(liar.me)
    assert liar.calls == 1
    assert new.link.peers()[liar.me].score < 0
    assert new.offers == 0


async def test_a_peer_that_never_ends_is_left_after_a_bound(
    member: Make, hub: MemoryHub, ring: "KeyRing", autojump_clock: PatientClock
) -> None:
    new, author = await member(), ring.signer()
    env = Env(params=DEVNET, signer=author, domain=new.env.domain)
    same = env.record(
        OFFER_TAG, msgspec.structs.replace(_plain(), provider=author.peer_id, expires=UnixSeconds(NOW + 9))
    )
    liar = Liar(hub.link(ring.signer().peer_id), lambda call: to_wire(SyncPage((same,), call.to_bytes(39), 0, True)))
    await new.gossip.catch_up(liar.me)
    assert liar.calls == 64
    assert new.offers == 1


async def test_peers_come_and_go(
    member: Make, hub: MemoryHub, nursery: trio.Nursery, autojump_clock: PatientClock, eventually: Any
) -> None:
    old, new = await member(), await member()
    await old.book(old.offer())
    await nursery.start(partial(watch_peers, new.engine, new.link, new.gossip, new.clock))
    await eventually(lambda: new.offers == 1)
    assert new.engine.view(lambda state: set(state.peers)) == {old.signer.peer_id}
    await hub.cut(old.signer.peer_id, new.signer.peer_id)
    await eventually(lambda: new.engine.view(lambda state: not state.peers))
    await old.book(old.offer(sequence=2, expires=NOW + 90))
    hub.heal(old.signer.peer_id, new.signer.peer_id)
    await eventually(lambda: new.link.statistics().calls >= 2)
    await eventually(lambda: new.engine.view(lambda s: s.market.offers.get(old.signer.peer_id).sequence) == 2)


async def test_a_message_is_answered_when_it_is_durable(member: Make, ring: "KeyRing", eventually: Any) -> None:
    one, two = await member(), await member()
    serve_messages(two.engine, two.link, two.clock)
    assert await one.link.call(two.signer.peer_id, DEAL_PROTOCOL, b"junk", 60) == b""
    assert [type(effect) for effect in two.performed] == [Penalise]  # junk is answered, and costs its sender
