"""What does a provider win that begins no job, and says of each that it met a limit? And does a slow one fare better?"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec
import pytest

from protocols import events as ev
from protocols.deals.eip712 import OutcomeCode
from protocols.deals.states import Checking, Rejected, Settled
from protocols.messages.negotiation import InputRoot
from protocols.reputation import Record
from protocols.runs import Done, Failed
from protocols.units import PPM, Hash32
from protocols.verify.audits import AwaitRound, RunElsewhere, RunHere
from tests.protocols.channels.pair import LIMIT, Pair
from tests.protocols.handlers.audited import Scene, result_here

LIMITS = (OutcomeCode.OOM, OutcomeCode.DISK_LIMIT)
SLOW_MS, AMPLE_MS, TOO_LONG_MS = 20_000, 7_000, 40_000
"""Of the 30 s that the job may run."""


class Idle(Scene):
    """Its first provider begins nothing; ``excuse`` is what it says of every job. ``others`` idle in the same way."""

    def __init__(
        self,
        excuse: OutcomeCode,
        audit_ppm: int | None = PPM,
        *,
        level: Literal["exact", "none"] = "exact",
        others: bool = False,
        takes_ms: int = 1,
    ) -> None:
        self.excuse, self.others, self.takes_ms = excuse, others, takes_ms
        super().__init__(audit_ppm=audit_ppm, level=level)

    def submit(self) -> None:
        for node in self.providers if self.others else (self.provider,):
            node.habits.idles = True
            node.habits.excuse = self.excuse
        self.client.habits.takes_ms = self.takes_ms
        super().submit()

    def ends(self) -> Settled:
        self.until(lambda: isinstance(self.run.status, Done) and isinstance(self.first, Settled))
        assert isinstance(self.first, Settled)
        return self.first

    @property
    def counted(self) -> tuple[int, int, int]:
        """(kept, broken, slow) in the client's record of its first provider."""
        days = self.client.state.records.get(self.provider.me, Record()).days
        return (days[0].kept, days[0].broken, days[0].slow) if days else (0, 0, 0)


# --- limits that are the same everywhere ---------------------------------------------------------------------------


@pytest.mark.parametrize("excuse", LIMITS)
@pytest.mark.parametrize("audit_ppm", [1, PPM])
def test_a_limit_that_was_not_met_is_always_found_out_and_not_signed_off(excuse: OutcomeCode, audit_ppm: int) -> None:
    """Found once: it was taken as it was, signed off and paid, and nobody ever looked."""
    scene = Idle(excuse, audit_ppm)
    scene.until(lambda: scene.asks(RunHere) or scene.asks(AwaitRound))
    assert scene.asks(RunHere), "no round is waited for"
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert isinstance(scene.first, Rejected)
    assert scene.first.confirmed, "by another owner, as any wrong result"
    assert scene.counted == (0, 1, 0)


@pytest.mark.parametrize("excuse", LIMITS)
def test_a_limit_that_was_met_here_as_well_is_a_result_that_passes_its_audit(excuse: OutcomeCode) -> None:
    scene = Idle(excuse)
    scene.until(lambda: scene.asks(RunHere))
    deal = scene.first
    assert isinstance(deal, Checking)
    (key,) = [key for key in scene.client.outbox if key.startswith("run:")]
    commit, root = deal.result.commit, deal.result.root
    same = msgspec.structs.replace(
        result_here(scene), outcome=commit.outcome, exit_code=commit.exit_code, fuel=commit.fuel, root=root
    )
    scene.client.post(ev.AuditCompleted(at=scene.world.now, deal_id=deal.terms.deal_id, result=same), (key,))
    assert scene.ends().checked == "audited"
    assert scene.counted == (1, 0, 0)


def test_two_that_have_not_begun_are_no_witnesses_for_each_other() -> None:
    """Found once: everybody who idles says the same, so the second made the first's word the truth, and its good name."""
    scene = Idle(OutcomeCode.OOM, others=True)
    scene.until(lambda: isinstance(scene.run.status, Failed))
    assert len(scene.deals) > 1, "others were asked"
    assert isinstance(scene.first, Rejected)
    assert not scene.first.confirmed, "and nobody who has worked has confirmed it"
    assert scene.told("deal.audit_outvoted") == []
    assert scene.counted == (0, 1, 0)


@pytest.mark.parametrize(("excuse", "deals"), [(OutcomeCode.OOM, 3), (OutcomeCode.TIMEOUT, 1)])
def test_a_job_that_is_too_large_for_the_clients_machine_is_not_run_on_it(excuse: OutcomeCode, deals: int) -> None:
    """Found once: to say `oom` made a client's laptop run what its owner had rented a server for."""
    scene = Idle(excuse)
    machine = msgspec.structs.replace(scene.client.env.machine, memory_mib=scene.job.resources.memory_mib[0] - 1)
    scene.client.env = msgspec.structs.replace(scene.client.env, machine=machine)
    scene.until(lambda: isinstance(scene.run.status, Done | Failed))
    assert len(scene.deals) == deals, "two others compute it, or nobody: a measurement is worth no second price"
    if isinstance(scene.run.status, Done):
        assert scene.run.status.checked == "unfinished"
    else:
        assert isinstance(scene.first, Rejected)
        assert scene.first.confirmed


def test_who_wants_no_check_has_none() -> None:
    for scene in (Idle(OutcomeCode.OOM, 0), Idle(OutcomeCode.OOM, level="none")):
        assert scene.ends().checked == "bytes"
        assert scene.counted == (0, 0, 1), "and remembers who has brought nothing"


# --- a time that was up ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("takes_ms", "checked", "counted"),
    [
        (AMPLE_MS, "contradicted", (0, 1, 0)),
        (SLOW_MS, "slow", (0, 0, 1)),
        (TOO_LONG_MS, "too-long", (0, 0, 1)),
    ],
)
def test_a_time_that_was_up_is_measured_here_paid_and_remembered(
    takes_ms: int, checked: str, counted: tuple[int, int, int]
) -> None:
    """An honest machine may be slower: it has its price. Whether it gets the next deal is another question."""
    scene = Idle(OutcomeCode.TIMEOUT, takes_ms=takes_ms)
    scene.until(lambda: scene.asks(AwaitRound))
    deal = scene.ends()
    assert (deal.how, deal.paid, deal.checked) == ("settled", deal.terms.deal.price, checked)
    assert scene.counted == counted
    assert len(scene.deals) == 1, "nobody else was paid to look"
    assert scene.told("deal.rejected") == []


def test_a_time_that_this_node_could_not_measure_is_taken_as_it_is() -> None:
    scene = Idle(OutcomeCode.TIMEOUT)
    scene.client.habits.infra_ppm = PPM
    assert scene.ends().checked == "unfinished"
    assert scene.counted == (0, 0, 1)
    assert not scene.asks(RunElsewhere)


def test_a_measurement_that_lasts_until_the_provider_may_claim_does_not_hold_its_money_back() -> None:
    scene = Idle(OutcomeCode.TIMEOUT)
    scene.until(lambda: scene.asks(RunHere))
    (key,) = [key for key in scene.client.outbox if key.startswith("run:")]
    scene.client.outbox.pop(key)  # its executor never answers
    assert scene.ends().checked == "unfinished"
    assert scene.world.chain.done.get("claim", 0) == 0


def test_a_restart_measures_again() -> None:
    scene = Idle(OutcomeCode.TIMEOUT)
    scene.until(lambda: scene.asks(RunHere))
    scene.client.kill()
    scene.client.start()
    assert scene.ends().checked == "contradicted"


def test_the_next_deal_of_one_that_was_contradicted_is_checked_more_often() -> None:
    scene = Idle(OutcomeCode.TIMEOUT, None)
    scene.until(lambda: scene.deals)
    assert scene.first.terms.deal.audit_ppm == scene.world.params.audit_newcomer_ppm
    scene.ends()
    assert scene.counted != (0, 0, 0)
    scene.market = msgspec.structs.replace(scene.market, audit_ppm=None)
    scene.job = msgspec.structs.replace(scene.job, command=("--samples", "2"))
    again(scene)
    scene.until(lambda: len(scene.deals) == 2)
    assert scene.deals[1].terms.deal.audit_ppm == scene.world.params.audit_doubted_ppm


def again(scene: Scene) -> None:
    scene.client.post(
        ev.RunSubmitted(
            at=scene.world.now,
            job=scene.job.encode(),
            inputs=(InputRoot(scene.job.module, scene.job.module_size),),
            market=scene.market,
            run_nonce=2,
            entropy=Hash32(bytes(32)),
            wall=scene.client.wall,
        )
    )


# --- in a channel ---------------------------------------------------------------------------------------------------


def until(pair: Pair, holds: Callable[[], Any]) -> Any:
    for _ in range(40_000):
        found = holds()
        if found:
            return found
        pair.world.run(pair.world.now + 5)
    raise AssertionError(f"it did not come to that: {pair.client.state.durable.deals}")


@pytest.mark.parametrize(("trust", "paid"), [(0, 0), (5, 1)])
def test_a_channel_pays_for_no_limit_that_was_not_met_unless_it_was_sealed(trust: int, paid: int) -> None:
    pair = Pair(channel_trust=trust, others=2)
    pair.provider.habits.idles = True
    pair.provider.habits.excuse = OutcomeCode.OOM
    pair.submit(1, audit_ppm=1, budget=4 * LIMIT)
    until(pair, lambda: isinstance(pair.run(1).status, Failed))
    assert pair.book(pair.client).paid == paid * pair.price
    assert pair.client.state.records[pair.provider.me].days[0].broken == 1


@pytest.mark.parametrize("trust", [0, 5])
def test_a_channel_pays_for_a_time_that_was_up_whatever_was_measured(trust: int) -> None:
    pair = Pair(channel_trust=trust)
    pair.provider.habits.idles = True
    pair.submit(1, audit_ppm=PPM)
    until(pair, lambda: isinstance(pair.run(1).status, Done))
    pair.passes(5)
    assert pair.book(pair.client).paid == pair.book(pair.provider).paid == pair.price
    (half,) = pair.client.state.durable.deals.values()
    assert isinstance(half.state, Settled)
    assert (half.state.how, half.state.checked) == ("voucher", "contradicted")
    assert pair.client.state.records[pair.provider.me].days[0].broken == 1
