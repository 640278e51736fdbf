"""What stands around one simulated core? A shell with virtual sockets, disk, executor and chain, that can be killed.

Like the real engine it makes rows and durable effects survive before any effect leaves. A kill forgets everything else;
a restart restores the rows and performs what was not acknowledged, once more.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from protocols import effects as fx
from protocols import events as ev
from protocols import node as rules
from protocols.canonical import tagged_digest
from protocols.deals.states import LocalResult
from protocols.env import Env
from protocols.envelope import open_
from protocols.errors import GossipIgnore, GossipReject
from protocols.hashing import sha256
from protocols.job.canonical import CanonicalJob
from protocols.offers.records import ResourceOffer
from protocols.offers.validators import check_record
from protocols.state import NodeState
from protocols.units import Cid, DealId, Millis, PeerId, Tokens, UnixSeconds

if TYPE_CHECKING:
    from devnet.sim.world import World

__all__ = ["RETRY_MS", "SimNode"]

RETRY_MS: Final = 1_000
"""Between tries of a durable message or a pull."""
START_WALL: Final = 1_795_000_000
RAW_SHA256: Final = bytes.fromhex("01551220")


def result_of(job: CanonicalJob, deal_id: DealId, *, honest: bool) -> LocalResult:
    """What any honest machine computes for a job: a function of the job and its seed alone."""
    seed = deal_id if job.seed is None else job.seed.to_bytes(8, "big")
    digest = tagged_digest("sim-result", job.encode(), seed, b"" if honest else b"wrong")
    return LocalResult(
        outcome=0,
        exit_code=0,
        fuel=int.from_bytes(digest[:4], "big"),
        wall_ms=1,
        root=Cid(RAW_SHA256 + digest),
        size=1024,
        log_head=sha256(b"log", digest),
        detail="",
    )


class SimNode:
    """One node of a `World`."""

    def __init__(self, world: "World", env: Env) -> None:
        self.world = world
        self.env = env
        self.me: PeerId = env.me
        self.state = NodeState(env.params.name)
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.outbox: dict[str, fx.DurableEffect] = {}
        self.offer: ResourceOffer | None = None
        self.slots = 2
        self.honest = True
        self.up = False
        self.buried = False
        """Killed for good."""
        self.life = 0
        """Counts starts: what an earlier life scheduled does not happen in a later one."""
        self.served: dict[DealId, PeerId] = {}
        self.chain_log: list[ev.DealMovedOnChain] = []
        self.chain_read = 0
        self.steps = 0
        self.die_at_step: int | None = None
        """Kill this node when it has made that many durable transitions, before their effects leave."""
        self._wake: int | None = None

    def start(self) -> None:
        """Come up, or come back."""
        self.up, self.life, self._wake = True, self.life + 1, None
        self.state = NodeState(self.env.params.name)
        for (kind, key), data in self.rows.items():
            self.state.durable.restore(kind, key, data)
        incarnation = sha256(b"sim-life", self.me, self.life.to_bytes(4, "big"))
        self.world.note("start", self.world.now, self.me.hex()[-8:])
        self.post(ev.NodeStarted(at=self.world.now, wall=self.wall, incarnation=incarnation))
        for peer in self.world.nodes:
            if peer != self.me and self.world.reachable(self.me, peer):
                self.post(ev.PeerCameUp(at=self.world.now, peer=peer))
                self.world.nodes[peer].post(ev.PeerCameUp(at=self.world.now, peer=self.me))
        if self.offer is not None:
            self.post(ev.ProviderChanged(at=self.world.now, offer=self.offer, slots=self.slots, queue=1))
        self.sync_offers()
        for effect in list(self.outbox.values()):
            self.perform(effect)
        self.read_chain()

    def kill(self) -> None:
        """kill -9: everything that is not a row or in the outbox is gone."""
        if not self.up:
            return
        self.up, self.served = False, {}
        self.world.note("kill", self.world.now, self.me.hex()[-8:])
        for peer, node in self.world.nodes.items():
            if peer != self.me and node.up:
                self.world.after(self.world.delay(), lambda node=node: node.post_down(self.me))  # type: ignore[misc]

    @property
    def wall(self) -> UnixSeconds:
        """The wall clock."""
        return UnixSeconds(START_WALL + self.world.now // 1000)

    def later(self, delay: int, what: Callable[[], None]) -> None:
        """Do something later in this life."""
        life = self.life
        self.world.after(delay, lambda: what() if self.up and self.life == life else None)

    def post(self, event: ev.Event, acks: tuple[str, ...] = ()) -> None:
        """One event through the shipped rules, then rows and outbox, then effects."""
        if not self.up:
            return
        self.world.events += 1
        effects = rules.handle(self.state, event, self.env)
        rows = self.state.durable.drain_dirty()
        for key in acks:
            self.outbox.pop(key, None)
        fresh = self._remember(effects)
        for row in rows:
            if row.data is not None:
                self.rows[(row.kind, row.id)] = row.data
        if rows or fresh:
            self.steps += 1
            self.world.note(self.world.now, self.me.hex()[-8:], type(event).__name__, [r.kind for r in rows])
            if self.die_at_step == self.steps:
                self.kill()
                return
        for effect in effects:
            if not isinstance(effect, fx.DurableEffect) or effect.key in fresh:
                self.perform(effect)
        self._arm()

    def _remember(self, effects: list[fx.Effect]) -> set[str]:
        fresh: set[str] = set()
        for effect in effects:
            match effect:
                case fx.DropEffects(prefix=prefix):
                    for key in [k for k in self.outbox if k.startswith(prefix)]:
                        del self.outbox[key]
                        fresh.discard(key)
                case fx.DurableEffect(key=key) if key not in self.outbox:
                    self.outbox[key] = effect
                    fresh.add(key)
                case _:
                    pass
        return fresh

    def _arm(self) -> None:
        due = rules.next_wakeup(self.state)
        if due is not None and (self._wake is None or due < self._wake):
            self._wake = due
            self.later(max(due - self.world.now, 0), self._tick)

    def _tick(self) -> None:
        self._wake = None
        self.post(ev.Ticked(at=self.world.now, wall=self.wall))

    def post_down(self, peer: PeerId) -> None:
        """A connection broke."""
        self.post(ev.PeerWentDown(at=self.world.now, peer=peer))

    def gossip(self, topic: str, data: bytes) -> None:
        """A record arrived: the shipped validator decides."""
        if not self.up:
            return
        try:
            record = check_record(
                self.state.market,
                topic,
                data,
                self.wall,
                self.world.now,
                lambda envelope: open_(self.env.signer, self.env.params.name, envelope),
            )
        except (GossipIgnore, GossipReject):
            return
        self.post(ev.GossipArrived(at=self.world.now, record=record, data=data))

    def sync_offers(self) -> None:
        """Pull the live offer set from three peers, as a joining node does."""
        others = [n for n in self.world.nodes.values() if n.up and n is not self]
        for peer in self.world.rng.sample(others, min(3, len(others))):
            for _, envelope in peer.state.market.offers.differing(()):
                topic = f"/mesh/{self.env.params.name}/offers/cpu/1"
                self.gossip(topic, envelope)

    def tell_time(self, block: int, stamp: UnixSeconds) -> None:
        """A new head."""
        self.post(ev.ChainTimeMoved(at=self.world.now, block=block, timestamp=stamp))

    def read_chain(self) -> None:
        """Everything the chain logged for this node since it last looked, in order; a cursor survives kills."""
        while self.up and self.chain_read < len(self.chain_log):
            event = self.chain_log[self.chain_read]
            self.chain_read += 1
            self.post(msgspec.structs.replace(event, at=self.world.now))

    def confirmed(self, tx: fx.PostTx) -> None:
        """A transaction of ours is in a block."""
        self.outbox.pop(tx.key, None)

    def tx_failed(self, tx: fx.PostTx, reason: str) -> None:
        """A transaction of ours reverted."""
        if self.up and tx.key in self.outbox:
            failed = ev.TxFailed(at=self.world.now, deal_id=tx.deal_id, purpose=tx.purpose, reason=reason)
            self.post(failed, (tx.key,))

    def perform(self, effect: fx.Effect) -> None:
        """Start an effect."""
        _PERFORM[type(effect)](self, effect)

    def _publish(self, effect: fx.Publish) -> None:
        self.world.gossip(self.me, effect.topic, effect.data)

    def _deliver(self, peer: PeerId, data: bytes) -> bool:
        if not self.world.reachable(self.me, peer) or self.world.lost():
            return False
        node = self.world.nodes[peer]
        arrived = ev.MessageArrived(at=Millis(0), peer=self.me, data=data)
        self.world.after(
            self.world.delay(), lambda: node.post(msgspec.structs.replace(arrived, at=self.world.now))
        )
        return True

    def _send(self, effect: fx.Send) -> None:
        self._deliver(effect.peer, effect.data)

    def _send_durably(self, effect: fx.SendDurably) -> None:
        if self.outbox.get(effect.key) is not effect:
            return
        if self._deliver(effect.peer, effect.data):
            peer, life = self.world.nodes[effect.peer], self.world.nodes[effect.peer].life
            self.later(2 * self.world.network.most_ms, lambda: self._acked(effect, peer, life))
        else:
            self.later(RETRY_MS, lambda: self._send_durably(effect))

    def _acked(self, effect: fx.SendDurably, peer: "SimNode", life: int) -> None:
        """The other node has it durably, unless it died meanwhile: then once more."""
        if peer.up and peer.life == life:
            self.outbox.pop(effect.key, None)
        else:
            self._send_durably(effect)

    def _read_account(self, effect: fx.ReadAccount) -> None:
        who = effect.operator

        def answer() -> None:
            free = self.world.escrow.free.get(who, 0)
            stake = self.world.escrow.stake.get(who, 0)
            self.post(ev.AccountRead(at=self.world.now, operator=who, free=Tokens(free), stake=Tokens(stake), known=True))

        self.later(20, answer)

    def _fetch(self, effect: fx.FetchBlobs, tries: int = 0) -> None:
        if self.outbox.get(effect.key) is not effect:
            return
        peer = self.world.nodes[effect.peer]
        if self.world.reachable(self.me, effect.peer) and peer.served.get(effect.deal_id) == self.me:
            held = ev.BlobsArrived(at=Millis(0), deal_id=effect.deal_id, purpose=effect.purpose)
            self.later(
                self.world.delay() * 3,
                lambda: self.post(msgspec.structs.replace(held, at=self.world.now), (effect.key,)),
            )
        else:
            self.later(RETRY_MS, lambda: self._fetch(effect, tries + 1))

    def _serve(self, effect: fx.ServeBlobs) -> None:
        self.served[effect.deal_id] = effect.peer

    def _stop_serving(self, effect: fx.StopServing) -> None:
        self.served.pop(effect.deal_id, None)

    def _run_job(self, effect: fx.RunJob) -> None:
        job = CanonicalJob.decode(effect.job)
        result = result_of(job, effect.deal_id, honest=self.honest or effect.audit)
        kind = ev.AuditCompleted if effect.audit else ev.JobEnded
        took = self.world.rng.randint(200, 8_000)

        def ended() -> None:
            if self.outbox.get(effect.key) is effect:
                self.post(kind(at=self.world.now, deal_id=effect.deal_id, result=result), (effect.key,))

        self.later(took, ended)

    def _post_tx(self, effect: fx.PostTx) -> None:
        self.later(self.world.delay(), lambda: self.world.post(self, effect))

    def _nothing(self, effect: Any) -> None:
        """Cancelling is implied: what was dropped from the outbox answers no more."""


_PERFORM: Final[dict[type[fx.Effect], Callable[[SimNode, Any], None]]] = {
    fx.Publish: SimNode._publish,
    fx.Send: SimNode._send,
    fx.SendDurably: SimNode._send_durably,
    fx.Penalise: SimNode._nothing,
    fx.ReadAccount: SimNode._read_account,
    fx.FetchBlobs: SimNode._fetch,
    fx.CancelFetch: SimNode._nothing,
    fx.ServeBlobs: SimNode._serve,
    fx.StopServing: SimNode._stop_serving,
    fx.RunJob: SimNode._run_job,
    fx.CancelJob: SimNode._nothing,
    fx.PostTx: SimNode._post_tx,
    fx.DropEffects: SimNode._nothing,
    fx.Notify: SimNode._nothing,
}
