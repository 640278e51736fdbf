"""What stands around one simulated core? A shell with virtual sockets, disk, executor and chain, that can be killed.

Like the real engine it makes rows and durable effects survive before any effect leaves. A kill forgets everything else;
a restart restores the rows and performs what was not acknowledged, once more.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

import msgspec

from devnet.sim.chain import BLOCK_MS, Tx
from devnet.sim.channels import ChannelMoved
from devnet.sim.disk import Disk
from devnet.sim.habits import Habits
from devnet.sim.hostile import slandering
from devnet.sim.perform import PERFORM
from protocols import effects as fx
from protocols import events as ev
from protocols import node as rules
from protocols.env import Env
from protocols.errors import GossipIgnore, GossipReject
from protocols.hashing import sha256
from protocols.mediation.gossip import check_notice
from protocols.offers.rates import Rates
from protocols.offers.records import ResourceOffer
from protocols.offers.validators import check_record
from protocols.state import NodeState
from protocols.units import DealId, Millis, PeerId, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.world import World

__all__ = ["SimNode"]

ChainLog = ev.DealMovedOnChain | ev.DealRetractedOnChain | ev.DisputeLogged | ev.DisputeRetracted | ChannelMoved
_REPEATED: Final = (ev.DealMovedOnChain, ev.DisputeLogged, ChannelMoved)
"""Logs that may be told twice; what was taken back is not."""
SLOWEST_FEED_MS: Final = 2_500
"""The worst public endpoint worth using is that far behind the chain."""
QUIET_ROUNDS: Final = 10
"""Rounds of the beacon that a node with nothing at stake may be behind: half of what would count as silence."""
REREAD: Final = 2
"""Logs a restart reads once more: the cursor is kept after the logs it stands for."""


class SimNode:
    """One node of a `World`."""

    def __init__(self, world: "World", env: Env, disk: Disk) -> None:
        self.world = world
        self.env, self.disk = env, disk
        self.me: PeerId = env.me
        self.state = NodeState(env.params.name)
        self._case_rates = Rates()
        self.outbox: dict[str, fx.DurableEffect] = {}
        self.offer: ResourceOffer | None = None
        self.slots = 2
        self.mediates = False
        """Neither buys nor sells, but sits in panels."""
        self.habits = Habits()
        self.up = False
        self.buried = False
        """Killed for good."""
        self.rpc_up = True
        self.life = 0
        """Counts starts: what an earlier life scheduled does not happen in a later one."""
        self.served: dict[DealId, PeerId] = {}
        self.links: dict[PeerId, None] = {}
        self.known: dict[PeerId, None] = {}
        """Peers it was ever connected to: dialled again after a restart."""
        self.promised: dict[str, None] = {}
        """Deals whose signature has left this node."""
        self.signed_off: dict[str, None] = {}
        """Deals whose settlement it has consented to."""
        self.said: dict[tuple[str, DealId], dict[str, str]] = {}
        """The last of what its lives have told people about a deal, by name."""
        self.unsubmitted: dict[int, None] = {}
        """Run nonces that its owner will submit again, because it was down or died while it answered."""
        self.results: dict[DealId, None] = {}
        """Deals whose job its executor has finished."""
        self.cheated: dict[DealId, None] = {}
        """Deals whose result it has made up."""
        self.feed: list[tuple[int, ChainLog]] = []
        self.read = 0
        self.feed_ms = world.rng.randint(5, SLOWEST_FEED_MS)
        """How far its chain endpoint is behind."""
        self.steps = 0
        self.die_at: tuple[int, str] | None = None
        """Kill this node at that durable step, ``before`` it is committed or ``after``, before its effects leave."""
        self._wake: int | None = None
        self._armed = -1
        """Wake-ups the rules had set when the next one was last looked for."""
        self._next_head = 0
        """Virtual time before which this node's endpoint has no newer block."""
        self._next_round = 0
        """Virtual time before which there can be no newer round: they come at whole seconds."""
        self._listening = 0
        """The life in which a wake-up for an awaited round is under way."""

    # --- life ----------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Come up, or come back."""
        self.up, self.life, self._wake, self._armed = True, self.life + 1, None, -1
        self._next_head = self._next_round = 0
        self.state = NodeState(self.env.params.name)
        self._case_rates = Rates()
        rows, outbox = self.disk.load()
        for kind, key, data in rows:
            self.state.durable.restore(kind, key, data)
        self.outbox = {effect.key: effect for effect in outbox}
        self._reread()
        incarnation = sha256(b"sim-life", self.me, self.life.to_bytes(4, "big"))
        self.world.note("start", self.world.now, self.me.hex()[-8:])
        self.handle(ev.NodeStarted(at=self.world.now, wall=self.wall, incarnation=incarnation))
        for peer in list(self.known):
            self.world.connect(self, self.world.nodes[peer])
        if self.offer is not None:
            self.post(ev.ProviderChanged(at=self.world.now, offer=self.offer, slots=self.slots, queue=1))
        elif not self.mediates:
            self._sync_offers()
        for effect in outbox:
            if self.up:
                self.perform(effect)

    def _reread(self) -> None:
        """The cursor lags behind; what was taken back in between is not told again, so stop there."""
        for _ in range(REREAD):
            if self.read and isinstance(self.feed[self.read - 1][1], _REPEATED):
                self.read -= 1

    def kill(self) -> None:
        """kill -9: everything that is not on disk is gone."""
        if not self.up:
            return
        self.up, self.served = False, {}
        self.disk.crash()
        self.world.note("kill", self.world.now, self.me.hex()[-8:])
        for peer in list(self.links):
            self.world.disconnect(self, self.world.nodes[peer])

    def bury(self) -> None:
        """Gone for good."""
        self.buried = True
        self.kill()

    def revive(self) -> None:
        """Start, unless it runs or is gone for good."""
        if not self.up and not self.buried:
            self.start()

    @property
    def wall(self) -> UnixSeconds:
        """The wall clock."""
        return UnixSeconds(self.world.start + self.world.now // 1000)

    def later(self, delay: int, what: Callable[[], None]) -> None:
        """Do something later in this life."""
        life = self.life
        self.world.after(delay, lambda: what() if self.up and self.life == life else None)

    # --- events --------------------------------------------------------------------------------------------------

    def post(self, event: ev.Event, acks: tuple[str, ...] = ()) -> None:
        """One event through the shipped rules; first what the chain has told this node by now."""
        if self.up:
            if self.world.now >= self._next_head or self.read < len(self.feed):
                self.catch_up()
            if self.world.now >= self._next_round:
                self._catch_round()
        if self.up:
            self.handle(event, acks)

    def handle(self, event: ev.Event, acks: Sequence[str] = ()) -> None:
        """Rules, then rows and outbox, then effects."""
        self.world.events += 1
        state = self.state
        effects = (slandering if self.habits.slanders else rules.handle)(state, event, self.env)
        rows = state.durable.drain_dirty()
        if rows or acks or effects:
            fresh, gone = self._sort(effects, acks)
            if rows or fresh or gone:
                self.steps += 1
                if self.die_at == (self.steps, "before"):
                    self.kill()
                    return
                self.disk.commit(rows, list(fresh.values()), gone)
                self.world.note_rows(self.me, type(event).__name__, rows)
                if self.die_at == (self.steps, "after"):
                    self.kill()
                    return
            for key in gone:
                self.outbox.pop(key, None)
            self.outbox.update(fresh)
            for effect in effects:
                if not isinstance(effect, fx.DurableEffect) or fresh.get(effect.key) is effect:
                    self.perform(effect)
        if state.timers.sets != self._armed:
            self._arm()
        if state.beacon.waiters and self._listening != self.life:
            self._listening = self.life
            self.later(self.env.params.beacon.period_s * 1000, self._listen)
        if self.habits.vanishes and isinstance(event, ev.DealMovedOnChain) and event.to == "committed":
            self.later(self.world.rng.randrange(10_000), self.bury)

    def _sort(self, effects: Sequence[fx.Effect], acks: Sequence[str]) -> tuple[dict[str, fx.DurableEffect], list[str]]:
        """The durable effects that are new, and the keys that no longer matter, in the order the rules said so."""
        fresh: dict[str, fx.DurableEffect] = {}
        gone = [key for key in acks if key in self.outbox]
        for effect in effects:
            if isinstance(effect, fx.DropEffects):
                prefix = effect.prefix
                gone += [key for key in self.outbox if key.startswith(prefix) and key not in gone]
                for key in [key for key in fresh if key.startswith(prefix)]:
                    del fresh[key]
            elif isinstance(effect, fx.DurableEffect):
                key = effect.key
                if (key not in self.outbox or key in gone) and key not in fresh:
                    fresh[key] = effect
        return fresh, gone

    def acknowledge(self, key: str) -> None:
        """A durable effect is done and has no answer."""
        if self.outbox.pop(key, None) is not None:
            self.disk.commit((), (), (key,))

    def perform(self, effect: fx.Effect) -> None:
        """Start an effect."""
        PERFORM[type(effect)](self, effect)

    def _arm(self) -> None:
        self._armed = self.state.timers.sets
        due = rules.next_wakeup(self.state)
        if due is not None and (self._wake is None or due < self._wake):
            self._wake = due
            self.later(max(due - self.world.now, 0), self._tick)

    def _tick(self) -> None:
        due = rules.next_wakeup(self.state)
        self._wake, self._armed = None, -1
        if due is not None and due <= self.world.now:
            self.post(ev.Ticked(at=self.world.now, wall=self.wall))
        else:
            self._arm()

    # --- gossip --------------------------------------------------------------------------------------------------

    def gossip(self, topic: str, data: bytes) -> None:
        """A record arrived: the shipped validator decides."""
        if not self.up:
            return
        if topic == self.world.cases:
            self._case_heard(data)
            return
        try:
            now = self.world.now
            record = check_record(self.state.market, topic, data, self.wall, now, self.world.verify)
        except (GossipIgnore, GossipReject):
            return
        self.world.heard += 1
        self.post(ev.GossipArrived(at=now, record=record, data=data))

    def _case_heard(self, data: bytes) -> None:
        try:
            now, at, verify = self.wall, self.world.now, self.world.verify
            author, notice = check_notice(self.state.cases, self._case_rates, data, now, at, verify)
        except (GossipIgnore, GossipReject):
            return
        self._case_rates.charge(author, self.world.now)
        self.world.heard += 1
        self.post(ev.CaseHeard(at=self.world.now, author=author, notice=notice))

    def _sync_offers(self) -> None:
        """Pull the live offer set from three peers, as a joining node does."""
        others = [node for node in self.world.buyers() if node.up and node is not self]
        topic = f"/mesh/{self.env.params.name}/offers/cpu/1"
        for peer in self.world.rng.sample(others, min(3, len(others))):
            for _, envelope in list(peer.state.market.offers.differing(())):
                self.gossip(topic, envelope)

    # --- beacon --------------------------------------------------------------------------------------------------

    def hear(self, number: int) -> None:
        """One round, if it has been made by now."""
        if self.up and 0 < number <= self.world.newest_round():
            one = self.world.beacon_round(number)
            self.handle(ev.RoundArrived(at=self.world.now, beacon_round=one, gossiped=True, wall=self.wall))

    def _catch_round(self) -> None:
        """The newest round. A node with nothing at stake hears of it seldom, with its next event."""
        self._next_round = (self.world.now // 1000 + 1) * 1000
        newest = self.world.newest_round()
        behind = newest - self.state.beacon.newest
        if behind > (0 if self.state.durable.live else QUIET_ROUNDS):
            self.hear(newest)

    def _listen(self) -> None:
        """The rounds that somebody waits for, as they are made."""
        self._listening = 0
        self._catch_round()
        for number in self.state.beacon.awaited(0, self.world.newest_round() + 1):
            self.hear(number)
        if self.state.beacon.waiters and not self._listening:
            self._listening = self.life
            self.later(self.env.params.beacon.period_s * 1000, self._listen)

    # --- chain ---------------------------------------------------------------------------------------------------

    def new_head(self, block: int, stamp: UnixSeconds) -> None:
        """The chain has a new block. A node that waits for nothing hears of it with its next event."""
        if not self.up or not self.rpc_up:
            return
        due = self.state.deadlines.next()
        if self.read < len(self.feed) or (due is not None and due <= stamp):
            self.later(self.feed_ms, self.catch_up)

    def catch_up(self) -> None:
        """Everything this node's endpoint has seen by now: logs first, then the head."""
        if not self.rpc_up:
            return
        head = (self.world.now - self.feed_ms) // BLOCK_MS
        self._next_head = (head + 1) * BLOCK_MS + self.feed_ms
        while self.up and self.read < len(self.feed) and self.feed[self.read][0] <= head:
            self.handle(self._read(self.feed[self.read][1]))
            # Like the follower's cursor: behind what was made durable, never before it.
            self.read += self.up
        if self.up and head > self.state.chain_block:
            stamp = self.world.chain.time_of(head)
            self.handle(ev.ChainTimeMoved(at=self.world.now, block=head, timestamp=stamp))

    def _read(self, log: ChainLog) -> ev.Event:
        """A log as the rules hear of it. One about a channel says that it is time to look."""
        if isinstance(log, ChannelMoved):
            return self.world.channels.seen(log.client, log.provider)
        return msgspec.structs.replace(log, at=self.world.now)

    def confirmed(self, tx: Tx) -> None:
        """A transaction of ours is in a block."""
        if self.up:
            self.acknowledge(tx.key)
            self.world.chain.release(self, tx)

    def insist(self, tx: Tx) -> None:
        """A transaction of ours reverted, and may succeed yet."""
        if self.up and tx.key in self.outbox:
            self.perform(tx)

    def tx_failed(self, tx: Tx, reason: str) -> None:
        """A transaction of ours reverted."""
        if not self.up or tx.key not in self.outbox:
            return
        at = Millis(self.world.now)
        failed: ev.Event
        if isinstance(tx, fx.PostChannelTx):
            failed = ev.ChannelTxFailed(at=at, pair=tx.pair, purpose=tx.purpose, reason=reason)
        else:
            purpose = "dispute" if isinstance(tx, fx.OpenDispute) else tx.purpose
            failed = ev.TxFailed(at=at, deal_id=tx.deal_id, purpose=purpose, reason=reason)
        self.post(failed, (tx.key,))
