"""Is every effect performed, retried, cancelled and contained as it should be?"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

import msgspec
import pytest
import trio
import trio.testing

from devnet.sim.memory_link import MemoryHub
from devnet.sim.signer import KeyRing
from mesh.base.errors import Defect
from mesh.chain.errors import ChainUnreachable
from mesh.effects import AT_ONCE, PERFORMERS, FetchGaveUp, TxRejected
from mesh.store.blobs.errors import BlobStoreFailed
from protocols import effects as fx
from protocols import events as ev
from protocols.deals import eip712
from protocols.deals.states import Ran
from protocols.hashing import keccak256
from protocols.messages.negotiation import InputRoot
from protocols.messages.registry import DEAL_PROTOCOL
from protocols.units import ZERO_HASH, Address, Cid, DealId, Hash32, Millis, PeerId, RunId, Signature, Tokens
from tests.mesh.effects_bench import Bench, Parts

if TYPE_CHECKING:
    from tests.mesh.conftest import Loop

DEAL = DealId(b"\xaa" * 32)
HEX = DEAL.hex()
RUN_ID = RunId(b"\xbb" * 32)
ROOT = InputRoot(Cid(b"root"), 10)
FETCH = fx.FetchBlobs(key=f"fetch:{HEX}:inputs", deal_id=DEAL, purpose="inputs", peer=PeerId(b"p"), roots=(ROOT, ROOT))
RUN = fx.RunJob(key=f"run:{HEX}", deal_id=DEAL, run_id=RUN_ID, job=b"job", audit=False)
SERVE = fx.ServeBlobs(key=f"serve:{HEX}", deal_id=DEAL, peer=PeerId(b"p"), roots=(Cid(b"r"),))
READ = fx.ReadAccount(operator=Address(bytes(20)))


@pytest.fixture
async def bench(nursery: trio.Nursery, loop: "Loop", hub: MemoryHub) -> Bench:
    made = Bench(loop, hub.link(loop.env.me), Parts())
    await made.start(nursery)
    return made


def post_tx(deal: eip712.Deal, purpose: str = "commit") -> fx.PostTx:
    return fx.PostTx(
        key=f"tx:{HEX}:{purpose}",
        deal_id=DEAL,
        purpose=purpose,
        deal=deal,
        amount=Tokens(0),
        signature=Signature(b""),
        result_hash=ZERO_HASH,
    )


def test_every_effect_has_one_performer() -> None:
    own = {fx.Notify, fx.DropEffects}
    kinds = {
        kind
        for kind in vars(fx).values()
        if isinstance(kind, type) and issubclass(kind, fx.Effect) and kind not in (fx.Effect, fx.DurableEffect)
    }
    assert set(PERFORMERS) | set(AT_ONCE) | own == kinds
    assert not set(PERFORMERS) & set(AT_ONCE)
    durable = {kind for kind in kinds if issubclass(kind, fx.DurableEffect)}
    assert set(get_args(fx.OutboxItem.__annotations__["effect"])) == durable


async def test_a_message_is_sent_until_the_peer_is_there(
    bench: Bench, hub: MemoryHub, ring: KeyRing, eventually: Any, message: Callable[..., fx.SendDurably]
) -> None:
    peer = ring.signer().peer_id
    await bench.loop.post(message(f"send:{HEX}:x", peer=peer), message(f"send:{HEX}:y", peer=peer))
    await eventually(lambda: bench.effector.failures >= 4)
    assert bench.loop.engine.statistics().outbox == 2
    heard: list[bytes] = []

    async def take(_: PeerId, data: bytes) -> bytes:
        heard.append(data)
        return b""

    hub.link(peer).serve(DEAL_PROTOCOL, take, 100)
    await eventually(lambda: bench.loop.engine.statistics().outbox == 0)
    assert heard == [b"x", b"x"]


async def test_a_dropped_message_is_not_tried_again(
    bench: Bench, hub: MemoryHub, ring: KeyRing, eventually: Any, message: Callable[..., fx.SendDurably]
) -> None:
    peer = ring.signer().peer_id
    await bench.loop.post(message(f"send:{HEX}:x", peer=peer))
    await eventually(lambda: bench.effector.failures >= 2)
    await bench.loop.post(fx.DropEffects(prefix=f"send:{HEX}"))
    await eventually(lambda: bench.effector._scopes == {})
    await eventually(lambda: not bench.loop.engine.outstanding())


async def test_a_record_that_the_link_refuses_is_lost_and_no_more(bench: Bench, eventually: Any) -> None:
    await bench.loop.post(fx.Publish(topic="t", data=bytes(20_000)))
    await bench.loop.post(fx.Send(peer=PeerId(bytes(39)), protocol="/x", data=b""))
    await eventually(lambda: bench.effector.failures == 2)


async def test_a_dead_chain_leaves_the_account_unknown(bench: Bench, eventually: Any) -> None:
    bench.parts.given = [ChainUnreachable("no RPC endpoint answers"), OSError(5, "broken"), None]
    for _ in range(3):
        await bench.loop.post(READ)
    await eventually(lambda: len(bench.deal_events(ev.AccountRead)) == 3)
    assert [event.known for event in bench.deal_events(ev.AccountRead)].count(False) == 2


async def test_a_fetch_that_is_over_at_once_only_answers(bench: Bench, eventually: Any) -> None:
    bench.parts.go.set()
    await bench.loop.post(FETCH)
    await eventually(lambda: bench.deal_events(ev.BlobsArrived))
    await trio.testing.wait_all_tasks_blocked()
    assert bench.deal_events(ev.JobProgressed) == []


async def test_a_fetch_tells_its_progress_sparingly_and_answers(bench: Bench, eventually: Any) -> None:
    bench.parts.go.set()
    bench.parts.step = lambda: bench.loop.clock.advance(Millis(4))  # 400 ms for each of two roots
    await bench.loop.post(FETCH)
    await eventually(lambda: bench.deal_events(ev.BlobsArrived))
    assert bench.parts.calls == ["fetch", "fetch"]
    await eventually(lambda: bench.deal_events(ev.JobProgressed))
    assert len(bench.deal_events(ev.JobProgressed)) == 1
    await eventually(lambda: not bench.loop.engine.outstanding())


async def test_a_fetch_that_gives_up_says_why(bench: Bench, eventually: Any) -> None:
    bench.parts.given = [FetchGaveUp("too_large", "a bomb")]
    await bench.loop.post(FETCH)
    await eventually(lambda: bench.deal_events(ev.BlobsFailed))
    assert bench.deal_events(ev.BlobsFailed)[0].code == "too_large"
    await eventually(lambda: not bench.loop.engine.outstanding())


async def test_a_failing_disk_is_waited_out(bench: Bench, eventually: Any) -> None:
    full = BlobStoreFailed("the disk under the blob store failed", why="no space left")
    bench.parts.given = [full, ExceptionGroup("of a nursery", [full])]
    bench.parts.go.set()
    await bench.loop.post(FETCH)
    await eventually(lambda: bench.deal_events(ev.BlobsArrived))
    assert bench.effector.failures == 2
    assert bench.parts.calls == ["fetch"] * 4
    bench.parts.given = [full]
    await bench.loop.post(fx.StopServing(deal_id=DEAL, forget=True))
    await eventually(lambda: bench.effector.failures == 3)


async def test_the_rules_hear_who_is_to_blame_for_a_seats_pull(bench: Bench, eventually: Any) -> None:
    bench.parts.blamed = [False, False, True, True, False]
    bench.parts.go.set()
    await bench.loop.post(FETCH)
    await eventually(lambda: bench.deal_events(ev.BlobsArrived))
    assert bench.deal_events(ev.PullWaited) == []  # of a deal nobody asks
    pull = msgspec.structs.replace(FETCH, key=f"fetch:{HEX}:case", purpose="case", roots=(ROOT,))
    bench.parts.given = [OSError(28, "no space left")]
    await bench.loop.post(pull)
    await eventually(lambda: len(bench.deal_events(ev.BlobsArrived)) == 2)
    assert [one.ours for one in bench.deal_events(ev.PullWaited)] == [True, False, True, False]


async def test_a_cancelled_fetch_does_not_answer_and_may_be_asked_again(bench: Bench, eventually: Any) -> None:
    await bench.loop.post(FETCH)
    await bench.parts.began.wait()
    await bench.loop.post(fx.CancelFetch(deal_id=DEAL))
    await bench.parts.cancelled.wait()
    await eventually(lambda: not bench.loop.engine.outstanding())
    assert not bench.deal_events(ev.BlobsArrived)
    assert not bench.deal_events(ev.BlobsFailed)
    bench.parts.go.set()
    await bench.loop.post(FETCH)
    await eventually(lambda: bench.deal_events(ev.BlobsArrived))


@pytest.mark.parametrize("attempt", range(8))  # trio starts tasks in either order
async def test_an_end_is_never_overtaken_by_what_it_ends(bench: Bench, attempt: int, eventually: Any) -> None:
    await bench.loop.post(RUN, fx.CancelJob(deal_id=DEAL), FETCH, fx.CancelFetch(deal_id=DEAL))
    await eventually(lambda: bench.deal_events(ev.JobEnded))
    assert not bench.parts.began.is_set() or not bench.deal_events(ev.BlobsArrived)
    bench.parts.calls.clear()
    await bench.loop.post(SERVE, fx.StopServing(deal_id=DEAL, forget=False))
    assert bench.parts.calls == ["grant", "revoke"]


async def test_a_job_that_was_dropped_and_comes_again_can_be_cancelled(bench: Bench, eventually: Any) -> None:
    await bench.loop.post(RUN)
    await bench.parts.began.wait()
    await bench.loop.post(fx.CancelJob(deal_id=DEAL), fx.DropEffects(prefix=f"run:{HEX}"), RUN)
    await eventually(lambda: bench.parts.calls.count("run") == 2)
    assert not bench.deal_events(ev.JobEnded)
    await bench.loop.post(fx.CancelJob(deal_id=DEAL))
    await eventually(lambda: bench.deal_events(ev.JobEnded))
    await eventually(lambda: bench.effector._stops == {})


async def test_a_transaction_is_released_after_its_answer_is_durable(
    bench: Bench, make_deal: Any, eventually: Any
) -> None:
    bench.parts.given = [None, TxRejected("AlreadyConsumed()")]
    await bench.loop.post(post_tx(make_deal()))
    await eventually(lambda: "release" in bench.parts.calls)
    await eventually(lambda: not bench.loop.engine.outstanding())
    await bench.loop.post(post_tx(make_deal()))
    await eventually(lambda: bench.parts.calls.count("release") == 2)
    assert [event.reason for event in bench.deal_events(ev.TxFailed)] == ["AlreadyConsumed()"]


async def test_a_refused_call_of_the_panel_is_told_and_its_key_released(bench: Bench, eventually: Any) -> None:
    call = fx.CallPanel(key=f"panel:{HEX}:secret:0", deal_id=DEAL, purpose="panel secret", data=b"calldata")
    bench.parts.given = [TxRejected("TooLate(7)")]
    await bench.loop.post(call)
    await eventually(lambda: bench.parts.calls[-1:] == ["release"])
    (failed,) = bench.deal_events(ev.TxFailed)
    assert (failed.purpose, failed.reason) == ("panel secret", "TooLate(7)")
    assert bench.loop.engine.outstanding() == frozenset()


@pytest.mark.parametrize("error", [Defect("a wrong turn"), KeyError("x"), ExceptionGroup("g", [ValueError("x")])])
async def test_a_defect_ends_the_node(make_loop: Any, hub: MemoryHub, error: Exception) -> None:
    loop = make_loop()

    async def node() -> None:
        async with trio.open_nursery() as nursery:
            await loop.open(nursery)
            await loop.start(nursery)
            made = Bench(loop, hub.link(loop.env.me), Parts())
            made.parts.given = [error]
            await made.start(nursery)
            await loop.post(FETCH)
            await trio.sleep_forever()

    with trio.fail_after(60), pytest.raises(ExceptionGroup) as caught:
        await node()
    leaf = error.exceptions[0] if isinstance(error, ExceptionGroup) else error
    assert caught.group_contains(type(leaf))
    assert [entry.key for entry in (await loop.store.load()).outbox] == [FETCH.key]
    await loop.store.aclose()


async def test_a_round_that_was_asked_for_arrives_as_an_event(bench: Bench, eventually: Any) -> None:
    await bench.loop.post(fx.FetchRound(number=7))
    await eventually(lambda: bench.deal_events(ev.RoundArrived))
    (arrived,) = bench.deal_events(ev.RoundArrived)
    assert (arrived.beacon_round.number, arrived.gossiped) == (7, False)


async def test_a_round_that_no_relay_has_is_no_event(bench: Bench, eventually: Any) -> None:
    await bench.loop.post(fx.FetchRound(number=8))
    await bench.loop.post(fx.FetchRound(number=9))
    await eventually(lambda: bench.deal_events(ev.RoundArrived))
    assert bench.parts.calls == ["round", "round"]
    assert [one.beacon_round.number for one in bench.deal_events(ev.RoundArrived)] == [9]


async def test_what_a_comparison_finds_is_told_about_each_of_the_others(bench: Bench, eventually: Any) -> None:
    mine = Ran(Address(b"\x01" * 20), 0, 0, 7, Cid(b"root"))
    other = Ran(Address(b"\x02" * 20), 0, 0, 7, Cid(b"other"))
    key = f"compare:{HEX}:{mine.owner.hex()}"
    await bench.loop.post(fx.CompareOutputs(key=key, deal_id=DEAL, job=b"job", ran=mine, others=(other, mine)))
    await eventually(lambda: bench.loop.engine.statistics().outbox == 0)
    (told,) = bench.deal_events(ev.OutputsCompared)
    assert (told.deal_id, told.owner, told.same, told.detail) == (DEAL, mine.owner, (False, True), "looked at")


async def test_an_output_is_marked_and_the_answer_says_under_which_keys(bench: Bench, eventually: Any) -> None:
    ran, keys = Ran(Address(b"\x01" * 20), 0, 0, 7, Cid(b"root")), (Hash32(b"\x01" * 32), Hash32(b"\x02" * 32))
    await bench.loop.post(fx.MarkOutput(key=f"mark:{HEX}:1", deal_id=DEAL, job=b"job", ran=ran, keys=keys))
    await eventually(lambda: bench.loop.engine.statistics().outbox == 0)
    (told,) = bench.deal_events(ev.OutputMarked)
    assert (told.ran, told.keys, told.marks) == (ran, keys, tuple(keccak256(key, b"root") for key in keys))


async def test_a_node_that_is_stopping_performs_nothing_and_does_not_fail(loop: "Loop", hub: MemoryHub) -> None:
    """The engine may have one more batch when the effects have ended: it was a defect that ended the node with an error."""
    async with trio.open_nursery() as nursery:
        stopping = Bench(loop, hub.link(loop.env.me), Parts())
        await stopping.start(nursery)
        nursery.cancel_scope.cancel()
    stopping.effector.perform(fx.ReadAccount(operator=Address(bytes(20))))
    assert stopping.parts.calls == []
