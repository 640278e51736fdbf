"""What is simulated? Many real cores, one virtual clock, one network, one chain, and every fault, from one seed.

The rules are the shipped ones (`protocols.node.handle`); only the shell around them is virtual. Time moves from event to
event, so an hour costs what happens in it. The same seed gives the same history, bit by bit, in every process.
"""

import hashlib
import heapq
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache, partial
from random import Random
from typing import Final

import msgspec

from devnet.sim.chain import SimChain
from devnet.sim.channels import SimChannels
from devnet.sim.disk import Disk, MemoryDisk
from devnet.sim.escrow import Escrow
from devnet.sim.node import SimNode
from devnet.sim.panel import SimPanel
from devnet.sim.signer import KeyRing
from protocols import events as ev
from protocols.contracts import panel
from protocols.deals.eip712 import DEVNET_BOUNDS, Domain
from protocols.deals.panel_terms import PANEL_CLASS
from protocols.disputes.params import PanelBounds
from protocols.env import Env
from protocols.envelope import Envelope, open_
from protocols.hashing import sha256
from protocols.limits import NetworkParams
from protocols.messages.beacon import ROUND_SIGNATURE_BYTES, BeaconRound
from protocols.messages.dispute import cases_topic
from protocols.offers.book import MAX_RECORDS
from protocols.state import Row
from protocols.units import PPM, Address, Cid, DealId, Millis, PeerId, Seconds, Tokens, UnixSeconds

__all__ = ["PANEL_PARAMS", "SIM_PANEL", "SIM_PARAMS", "Network", "World"]

START: Final = UnixSeconds(1_795_000_000)
"""Wall clock and chain time at virtual zero."""

STANDSTILL: Final = 1_000_000
"""Things that may happen in one virtual millisecond."""
_PPM_BITS: Final = PPM.bit_length()

SIM_PARAMS: Final = NetworkParams(
    name="sim",
    chain_id=31337,
    token=Address(b"\x01" * 20),
    escrow=Address(b"\x02" * 20),
    offer_heartbeat=Seconds(30),
    offer_ttl=Seconds(90),
    commit_within=Seconds(60),
    exec_margin=Seconds(20),
    claim_seconds=Seconds(120),
    window_base=Seconds(60),
    deadline_margin=Seconds(10),
    silence_before_claim=Seconds(40),
    keep_paid=Seconds(240),
    provider_lost=Millis(10_000),
)


PANEL_PARAMS: Final = msgspec.structs.replace(
    SIM_PARAMS,
    panel=Address(b"\x03" * 20),
    poke_margin=Seconds(10),
    accept_margin=Seconds(15),
    case_period=Seconds(10),
    min_seats=20,
)
"""The same network with a panel."""
SIM_PANEL: Final = PanelBounds(
    secret=Seconds(120),
    accept=Seconds(45),
    work=Seconds(120),
    open=Seconds(120),
    reveal=Seconds(120),
    match=Seconds(120),
    appeal=Seconds(60),
    seat_age=Seconds(1),
    resign=Seconds(3_600),
    seat_bond=Tokens(1_000 * 10**18),
)
"""A node that is away for a minute, behind a dead endpoint or a partition, is late for nothing but the accepting of a seat,
which costs it nothing."""


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How the virtual network treats messages."""

    least_ms: int = 5
    most_ms: int = 120
    loss_ppm: int = 10_000
    """Per message; a lost durable one is tried again by its sender."""
    double_ppm: int = 5_000
    """Per message: it arrives twice."""


class World:
    """The virtual machine room. Everything random comes from ``rng``, in the order things happen."""

    def __init__(
        self,
        seed: int,
        *,
        params: NetworkParams = SIM_PARAMS,
        network: Network | None = None,
        disk: Callable[[], Disk] = MemoryDisk,
    ) -> None:
        self.rng = Random(seed)
        self.verify = lru_cache(maxsize=MAX_RECORDS)(self._signer_of)
        """Who signed an envelope of gossip; raises when nobody did. Asked once per envelope, however many hear it."""
        self._seed = sha256(b"sim-beacon", seed.to_bytes(32, "big", signed=True))
        self.start = START
        self.params = params
        self.network = network or Network()
        self.domain = Domain(params.chain_id, params.escrow)
        self.ring = KeyRing(seed)
        self._checker = self.ring.signer()
        judged = any(params.panel)
        self.escrow = Escrow(self.domain, params.token, DEVNET_BOUNDS, self._checker, panel=judged)
        self.panel = SimPanel(params.panel, SIM_PANEL, self.escrow) if judged else None
        """Who judges disputes, where ``params`` name one."""
        self.now = Millis(0)
        self.nodes: dict[PeerId, SimNode] = {}
        self.addresses: dict[PeerId, Address] = {}
        self.by_address: dict[Address, SimNode] = {}
        self.mediators: list[SimNode] = []
        self.cases = cases_topic(params.name)
        self.cuts: dict[int, frozenset[PeerId]] = {}
        """Partitions under way: who is on the one side."""
        self.tap: list[tuple[PeerId, PeerId, bytes]] | None = None
        """Every message that was sent (from, to, envelope), for those who want to replay them."""
        self.events = 0
        self.heard = 0
        """Of these, records of gossip that reached a node."""
        self._disk = disk
        self._last_round: int | None = None
        """Of a beacon that has fallen silent."""
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._history = hashlib.sha256()
        self.chain = SimChain(self, self.escrow)
        self.channels = SimChannels(self)
        self.sealed: dict[Cid, tuple[bytes, Cid, int]] = {}
        """By the root of sealed bytes: the key, and what is inside."""

    # --- history -------------------------------------------------------------------------------------------------

    def history(self) -> str:
        """Hash over everything that happened so far, in order."""
        return self._history.hexdigest()

    def note(self, *parts: object) -> None:
        """Make something part of the history."""
        self._history.update(repr(parts).encode())

    def note_rows(self, who: PeerId, event: str, rows: Sequence[Row]) -> None:
        """What a node has made durable is part of the history, byte by byte."""
        self._history.update(f"{self.now} {event}".encode() + who[-8:])
        for row in rows:
            self._history.update(row.id + (row.data or b""))

    # --- time ----------------------------------------------------------------------------------------------------

    def at(self, when: int, what: Callable[[], None]) -> None:
        """Do something at a virtual time."""
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, what))

    def after(self, delay: int, what: Callable[[], None]) -> None:
        """Do something in ``delay`` virtual milliseconds."""
        self._count += 1
        heapq.heappush(self._queue, (self.now + delay, self._count, what))

    def run(self, until: int) -> None:
        """Let time pass."""
        queue, pop = self._queue, heapq.heappop
        still = 0
        while queue and queue[0][0] <= until:
            when, _, what = pop(queue)
            still = still + 1 if when == self.now else 0
            if still > STANDSTILL:
                raise RuntimeError(f"time stands still at {when} ms: something wakes itself up for ever")
            self.now = Millis(when)
            what()
        self.now = Millis(until)

    def listeners(self, deal_id: DealId) -> tuple[SimNode, ...]:
        """Who is told what the panel logs about a dispute: the parties of its deal, and every mediator."""
        deal = self.panel.deals[deal_id] if self.panel else None
        found = (self.by_address.get(who) for who in ((deal.client, deal.provider) if deal else ()))
        return (*(node for node in found if node is not None), *self.mediators)

    def newest_round(self) -> int:
        """Of the beacon: what its clock says is due, unless it is silent. When it speaks again it makes up for what it missed."""
        due = self.params.beacon.round_at(UnixSeconds(self.start + self.now // 1000))
        return due if self._last_round is None else min(due, self._last_round)

    def silence_beacon(self, silent: bool) -> None:
        """No rounds from now on, or all of them again."""
        self._last_round = None
        if silent:
            self._last_round = self.newest_round()

    def beacon_round(self, number: int) -> BeaconRound:
        """A round of this world's beacon: bytes by seed in place of a signature, which costs 3 ms to check."""
        drawn = sha256(self._seed, number.to_bytes(8, "big"))
        return BeaconRound(number, (drawn * 2)[:ROUND_SIGNATURE_BYTES])

    # --- nodes and the network -----------------------------------------------------------------------------------

    def add(self, *, free: int, stake: int) -> SimNode:
        """A new node with money, not started yet."""
        signer = self.ring.signer()
        node = SimNode(self, Env(params=self.params, signer=signer, domain=self.domain), self._disk())
        self.nodes[signer.peer_id] = node
        self.addresses[signer.peer_id] = signer.address
        self.by_address[signer.address] = node
        self.escrow.fund(signer.address, free=free, stake=stake)
        return node

    def add_mediator(self, *, free: int, seats: int = 1) -> SimNode:
        """A new node with ``seats`` places of class 1 that are old enough to be called in a moment, not started yet."""
        node = self.add(free=free, stake=0)
        node.mediates = True
        self.mediators.append(node)
        for _ in range(seats):
            self.add_seat(node)
        return node

    def add_seat(self, node: SimNode) -> None:
        """One more place for a mediator."""
        assert self.panel is not None
        who = node.env.signer.address
        self.panel.fund(who, self.panel.books.bounds.seat_bond)
        self.panel.call(who, panel.join(PANEL_CLASS), self.chain.time, self.addresses)

    def balance(self, node: SimNode) -> tuple[Tokens, Tokens]:
        """(free, stake) of a node, in wei."""
        who = node.env.signer.address
        return Tokens(self.escrow.free.get(who, 0)), Tokens(self.escrow.stake.get(who, 0))

    def buyers(self) -> list[SimNode]:
        """Nodes that offer nothing: they listen to offers."""
        return [node for node in self.nodes.values() if node.offer is None and not node.mediates]

    def delay(self) -> int:
        """A one-way latency, in milliseconds."""
        network = self.network
        return network.least_ms + self._below(network.most_ms - network.least_ms + 1)

    def lost(self) -> bool:
        """Whether this message is lost."""
        return self._below(PPM) < self.network.loss_ppm

    def doubled(self) -> bool:
        """Whether this message arrives twice."""
        return self._below(PPM) < self.network.double_ppm

    def _below(self, count: int) -> int:
        """``rng.randrange(count)``, number for number, at a fraction of its price."""
        draw, bits = self.rng.getrandbits, count.bit_length()
        number = draw(bits)
        while number >= count:
            number = draw(bits)
        return number

    def reachable(self, one: SimNode, other: SimNode) -> bool:
        """Both up, no partition between them."""
        if not (one.up and other.up):
            return False
        return not self.cuts or all((one.me in side) == (other.me in side) for side in self.cuts.values())

    def connect(self, one: SimNode, other: SimNode) -> None:
        """A connection, if there can be one; both ends notice a new one."""
        if other.me in one.links or not self.reachable(one, other):
            return
        for end, far in ((one, other), (other, one)):
            end.links[far.me] = end.known[far.me] = None
            end.later(0, lambda end=end, far=far: end.post(ev.PeerCameUp(at=self.now, peer=far.me)))  # type: ignore[misc]

    def disconnect(self, one: SimNode, other: SimNode) -> None:
        """The connection is gone; who is up notices a little later."""
        for end, far in ((one, other), (other, one)):
            if end.links.pop(far.me, 0) is None:
                end.later(
                    self.delay(),
                    lambda end=end, far=far: end.post(ev.PeerWentDown(at=self.now, peer=far.me)),  # type: ignore[misc]
                )

    def sever(self, number: int, side: frozenset[PeerId]) -> None:
        """Begin a partition: no message passes between this side and the rest."""
        self.cuts[number] = side
        for one in self.nodes.values():
            for peer in list(one.links):
                if (one.me in side) != (peer in side):
                    self.disconnect(one, self.nodes[peer])

    def mend(self, number: int) -> None:
        """End a partition; peers that knew each other connect again."""
        self.cuts.pop(number, None)
        for one in self.nodes.values():
            for peer in list(one.known):
                self.connect(one, self.nodes[peer])

    def gossip(self, sender: SimNode, topic: str, data: bytes) -> None:
        """Each reachable node that listens gets the record once, after two to four hops, unless it is lost on the way."""
        least, draw, queue, now = 2 * self.network.least_ms, self.rng.getrandbits, self._queue, self.now
        loss, span = self.network.loss_ppm, self.network.most_ms - self.network.least_ms + 1
        bits, whole = span.bit_length(), not self.cuts
        for node in [node for node in self._followers(topic) if node.up and node is not sender]:
            if not (whole or self.reachable(sender, node)):
                continue
            # `lost` and two of `delay`, draw by draw: nine of ten messages of a large world are sent here.
            while (fate := draw(_PPM_BITS)) >= PPM:
                pass
            if fate < loss:
                continue
            while (one := draw(bits)) >= span:
                pass
            while (two := draw(bits)) >= span:
                pass
            self._count += 1
            arrive: Callable[[], None] = partial(node.gossip, topic, data)
            heapq.heappush(queue, (now + least + one + two, self._count, arrive))

    def _followers(self, topic: str) -> Iterable[SimNode]:
        """Who can make use of what is said on a topic; the shipped nodes follow more, to pass it on."""
        if topic == self.cases:
            return (one for one in self.nodes.values() if one.mediates or one.state.open_disputes)
        offers = "/offers/" in topic
        return (one for one in self.nodes.values() if (one.offer is None) is offers and not one.mediates)

    def _signer_of(self, envelope: Envelope) -> PeerId:
        return open_(self._checker, self.params.name, envelope)
