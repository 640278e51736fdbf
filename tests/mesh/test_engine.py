"""Is the loop what it promises: durable first, then outside; nothing lost, nothing left behind?"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import trio
import trio.testing

from mesh.store import StoreFull
from protocols import effects as fx
from protocols import events as ev
from protocols.state import NodeState
from protocols.units import Millis, UnixSeconds
from tests.clock import PatientClock
from tests.gate import Gate

if TYPE_CHECKING:
    from tests.mesh.conftest import Loop

Message = Callable[..., fx.SendDurably]
NOTE = fx.Notify(subject=b"run", name="deal.moved", fields={"deal": "aa"})


async def test_an_effect_leaves_only_after_its_transaction(make_loop: "Callable[[], Loop]", message: Message) -> None:
    loop = make_loop()
    on_disk: list[int] = []
    async with trio.open_nursery() as nursery:
        engine = await loop.open(nursery)
        engine.connect(lambda _: on_disk.append(loop.store.statistics().commits), loop.forgotten.append)
        await loop.start(nursery)
        await loop.post(message("send:aa:hi"), fx.Send(peer=loop.env.me, protocol="/x", data=b""))
        assert on_disk == [1, 1]
        assert [entry.key for entry in (await loop.store.load()).outbox] == ["send:aa:hi"]
        nursery.cancel_scope.cancel()
    await loop.store.aclose()


async def test_what_cannot_be_made_durable_never_leaves(make_loop: "Callable[[], Loop]", message: Message) -> None:
    loop = make_loop()

    async def overfill() -> None:
        async with trio.open_nursery() as nursery:
            await loop.open(nursery, quota_bytes=256 << 10)
            await loop.start(nursery)
            await loop.post(*(message(f"send:{n}:x", b"\xff" * 60_000) for n in range(16)))

    with pytest.raises(ExceptionGroup) as caught:
        await overfill()
    assert caught.group_contains(StoreFull)
    assert loop.performed == []
    await loop.store.aclose()


async def test_a_restart_performs_again_what_was_not_acknowledged(
    make_loop: "Callable[[], Loop]", message: Message
) -> None:
    first = make_loop()
    async with trio.open_nursery() as nursery:
        await first.open(nursery)
        await first.start(nursery)
        await first.post(message("send:aa:1"), message("send:aa:2"), message("send:aa:3"))
        await first.engine.acknowledge("send:aa:1")
        await first.post(acks=("send:aa:2",))
        nursery.cancel_scope.cancel()
    await first.store.aclose()
    second = make_loop()
    async with trio.open_nursery() as nursery:
        await second.open(nursery)
        await second.start(nursery)
        assert [effect.key for effect in second.performed if isinstance(effect, fx.DurableEffect)] == ["send:aa:3"]
        nursery.cancel_scope.cancel()
    await second.store.aclose()


async def test_a_key_is_one_effect_until_it_is_acknowledged(loop: "Loop", message: Message) -> None:
    await loop.post(message("send:aa:1", b"first"), message("send:aa:1", b"twin"))
    await loop.post(message("send:aa:1", b"again"))
    assert loop.performed == [message("send:aa:1", b"first")]
    await loop.post(message("send:aa:1", b"next"), acks=("send:aa:1",))
    assert loop.performed[1:] == [message("send:aa:1", b"next")]
    assert [entry.key for entry in (await loop.store.load()).outbox] == ["send:aa:1"]


async def test_dropped_and_added_in_one_batch(loop: "Loop", message: Message) -> None:
    await loop.post(message("send:aa:1", b"old"), message("send:ab:1"))
    await loop.post(fx.DropEffects(prefix="send:aa"), message("send:aa:1", b"new"))
    assert loop.forgotten == ["send:aa:1"]
    assert loop.performed[2:] == [message("send:aa:1", b"new")]
    await loop.post(message("send:aa:2"), fx.DropEffects(prefix="send:aa"))
    assert loop.forgotten == ["send:aa:1"] * 2
    assert [entry.key for entry in (await loop.store.load()).outbox] == ["send:ab:1"]
    assert len(loop.performed) == 3


async def test_an_answer_to_a_dropped_effect_does_not_end_its_successor(loop: "Loop", message: Message) -> None:
    await loop.post(message("send:aa:1", b"old"))
    gate = Gate()
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(gate.hold, loop.store)
            await gate.entered.wait()
            # Handed in while the engine is at its disk with the batch that replaces the effect.
            nursery.start_soon(loop.post, fx.DropEffects(prefix="send:aa"), message("send:aa:1", b"new"))
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(loop.engine.acknowledge, "send:aa:1")
            await trio.testing.wait_all_tasks_blocked()
            gate.open()
    assert loop.performed[-1] == message("send:aa:1", b"new")
    assert loop.engine.outstanding() == {"send:aa:1"}


async def test_unknown_keys_are_acknowledged_in_peace(loop: "Loop") -> None:
    await loop.engine.acknowledge("send:aa:nothing")
    await loop.post(acks=("run:aa", "run:ab"))
    await loop.post(fx.DropEffects(prefix="tx:never"))
    assert loop.forgotten == []
    assert loop.engine.statistics().outbox == 0


async def test_nothing_is_left_behind_by_what_is_done(loop: "Loop", message: Message) -> None:
    for number in range(50):
        await loop.post(message(f"send:{number:02x}:1"), message(f"send:{number:02x}:2"))
    assert loop.engine.statistics().prefixes == 50
    async with trio.open_nursery() as done:
        for number in range(50):
            done.start_soon(loop.engine.acknowledge, f"send:{number:02x}:1")
            done.start_soon(loop.engine.acknowledge, f"send:{number:02x}:2")
    counts = loop.engine.statistics()
    assert (counts.outbox, counts.prefixes) == (0, 0)


async def test_an_acknowledgement_shares_the_transaction_of_the_next_event(
    loop: "Loop", message: Message, autojump_clock: PatientClock
) -> None:
    await loop.post(message("send:aa:1"), message("send:aa:2"))
    before = loop.engine.statistics().transactions
    async with trio.open_nursery() as done:
        done.start_soon(loop.engine.acknowledge, "send:aa:1")
        await trio.testing.wait_all_tasks_blocked()
        assert loop.engine.outstanding() == {"send:aa:1", "send:aa:2"}
        await loop.post(NOTE)
    assert loop.engine.statistics().transactions == before + 1
    await loop.engine.acknowledge("send:aa:2")  # nothing happens meanwhile: it becomes durable by itself
    assert (await loop.store.load()).outbox == ()


async def test_many_events_share_transactions_up_to_a_bound(make_loop: "Callable[[], Loop]") -> None:
    loop = make_loop()
    async with trio.open_nursery() as nursery:
        await loop.open(nursery)
        event = loop.say(NOTE)
        async with trio.open_nursery() as posting:
            for _ in range(600):
                posting.start_soon(loop.engine.post, event)
            await trio.testing.wait_all_tasks_blocked()
            await loop.start(nursery)
        assert loop.engine.statistics().events == 600
        assert loop.engine.statistics().transactions == 3  # 256 + 256 + 88
        nursery.cancel_scope.cancel()
    await loop.store.aclose()


async def test_a_listener_that_fails_hears_no_more_and_harms_nobody(loop: "Loop", message: Message) -> None:
    heard: list[str] = []
    places: list[int] = []

    def broken(notice: fx.Notify, wall: int, place: int) -> None:
        heard.append("broken")
        raise ValueError("a full channel")

    stop_broken = loop.engine.listen(broken)
    stop = loop.engine.listen(lambda notice, wall, place: (heard.append(notice.name), places.append(place)))
    await loop.post(NOTE, message("send:aa:1"))
    await loop.post(NOTE)
    assert heard == ["broken", "deal.moved", "deal.moved"]
    assert loop.performed == [message("send:aa:1")]
    stop_broken()
    stop()
    await loop.post(NOTE)
    assert len(heard) == 3
    trace = await loop.store.trace(b"run")
    assert [record.kind for record in trace] == ["deal.moved"] * 3
    assert places == [record.seq for record in trace[:2]]


async def test_timers_come_due_under_constant_load(loop: "Loop") -> None:
    async def flood() -> None:
        while True:
            await loop.post()

    async with trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(flood)
        with trio.fail_after(60):
            for due in (1_000, 2_000):
                loop.engine.view(lambda state, due=due: state.timers.set("sweep:", due))
                loop.clock.advance(Millis(1_000))
                while len(loop.script.of(ev.Ticked)) * 1_000 < due:
                    await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    assert [event.at for event in loop.script.of(ev.Ticked)] == [1_000, 2_000]


async def test_a_view_never_sees_half_an_event(loop: "Loop") -> None:
    seen: set[tuple[int, int]] = set()

    def both(state: NodeState) -> None:
        state.chain_block += 1
        state.chain_now = UnixSeconds(state.chain_block)

    loop.script.change = both
    async with trio.open_nursery() as nursery:
        for _ in range(30):
            nursery.start_soon(loop.post, NOTE)
        for _ in range(200):
            seen.add(loop.engine.view(lambda state: (state.chain_block, int(state.chain_now))))
            await trio.lowlevel.checkpoint()
    assert all(block == now for block, now in seen)
    assert loop.engine.view(lambda state: state.chain_block) == 30
