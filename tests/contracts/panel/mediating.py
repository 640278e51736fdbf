"""How do a provider's, a client's and many mediators' nodes carry a dispute through the real panel? Shipped rules, a small bus.

Messages, notices and pulls go from node to node; the executor's word is what a test says. Time is the chain's, and moves a
second whenever nobody has anything to do.
"""

from collections import deque
from typing import TYPE_CHECKING

import msgspec

from devnet.sim.workload import toy_job
from mesh.base.keys import NodeKey
from protocols import effects as fx
from protocols import events as ev
from protocols.contracts import calls, panel
from protocols.deals.eip712 import Level, OutcomeCode, ResultCommit, digest
from protocols.deals.states import Claimed, Commitment, DealTerms, LocalResult, Ran
from protocols.disputes import states as st
from protocols.disputes.file import PanelLog
from protocols.disputes.marks import ending_at, fingerprints_of
from protocols.disputes.record import Record, record_of
from protocols.env import Env
from protocols.envelope import open_
from protocols.errors import GossipIgnore, GossipReject
from protocols.handlers.outputs import PURPOSE
from protocols.hashing import keccak256, sha256
from protocols.job.canonical import CanonicalJob, job_id_of, run_id_of
from protocols.limits import DEVNET
from protocols.mediation.access import roots_for
from protocols.mediation.case import result_bytes
from protocols.mediation.gossip import check_notice
from protocols.messages.deal import ResultNotice
from protocols.node import handle
from protocols.offers.rates import Rates
from protocols.state import CLIENT, PROVIDER, Half, NodeState
from protocols.units import ZERO_HASH, Cid, Hash32, Millis, PeerId, Signature, UnixSeconds

if TYPE_CHECKING:
    from tests.contracts.conftest import Key
    from tests.contracts.panel.court import PanelWorld

__all__ = ["JOB", "RIGHT", "WRONG", "Mediated", "Node", "ran"]

FOLDER = bytes.fromhex("01701220")
RIGHT, WRONG = Cid(FOLDER + keccak256(b"right")), Cid(FOLDER + keccak256(b"wrong"))
RFQ = Hash32(sha256(b"rfq"))
JOB = toy_job(7)
MAX_STEPS = 600


def ran(root: Cid, outcome: OutcomeCode = OutcomeCode.EXITED) -> LocalResult:
    """What an executor comes to."""
    return LocalResult(
        outcome=outcome, exit_code=0, fuel=7, wall_ms=8, root=root, size=100, log_head=ZERO_HASH, detail=""
    )


def _form(ran: Ran) -> tuple[int, int, bytes]:
    return ran.outcome, ran.exit_code, ran.root[:-1]


class Node:
    """One node: shipped rules, what it has called for, and its way to crash."""

    def __init__(self, key: "Key", scene: "Mediated") -> None:
        self.key, self.scene = key, scene
        self.signer = NodeKey(keccak256(key.name.encode()))
        assert self.signer.address == key.address
        self.env = Env(params=scene.params, signer=self.signer, domain=scene.court.domain)
        self.state = NodeState("devnet")
        self.rates = Rates()
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.outbox: dict[str, fx.DurableEffect] = {}
        self.said: list[str] = []
        self.ran = 0
        self.heard = 0
        self.result = ran(RIGHT)
        self.serves_to: set[PeerId] | None = None
        self.up = True
        self.calls = True
        """Whether its calls reach the chain."""
        self.full = False
        """Whether its own store takes nothing."""
        self.slow = False
        """Whether its runs do not end."""
        self.too_large = False
        """Whether the output that it shows is more than its job may write."""

    @property
    def me(self) -> PeerId:
        return self.signer.peer_id

    def serves(self, other: "Node") -> bool:
        return self.serves_to is None or other.me in self.serves_to

    def post(self, event: ev.Event, done: str = "") -> None:
        """Hand in an event; ``done`` is the key of the effect that it answers."""
        self.outbox.pop(done, None)
        effects = handle(self.state, event, self.env)
        for row in self.state.durable.drain_dirty():
            if row.data is None:
                self.rows.pop((row.kind, row.id), None)
            else:
                self.rows[row.kind, row.id] = row.data
        for effect in effects:
            self._perform(effect)

    def _perform(self, effect: fx.Effect) -> None:
        match effect:
            case fx.DropEffects(prefix=prefix):
                self.outbox = {key: one for key, one in self.outbox.items() if not key.startswith(prefix + ":")}
                self.outbox = {key: one for key, one in self.outbox.items() if key != prefix}
            case fx.DurableEffect(key=key):
                self.outbox.setdefault(key, effect)
            case fx.Notify(name=name):
                self.said.append(name)
            case fx.Publish() | fx.Send():
                self.scene.bus.append((self, effect))
            case _:
                pass

    def restart(self) -> None:
        """A crash: rows and outbox are left."""
        self.state = NodeState("devnet")
        for (kind, key), data in self.rows.items():
            self.state.durable.restore(kind, key, data)
        self.start()

    def start(self) -> None:
        """It is up, and has a peer."""
        self.post(ev.NodeStarted(at=self.scene.at, wall=self.scene.wall, incarnation=ZERO_HASH))
        self.post(ev.PeerCameUp(at=self.scene.at, peer=self.scene.client.me))


class Mediated:
    """A dispute whose parties and seats are all nodes."""

    def __init__(
        self,
        court: "PanelWorld",
        *,
        provider: Cid = RIGHT,
        reason: st.Reason = st.Reason.WRONG,
        level: Level = Level.EXACT,
        job: CanonicalJob = JOB,
    ) -> None:
        self.job = job
        self.court = court
        self.params = msgspec.structs.replace(DEVNET, panel=court.panel)
        self.bus: deque[tuple[Node, fx.Publish | fx.Send]] = deque()
        self.logs: list[tuple[tuple[bytes, ...], bytes]] = []
        self.sent: list[tuple[str, str]] = []
        self.restarts = False
        self.deal_id = self._commit(provider, level)
        self.client, self.provider = Node(court.client, self), Node(court.provider, self)
        self.seats = [Node(key, self) for key in court.mediators]
        self.nodes = [self.client, self.provider, *self.seats]
        self._give_deals()
        secret = self.client.signer.derive("client-secret", RFQ)
        data = panel.dispute(self.deal, self.lock, self.result_hash, secret, reason)
        for node in self.nodes:
            node.start()
        self.send(self.client, "dispute", data)

    @property
    def at(self) -> Millis:
        return Millis(self.court.now * 1000)

    @property
    def wall(self) -> UnixSeconds:
        return UnixSeconds(self.court.now)

    def _commit(self, root: Cid, level: Level) -> bytes:
        court = self.court
        secrets = {
            f"{side}_secret_hash": keccak256(NodeKey(keccak256(side.encode())).derive(f"{side}-secret", RFQ))
            for side in ("client", "provider")
        }
        deal = msgspec.structs.replace(court.deal(), job_id=job_id_of(self.job), level=level, **secrets)
        self.deal, self.lock, self.root = deal, court.commit_deal(deal), root
        salt = NodeKey(keccak256(b"provider")).derive("result-salt", self.lock.deal_id)
        self.commit = ResultCommit(
            deal_id=self.lock.deal_id,
            salted_root=keccak256(salt, root[4:]),
            outcome=OutcomeCode.EXITED,
            exit_code=0,
            fuel=7,
            wall_ms=8,
            log_head=ZERO_HASH,
        )
        self.salt, self.result_hash = salt, digest(court.domain, self.commit)
        court.world.send(court.provider, calls.claim(self.lock, self.result_hash))
        return self.lock.deal_id

    def _give_deals(self) -> None:
        deal = self.deal
        terms = DealTerms(
            deal_id=self.lock.deal_id,
            deal=deal,
            client=self.client.me,
            provider=self.provider.me,
            run_id=run_id_of(deal.job_id, deal.client, deal.run_nonce),
            rfq_id=RFQ,
            inputs=(),
            client_signature=Signature(bytes(65)),
            provider_signature=None,
        )
        notice = ResultNotice(
            commit=self.commit, signature=Signature(bytes(65)), root=self.root, salt=self.salt, size=100
        )
        on = Commitment(ZERO_HASH, 1, self.wall)
        claimed = Claimed(terms, on, notice, self.wall, ZERO_HASH, self.result_hash)
        for node, role in ((self.client, CLIENT), (self.provider, PROVIDER)):
            node.state.durable.put_deal(self.lock.deal_id, Half(role, claimed))
            node.state.durable.put_job(deal.job_id, self.job.encode())

    # --- what goes on --------------------------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        record = record_of(self.logs)
        assert record is not None
        return record

    def send(self, node: Node, name: str, data: bytes) -> None:
        self.court.send(node.key, data)
        self.sent.append((node.key.name, name))
        self.logs += [(tuple(bytes(t) for t in log.data[0]), bytes(log.data[1])) for log in self.court.world._logs]

    def step(self) -> bool:
        """Everybody hears what there is, messages travel, and one call is made; False when there was none."""
        for node in self.nodes:
            if node.up:
                self._hears(node)
        while self.bus:
            self._carry(*self.bus.popleft())
        worked = [self._works(node) for node in self.nodes if node.up]
        while self.bus:
            self._carry(*self.bus.popleft())
        for node in self.nodes:
            for key, effect in list(node.outbox.items()) if node.up and node.calls else ():
                if isinstance(effect, fx.CallPanel):
                    del node.outbox[key]
                    self.send(node, effect.purpose, effect.data)
                    return True
        return any(worked)

    def _hears(self, node: Node) -> None:
        for at, (topics, data) in enumerate(self.logs[node.heard :], node.heard):
            log = PanelLog(at, 0, Hash32(sha256(at.to_bytes(4))), topics, data)
            node.post(ev.DisputeLogged(at=self.at, deal_id=self.lock.deal_id, log=log))
        node.heard = len(self.logs)
        node.post(ev.ChainTimeMoved(at=self.at, block=1, timestamp=self.court.now))
        node.post(ev.Ticked(at=self.at, wall=self.wall))
        if self.restarts:
            node.restart()

    def _carry(self, sender: Node, effect: fx.Publish | fx.Send) -> None:
        if isinstance(effect, fx.Send):
            target = next((one for one in self.nodes if one.me == effect.peer and one.up), None)
            if target is not None:
                target.post(ev.MessageArrived(at=self.at, peer=sender.me, data=effect.data))
            return
        for node in self.nodes:
            if node is not sender and node.up:
                self.tell(node, effect.data)

    def tell(self, node: Node, data: bytes) -> str:
        """Gossip for a node; why it was not taken, if it was not."""
        try:
            author, notice = check_notice(
                node.state.cases,
                node.rates,
                data,
                self.wall,
                self.at,
                lambda envelope: open_(node.signer, "devnet", envelope),
            )
        except (GossipIgnore, GossipReject) as error:
            return f"{type(error).__name__}: {error}"
        node.post(ev.CaseHeard(at=self.at, author=author, notice=notice))
        return ""

    def _works(self, node: Node) -> bool:
        """Pulls that somebody serves arrive, jobs end."""
        busy = False
        for key, effect in list(node.outbox.items()):
            if isinstance(effect, fx.FetchBlobs) and (node.full or not self._served(node, effect)):
                why = "no room" if node.full else "nobody serves it"
                node.post(
                    ev.PullWaited(
                        at=self.at, deal_id=effect.deal_id, purpose=effect.purpose, ours=node.full, detail=why
                    )
                )
            elif isinstance(effect, fx.FetchBlobs) and self._too_large(effect):
                assert effect.roots[0].size == result_bytes(self.job)
                failed = ev.BlobsFailed(
                    at=self.at, deal_id=effect.deal_id, purpose=effect.purpose, code="too_large", detail="beyond"
                )
                node.post(failed, key)
                busy = True
            elif isinstance(effect, fx.FetchBlobs):
                arrived = ev.BlobsArrived(at=self.at, deal_id=effect.deal_id, purpose=effect.purpose)
                node.post(arrived, key)
                busy = True
            elif isinstance(effect, fx.RunJob) and not node.slow:
                assert effect.run_id == run_id_of(self.deal.job_id, self.deal.client, self.deal.run_nonce)
                node.ran += 1
                node.post(ev.AuditCompleted(at=self.at, deal_id=effect.deal_id, result=node.result), key)
                busy = True
            elif isinstance(effect, fx.MarkOutput | fx.CompareOutputs):
                node.post(self._looked_at(effect), key)
                busy = True
        return busy

    def _too_large(self, effect: fx.FetchBlobs) -> bool:
        return any(one.too_large and one.me == effect.peer and effect.purpose.startswith(PURPOSE) for one in self.nodes)

    def _looked_at(self, effect: fx.MarkOutput | fx.CompareOutputs) -> ev.Event:
        """Here the last byte of a root is what a normal form forgets, and a tolerance allows."""
        ran = effect.ran
        if isinstance(effect, fx.CompareOutputs):
            same = tuple(_form(one) == _form(ran) for one in effect.others)
            return ev.OutputsCompared(at=self.at, deal_id=effect.deal_id, owner=ran.owner, same=same, detail="")
        ending = ending_at(self.deal.level, ran.outcome, ran.exit_code, ran.fuel)
        content = ran.root[:-1] if self.deal.level is Level.CANONICAL else ran.root
        marks = fingerprints_of(effect.keys, ending, (content,))
        return ev.OutputMarked(at=self.at, deal_id=effect.deal_id, ran=ran, keys=effect.keys, marks=marks)

    def _served(self, node: Node, effect: fx.FetchBlobs) -> bool:
        """Whether one of those it asks serves all of it."""
        wanted = {root.root for root in effect.roots}
        asked = (effect.peer, *effect.others)
        sources = [one for one in self.nodes if one.me in asked and one.up and one.serves(node)]
        return any(wanted <= set(roots_for(one.state, node.me, effect.deal_id)) for one in sources)

    def run(self) -> st.Row | None:
        """To the end; the row."""
        for _ in range(MAX_STEPS):
            if self.record.over:
                self.step()
                return self.record.row
            if not self.step():
                self.court.world.warp_to(self.court.now + 1)
        raise AssertionError(f"no end: {self.sent}")

    def until(self, phase: st.Phase) -> None:
        """To a phase of the first panel."""
        for _ in range(MAX_STEPS):
            if self.record.phase is phase:
                return
            if not self.step():
                self.court.world.warp_to(self.court.now + 1)
        raise AssertionError(f"{phase.name} was never reached: {self.sent}")

    def drawn(self) -> list[Node]:
        """The nodes that sit in the first panel, by place."""
        (first, *_) = self.record.sittings
        by_address = {node.key.address: node for node in self.seats}
        return [by_address[place.operator] for place in first.places]
