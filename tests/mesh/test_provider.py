"""Is the offer out exactly while the executor passes its probe?"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import trio

from mesh.base.config import Config
from mesh.base.config.schema import Network
from mesh.base.config.schema import Provider as ProviderConfig
from mesh.exec.executor import Capability, ExecutorUnavailable, IsolationLevel
from mesh.provider import Advertiser, addresses_of, offer_of
from protocols import events as ev
from protocols.offers.policy import Conditions, OwnUse, Policy
from tests.clock import PatientClock

if TYPE_CHECKING:
    from tests.mesh.conftest import Loop

LISTENING = "/ip4/127.0.0.1/tcp/4021"


class Moody:
    """An executor whose probe ends as it is told, one word after the other, the last one for good."""

    kind = "wasm"

    def __init__(self, *moods: str | Exception) -> None:
        self.moods = list(moods)

    async def probe(self) -> Capability:
        mood = self.moods.pop(0) if len(self.moods) > 1 else self.moods[0]
        if isinstance(mood, Exception):
            raise mood
        if mood == "hangs":
            await trio.sleep_forever()
        return Capability(
            kind="wasm",
            available=mood == "well",
            isolation_level=IsolationLevel.L1,
            determinism="",
            reason="" if mood == "well" else mood,
            self_test=(),
        )


def advertiser(loop: "Loop", executor: Any, **config: Any) -> Advertiser:
    return Advertiser(Config(**config), loop.engine, executor, loop.clock, lambda: (LISTENING,))


def offers(loop: "Loop") -> list[bool]:
    return [event.offer is not None for event in loop.script.of(ev.ProviderChanged)]


@pytest.mark.parametrize(
    "fault",
    [
        "no fuel limit",
        ExecutorUnavailable("gone"),
        OSError(28, "full"),
        ExceptionGroup("n", [OSError(5, "io")]),
        "hangs",
    ],
)
async def test_an_offer_goes_with_the_executor_and_returns(
    loop: "Loop", nursery: trio.Nursery, autojump_clock: PatientClock, eventually: Any, fault: Any
) -> None:
    made = advertiser(loop, Moody("well", "well", fault, "well"))
    await nursery.start(partial(made.run))
    await eventually(lambda: offers(loop) == [True])
    with trio.fail_after(3_000):
        while len(offers(loop)) < 3:
            await trio.sleep(1)
    assert offers(loop) == [True, False, True]


async def test_a_node_whose_executor_never_works_starts_and_says_why(loop: "Loop", nursery: trio.Nursery) -> None:
    made = advertiser(loop, Moody(ExecutorUnavailable("no seccomp here")))
    await nursery.start(partial(made.run))
    assert offers(loop) == [False]
    assert made.capability is not None
    assert "no seccomp here" in made.capability.reason


async def test_the_offer_is_a_slots_share_and_says_where_to_dial(loop: "Loop", nursery: trio.Nursery) -> None:
    mine = ProviderConfig(slots=4, cpus=8, memory_mib=4000, disk_mib=400)
    await nursery.start(partial(advertiser(loop, Moody("well"), provider=mine).run))
    event = loop.script.of(ev.ProviderChanged)[0]
    assert (event.slots, event.queue) == (4, 1)
    offer = event.offer
    assert (offer.cpus_milli, offer.memory_mib, offer.disk_mib, offer.free_slots) == (2000, 1000, 100, 4)
    assert offer.addresses == addresses_of([LISTENING])
    other = "/ip4/10.0.0.1/tcp/1"
    announced = advertiser(loop, Moody("well"), network=Network(announce=(other,)))
    assert announced._addresses() == addresses_of([other])
    tiny = offer_of(Config(provider=ProviderConfig(slots=1024, cpus=1, memory_mib=1, disk_mib=16)), loop.engine)
    assert (tiny.cpus_milli, tiny.memory_mib, tiny.disk_mib) == (1, 1, 1)


def test_an_offer_names_at_most_four_addresses_and_none_too_long() -> None:
    many = [f"/ip4/10.0.0.{n}/tcp/{n}" for n in range(1, 9)]
    assert len(addresses_of(many)) == 4
    assert addresses_of(["/dns4/" + ("a" * 60 + ".") * 3 + "org/tcp/1"]) == ()


async def test_the_owners_own_use_is_noticed_and_its_end_too(
    loop: "Loop", autojump_clock: PatientClock, tmp_path: Path
) -> None:
    """A program of the name in the policy runs: the rules are told, and told again when it has ended."""
    policy = tmp_path / "policy.toml"
    policy.write_text("max_wall = '10s'\n[own_use]\nprograms = ['mesh-owner-at-work']\nthen = 'stop'\n")
    script = tmp_path / "mesh-owner-at-work"
    script.symlink_to("/bin/sleep")
    config = ProviderConfig(roles=("provider",), policy_file=str(policy))
    mine = advertiser(loop, Moody("well"), provider=config)
    async with trio.open_nursery() as nursery:
        await nursery.start(mine.run)
        owner = await trio.lowlevel.open_process([str(script), "1000"])
        try:
            while not loop.script.of(ev.ProviderChanged)[-1].conditions.own_use:
                await trio.sleep(1)
        finally:
            owner.kill()
            await owner.wait()
        while loop.script.of(ev.ProviderChanged)[-1].conditions.own_use:
            await trio.sleep(1)
        nursery.cancel_scope.cancel()
    first, busy, last = loop.script.of(ev.ProviderChanged)
    assert busy.conditions.own_use == "mesh-owner-at-work"[:15] + " runs"
    assert (first.conditions, last.conditions) == (Conditions(), Conditions())
    assert {one.policy for one in (first, busy, last)} == {Policy(max_wall_s=10, own_use=OwnUse(stop=True))}
