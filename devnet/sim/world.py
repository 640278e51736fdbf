"""What is simulated: many real cores, one virtual clock, one network, one chain, and every fault, from one seed.

The rules are the shipped ones (`protocols.node.handle`); only the shell around them is virtual. Time moves from event to
event, so an hour costs what happens in it. The same seed gives the same history, bit by bit.
"""

import hashlib
import heapq
from collections.abc import Callable
from random import Random
from typing import Final

import msgspec

from devnet.sim.escrow import Escrow, Moved, Reverted
from devnet.sim.node import SimNode
from devnet.sim.signer import KeyRing
from protocols import events as ev
from protocols.deals.eip712 import DEVNET_BOUNDS, Domain
from protocols.effects import PostTx
from protocols.env import Env
from protocols.hashing import sha256
from protocols.limits import NetworkParams
from protocols.units import Address, Hash32, Millis, PeerId, Seconds, Tokens, UnixSeconds

__all__ = ["SIM_PARAMS", "Network", "World"]

START: Final = UnixSeconds(1_795_000_000)
"""Wall clock and chain time at virtual zero."""
BLOCK_MS: Final = 1_000

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
    provider_lost=Millis(10_000),
)


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """How the virtual network treats messages."""

    least_ms: int = 5
    most_ms: int = 120
    loss_ppm: int = 10_000
    """Per message; a lost durable one is tried again by its sender."""


class World:
    """The virtual machine room. Everything random comes from ``rng``, in the order things happen."""

    def __init__(self, seed: int, *, params: NetworkParams = SIM_PARAMS, network: Network | None = None) -> None:
        self.rng = Random(seed)  # noqa: S311  # a simulation wants a replayable generator
        self.params = params
        self.network = network or Network()
        self.domain = Domain(params.chain_id, params.escrow)
        self.ring = KeyRing(seed)
        self.escrow = Escrow(self.domain, params.token, DEVNET_BOUNDS, self.ring.signer())
        self.now = Millis(0)
        self.nodes: dict[PeerId, SimNode] = {}
        self.addresses: dict[PeerId, Address] = {}
        self.cut: set[frozenset[PeerId]] = set()
        self.events = 0
        self.block = 0
        self._queue: list[tuple[int, int, Callable[[], None]]] = []
        self._count = 0
        self._mempool: list[tuple[SimNode, PostTx]] = []
        self._confirmed: dict[str, Hash32] = {}
        self._history = hashlib.sha256()
        self.at(BLOCK_MS, self._mine)

    @property
    def chain_time(self) -> UnixSeconds:
        """`block.timestamp` now."""
        return UnixSeconds(START + self.now // 1000)

    def history(self) -> str:
        """Hash over everything that happened so far, in order."""
        return self._history.hexdigest()

    def note(self, *parts: object) -> None:
        """Make something part of the history."""
        self._history.update(repr(parts).encode())

    def at(self, when: int, what: Callable[[], None]) -> None:
        """Do something at a virtual time."""
        self._count += 1
        heapq.heappush(self._queue, (max(when, self.now), self._count, what))

    def after(self, delay: int, what: Callable[[], None]) -> None:
        """Do something in ``delay`` virtual milliseconds."""
        self.at(self.now + delay, what)

    def run(self, until: int) -> None:
        """Let time pass."""
        while self._queue and self._queue[0][0] <= until:
            when, _, what = heapq.heappop(self._queue)
            self.now = Millis(when)
            what()
        self.now = Millis(until)

    def add(self, *, free: int, stake: int) -> SimNode:
        """A new node with money, not started yet."""
        signer = self.ring.signer()
        node = SimNode(self, Env(params=self.params, signer=signer, domain=self.domain))
        self.nodes[signer.peer_id] = node
        self.addresses[signer.peer_id] = signer.address
        self.escrow.fund(signer.address, free=free, stake=stake)
        return node

    def delay(self) -> int:
        """A one-way latency, in milliseconds."""
        return self.rng.randint(self.network.least_ms, self.network.most_ms)

    def reachable(self, one: PeerId, other: PeerId) -> bool:
        """Both up, no partition between them."""
        return self.nodes[one].up and self.nodes[other].up and frozenset((one, other)) not in self.cut

    def sever(self, pairs: set[frozenset[PeerId]]) -> None:
        """Cut connections; both ends notice."""
        self.cut |= pairs
        self._both_ends(pairs, up=False)

    def mend(self, pairs: set[frozenset[PeerId]]) -> None:
        """Heal them; both ends notice."""
        self.cut -= pairs
        self._both_ends(pairs, up=True)

    def _both_ends(self, pairs: set[frozenset[PeerId]], *, up: bool) -> None:
        kind = ev.PeerCameUp if up else ev.PeerWentDown
        for one, other in sorted(tuple(sorted(pair)) for pair in pairs):
            if self.nodes[one].up and self.nodes[other].up:
                self.nodes[one].post(kind(at=self.now, peer=other))
                self.nodes[other].post(kind(at=self.now, peer=one))

    def lost(self) -> bool:
        """Whether this message is lost."""
        return self.rng.randrange(1_000_000) < self.network.loss_ppm

    def gossip(self, sender: PeerId, topic: str, data: bytes) -> None:
        """Each reachable node gets the record once, after two to four hops, unless it is lost on the way."""
        for peer, node in self.nodes.items():
            if peer != sender and self.reachable(sender, peer) and not self.lost():
                self.after(self.delay() + self.delay(), lambda node=node: node.gossip(topic, data))  # type: ignore[misc]

    def post(self, node: SimNode, tx: PostTx) -> None:
        """Hand in a transaction; the next block takes it."""
        self._mempool.append((node, tx))

    def _mine(self) -> None:
        self.block += 1
        pool, self._mempool = self._mempool, []
        for node, tx in pool:
            self._execute(node, tx)
        for node in self.nodes.values():
            if node.up:
                self.after(self.delay(), lambda node=node: node.tell_time(self.block, self.chain_time))  # type: ignore[misc]
        self.after(BLOCK_MS, self._mine)

    def _execute(self, node: SimNode, tx: PostTx) -> None:
        name = f"{node.me.hex()}:{tx.key}"
        if name in self._confirmed:
            return
        try:
            moved = self.escrow.call(node.env.signer.address, tx, self.chain_time, self.addresses)
        except Reverted as error:
            self.note("reverted", self.block, tx.key, str(error))
            self.after(self.delay(), lambda: node.tx_failed(tx, str(error)))
            return
        tx_hash = sha256(b"sim-tx", name.encode())
        self._confirmed[name] = tx_hash
        self.note("tx", self.block, tx.key, moved.to, int(moved.paid))
        self.after(self.delay(), lambda: node.confirmed(tx))
        self._announce(moved, tx, tx_hash)

    def _announce(self, moved: Moved, tx: PostTx, tx_hash: Hash32) -> None:
        block, stamp = self.block, self.chain_time
        parties = {tx.deal.client, tx.deal.provider}
        for peer, node in self.nodes.items():
            if self.addresses[peer] in parties:
                event = ev.DealMovedOnChain(
                    at=Millis(0),
                    deal_id=moved.deal_id,
                    to=moved.to,
                    tx=tx_hash,
                    block=block,
                    timestamp=stamp,
                    paid=moved.paid,
                )
                node.chain_log.append(event)
                self.after(self.delay(), node.read_chain)

    def balance(self, node: SimNode) -> tuple[Tokens, Tokens]:
        """(free, stake) of a node."""
        who = node.env.signer.address
        return Tokens(self.escrow.free.get(who, 0)), Tokens(self.escrow.stake.get(who, 0))

    def digest(self) -> Hash32:
        """The same as `history`, as bytes."""
        return Hash32(self._history.digest())
