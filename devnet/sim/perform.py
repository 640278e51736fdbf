"""How does a simulated node carry out each effect? A table from effect type to function, as in the real shell."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from devnet.sim.chain import Tx
from protocols import effects as fx
from protocols import events as ev
from protocols.canonical import tagged_digest
from protocols.channels.inputs import post
from protocols.channels.states import book_of, pair_of
from protocols.deals import eip712
from protocols.deals.states import LocalResult, SealedBytes
from protocols.deals.terms import Level
from protocols.disputes.marks import ending_at, fingerprints_of
from protocols.hashing import sha256
from protocols.job.canonical import CanonicalJob
from protocols.mediation.access import roots_for
from protocols.messages.negotiation import DealRefusal
from protocols.signing import address_of_peer
from protocols.units import PPM, ZERO_HASH, Cid, DealId, Millis, PeerId, RunId, Tokens

if TYPE_CHECKING:
    from devnet.sim.node import SimNode

__all__ = ["PERFORM", "RETRY_MS", "result_of"]

RETRY_MS: Final = 1_000
"""Between tries of a durable message or a pull."""
FETCH_TRIES: Final = 90
"""A pull that has made no progress for that many tries is given up, as the real one is."""
REMEMBERED: Final = frozenset({"deal.receipt", "deal.rejected", "deal.mismatch_confirmed"})
"""What is kept of what nodes tell people: a scenario's questions are about these."""
TOLERANT: Final = frozenset({"canonical", "numeric", "perceptual"})
"""Levels at which two machines may differ in their bytes, and have the same result."""
FOLDER_SHA256: Final = bytes.fromhex("01701220")


def result_of(job: CanonicalJob, run_id: RunId, *, honest: bool, lie: bytes = b"wrong") -> LocalResult:
    """What any honest machine computes for a job: a function of the job and its seed alone; else of ``lie`` too."""
    seed = run_id if job.seed is None else job.seed.to_bytes(8, "big")
    digest = tagged_digest("sim-result", job.encode(), seed, b"" if honest else lie)
    return LocalResult(
        outcome=eip712.OutcomeCode.EXITED,
        exit_code=0,
        fuel=int.from_bytes(digest[:4], "big"),
        wall_ms=1,
        root=Cid(FOLDER_SHA256 + digest),
        size=1024,
        log_head=sha256(b"log", digest),
        detail="",
    )


def _publish(node: "SimNode", effect: fx.Publish) -> None:
    node.world.gossip(node, effect.topic, effect.data)


def _deliver(node: "SimNode", peer: PeerId, data: bytes) -> bool:
    world, other = node.world, node.world.nodes[peer]
    if world.tap is not None:
        world.tap.append((node.me, peer, data))
    if not world.reachable(node, other) or world.lost():
        return False
    world.connect(node, other)
    arrived = ev.MessageArrived(at=Millis(0), peer=node.me, data=data)
    copies = 2 if world.doubled() else 1
    for _ in range(copies):
        world.after(world.delay(), lambda: other.post(msgspec.structs.replace(arrived, at=world.now)))
    return True


def _send(node: "SimNode", effect: fx.Send) -> None:
    _deliver(node, effect.peer, effect.data)


def _send_durably(node: "SimNode", effect: fx.SendDurably) -> None:
    if node.outbox.get(effect.key) is not effect:
        return
    _, deal, tag = effect.key.split(":", 2)
    if (node.habits.keeps_keys and tag == "key/1") or (node.habits.freeloads and tag == "VoucherNotice"):
        node.acknowledge(effect.key)
        return
    if node.habits.leaves and tag == "VoucherNotice":
        _leave(node, effect.peer)
    if tag in ("deal_proposal/1", "deal_acceptance/1"):
        node.promised[deal] = None
    if tag == "sign_off/1":
        node.signed_off[deal] = None
    other = node.world.nodes[effect.peer]
    life = other.life
    data = effect.data
    if node.habits.fickle and tag == "deal_acceptance/1":
        deal_id = DealId(bytes.fromhex(deal))
        data = node.env.seal(DealRefusal(deal_id=deal_id, code="hold-lapsed", detail="changed its mind"))[1]
    if _deliver(node, effect.peer, data):
        node.later(2 * node.world.network.most_ms, lambda: _acked(node, effect, other, life))
    else:
        node.later(RETRY_MS, lambda: _send_durably(node, effect))


def _acked(node: "SimNode", effect: fx.SendDurably, other: "SimNode", life: int) -> None:
    """The other node has it durably, unless it died meanwhile: then once more."""
    if other.up and other.life == life:
        node.acknowledge(effect.key)
    else:
        _send_durably(node, effect)


def _read_account(node: "SimNode", effect: fx.ReadAccount) -> None:
    who, escrow = effect.operator, node.world.escrow

    def answer() -> None:
        free, stake = (Tokens(book.get(who, 0)) if node.rpc_up else Tokens(0) for book in (escrow.free, escrow.stake))
        known = node.rpc_up
        node.post(ev.AccountRead(at=node.world.now, operator=who, free=free, stake=stake, known=known))

    node.later(20, answer)


def _read_seats(node: "SimNode", effect: fx.ReadSeats) -> None:
    """As the contract's view counts them; owners are operators here."""
    world = node.world

    def answer() -> None:
        total, eligible = world.panel.seats_for(effect, world.chain.time) if world.panel else (0, 0)
        client, provider, known = effect.client, effect.provider, node.rpc_up
        node.post(
            ev.SeatsRead(at=world.now, client=client, provider=provider, total=total, eligible=eligible, known=known)
        )

    node.later(20, answer)


def _fetch_round(node: "SimNode", effect: fx.FetchRound) -> None:
    node.later(2 * node.world.delay(), lambda: node.hear(effect.number))


def _fetch(node: "SimNode", effect: fx.FetchBlobs, tries: int = 0) -> None:
    if node.outbox.get(effect.key) is not effect:
        return
    deal_id, purpose = effect.deal_id, effect.purpose
    found = next((one for one in (effect.peer, *effect.others) if _serves(node.world.nodes[one], node, effect)), None)
    if found is not None:
        node.world.connect(node, node.world.nodes[found])
        node.later(node.world.delay() * 3, lambda: _fetched(node, effect))
    elif tries < FETCH_TRIES or purpose == "inputs":
        node.later(RETRY_MS, lambda: _fetch(node, effect, tries + 1))
    else:
        detail = "the provider serves nothing"
        failed = ev.BlobsFailed(at=node.world.now, deal_id=deal_id, purpose=purpose, code="timeout", detail=detail)
        node.post(failed, (effect.key,))


def _serves(other: "SimNode", node: "SimNode", effect: fx.FetchBlobs) -> bool:
    """Whether a peer can be reached and lets this node pull everything that it asks for: of its own deal, or of a dispute."""
    if other is node or other.habits.withholds or not node.world.reachable(node, other):
        return False
    if other.served.get(effect.deal_id) == node.me:
        return True
    roots = roots_for(other.state, node.me, effect.deal_id)
    return bool(roots) and all(one.root in roots for one in effect.roots)


def _fetched(node: "SimNode", effect: fx.FetchBlobs) -> None:
    if node.outbox.get(effect.key) is effect:
        arrived = ev.BlobsArrived(at=node.world.now, deal_id=effect.deal_id, purpose=effect.purpose)
        node.post(arrived, (effect.key,))


def _serve(node: "SimNode", effect: fx.ServeBlobs) -> None:
    node.served[effect.deal_id] = effect.peer


def _stop_serving(node: "SimNode", effect: fx.StopServing) -> None:
    node.served.pop(effect.deal_id, None)


def _lie(node: "SimNode", deal_id: DealId) -> bytes:
    """What a provider makes of a job that it does not run; empty for one that it does. Liars all tell the same lie."""
    if not node.habits.honest:
        return b"wrong"
    made_up = tagged_digest("sim-cheat", node.me, deal_id)
    if int.from_bytes(made_up[:8]) * PPM >= node.habits.cheat_ppm << 64:
        return b""
    node.cheated[deal_id] = None
    return made_up


def _misjudged(node: "SimNode") -> bytes:
    """The same for who runs a job again."""
    return bytes(node.me) if node.habits.misjudges else b""


def _on_this_machine(node: "SimNode", job: CanonicalJob, root: Cid) -> Cid:
    """The last byte of an output is what differs between machines, at the levels that tolerate it."""
    tolerant = job.verify.level in TOLERANT
    return Cid(root[:-1] + bytes([root[-1] ^ node.habits.noise])) if tolerant and node.habits.noise else root


def _limited(node: "SimNode", job: CanonicalJob, result: LocalResult, *, audit: bool) -> LocalResult:
    """The result, unless this machine is too slow for the job, or its owner says that it met a limit."""
    idle = node.habits.idles and not audit
    result = msgspec.structs.replace(result, wall_ms=node.habits.takes_ms)
    if not idle and node.habits.takes_ms <= job.limits.wall_s * 1_000:
        return result
    outcome = node.habits.excuse if idle else eip712.OutcomeCode.TIMEOUT
    nothing = Cid(FOLDER_SHA256 + bytes(32))
    return msgspec.structs.replace(result, outcome=outcome, exit_code=-1, fuel=0, root=nothing)


def _run_job(node: "SimNode", effect: fx.RunJob) -> None:
    rng = node.world.rng
    job = CanonicalJob.decode(effect.job)
    lie = _misjudged(node) if effect.audit else _lie(node, effect.deal_id)
    result = result_of(job, effect.run_id or RunId(effect.deal_id), honest=not lie, lie=lie)
    result = msgspec.structs.replace(result, root=_on_this_machine(node, job, result.root))
    if node.habits.noisy and not effect.audit:
        result = msgspec.structs.replace(result, root=Cid(result.root[:-1] + bytes([result.root[-1] ^ 1])))
    result = _limited(node, job, result, audit=effect.audit)
    if rng.randrange(1_000_000) < node.habits.infra_ppm:
        outcome = eip712.OutcomeCode.INFRA_ERROR
        result = msgspec.structs.replace(result, outcome=outcome, detail="the executor broke down")
    if effect.seal:
        sealed = SealedBytes(Cid(FOLDER_SHA256 + tagged_digest("sim-sealed", effect.seal, result.root)), result.size)
        node.world.sealed[sealed.root] = (effect.seal, result.root, result.size)
        result = msgspec.structs.replace(result, sealed=sealed)
    kind = ev.AuditCompleted if effect.audit else ev.JobEnded

    def ended() -> None:
        if node.outbox.get(effect.key) is effect:
            if result.outcome != eip712.OutcomeCode.INFRA_ERROR:
                node.results[effect.deal_id] = None
            node.post(kind(at=node.world.now, deal_id=effect.deal_id, result=result), (effect.key,))

    node.later(rng.randint(200, 8_000), ended)


def _unseal(node: "SimNode", effect: fx.Unseal) -> None:
    """The key that it was sealed under opens it, no other."""
    key, root, size = node.world.sealed.get(effect.root, (b"", effect.root, 0))

    def ended() -> None:
        if node.outbox.get(effect.key) is not effect:
            return
        at, deal_id = node.world.now, effect.deal_id
        opened = ev.Unsealed(at=at, deal_id=deal_id, root=root, size=size)
        failed = ev.BlobsFailed(at=at, deal_id=deal_id, purpose="unseal", code="malformed", detail="another key")
        node.post(opened if key == effect.secret else failed, (effect.key,))

    node.later(100, ended)


def _compare(node: "SimNode", effect: fx.CompareOutputs) -> None:
    """Results of noisy machines are those of the others but for their last byte."""
    same = tuple(
        (one.outcome, one.exit_code, one.root[:-1]) == (effect.ran.outcome, effect.ran.exit_code, effect.ran.root[:-1])
        for one in effect.others
    )

    def ended() -> None:
        if node.outbox.get(effect.key) is effect:
            owner, deal_id = effect.ran.owner, effect.deal_id
            answer = ev.OutputsCompared(at=node.world.now, deal_id=deal_id, owner=owner, same=same, detail="simulated")
            node.post(answer, (effect.key,))

    node.later(node.world.rng.randint(200, 2_000), ended)


def _mark(node: "SimNode", effect: fx.MarkOutput) -> None:
    """Here an output is its root; beside that nobody holds a byte of it. Its normal form lacks what differs between machines."""
    ran, level = effect.ran, Level[CanonicalJob.decode(effect.job).verify.level.upper()]
    ending = ending_at(level, ran.outcome, ran.exit_code, ran.fuel)
    marks = fingerprints_of(effect.keys, ending, (ran.root[:-1] if level is Level.CANONICAL else ran.root,))

    def ended() -> None:
        if node.outbox.get(effect.key) is effect:
            at, deal_id = node.world.now, effect.deal_id
            answer = ev.OutputMarked(at=at, deal_id=deal_id, ran=ran, keys=effect.keys, marks=marks)
            node.post(answer, (effect.key,))

    node.later(100, ended)


def _post_tx(node: "SimNode", effect: Tx) -> None:
    if node.outbox.get(effect.key) is not effect:
        return
    if not node.rpc_up:
        node.later(RETRY_MS, lambda: _post_tx(node, effect))
        return
    node.later(node.feed_ms, lambda: node.world.chain.post(node, effect))
    if node.habits.thief and isinstance(effect, fx.PostTx) and effect.purpose == "commit":
        node.later(3_000, lambda: _steal(node, effect))


def _steal(node: "SimNode", effect: fx.PostTx) -> None:
    """Settle for the whole price, with our own signature in place of the client's."""
    deal = effect.deal
    forged = node.env.signer.sign(
        eip712.digest(node.env.domain, eip712.Settlement(deal_id=effect.deal_id, paid=deal.price))
    )
    tx = fx.PostTx(
        key=f"steal:{effect.deal_id.hex()}",
        deal_id=effect.deal_id,
        purpose="settle",
        deal=deal,
        amount=deal.price,
        signature=forged,
        result_hash=ZERO_HASH,
    )
    node.world.chain.post(node, tx)


def _leave(node: "SimNode", peer: PeerId) -> None:
    """Close the channel with this provider on chain, now and when it may be, whatever its node's rules would do."""
    book = book_of(node.state.durable.channels[pair_of(node.env.signer.address, address_of_peer(peer))].state)
    if book is None:
        return
    node.world.chain.post(node, post(book, "request_close", "left"))
    node.later(
        (node.world.channels.exit_delay + 5) * 1000, lambda: node.world.chain.post(node, post(book, "close", "left"))
    )


def _read_channel(node: "SimNode", effect: fx.ReadChannel) -> None:
    """An endpoint that does not answer is not asked again: the next log is."""

    def answer() -> None:
        if node.rpc_up:
            node.post(node.world.channels.seen(effect.client, effect.provider))

    node.later(20, answer)


def _notify(node: "SimNode", effect: fx.Notify) -> None:
    if effect.name in REMEMBERED:
        node.said[effect.name, DealId(bytes.fromhex(effect.fields["deal"]))] = effect.fields


def _prove_fraud(node: "SimNode", effect: fx.ProveFraud) -> None:
    """Nobody here signs two results: a node that says so is broken."""
    raise AssertionError(f"a provider that signs once was caught signing twice: {effect}")


def _nothing(node: "SimNode", effect: Any) -> None:
    """Cancelling is implied: what was dropped from the outbox answers no more."""


PERFORM: Final[dict[type[fx.Effect], Callable[["SimNode", Any], None]]] = {
    fx.Publish: _publish,
    fx.Send: _send,
    fx.SendDurably: _send_durably,
    fx.Penalise: _nothing,
    fx.ReadAccount: _read_account,
    fx.ReadSeats: _read_seats,
    fx.FetchRound: _fetch_round,
    fx.FetchBlobs: _fetch,
    fx.CancelFetch: _nothing,
    fx.ServeBlobs: _serve,
    fx.StopServing: _stop_serving,
    fx.RunJob: _run_job,
    fx.CompareOutputs: _compare,
    fx.MarkOutput: _mark,
    fx.Unseal: _unseal,
    fx.CancelJob: _nothing,
    fx.PostTx: _post_tx,
    fx.CallPanel: _post_tx,
    fx.OpenDispute: _post_tx,
    fx.PostChannelTx: _post_tx,
    fx.ProveFraud: _prove_fraud,
    fx.ReadChannel: _read_channel,
    fx.DropEffects: _nothing,
    fx.Notify: _notify,
}
