"""Does an owner's policy decide what the machine takes, in signed words, and does the owner come first?"""

import msgspec
import pytest

from devnet.sim.node import SimNode
from devnet.sim.simulate import NO_NOISE
from devnet.sim.workload import FUNDS, offer_of, submit, toy_job
from devnet.sim.world import World
from protocols import events as ev
from protocols import node as rules
from protocols.deals.eip712 import OutcomeCode
from protocols.deals.states import LocalResult, Running
from protocols.effects import CancelJob
from protocols.envelope import open_, parse_envelope
from protocols.job.canonical import CanonicalGpus
from protocols.messages.negotiation import Refusal
from protocols.messages.registry import decode_message
from protocols.offers.policy import Conditions, Hours, OwnUse, Policy, objections
from protocols.runs import Failed
from protocols.units import ZERO_HASH, Cid, UnixSeconds

MONDAY = UnixSeconds(1_767_571_200)
"""2026-01-05 00:00 UTC."""
NOBODY = b"\0" * 39
CALM = Conditions()
JOB = toy_job(1)
GPU_JOB = msgspec.structs.replace(
    JOB, resources=msgspec.structs.replace(JOB.resources, gpus=CanonicalGpus(1, (0, 0), (0, 0), (), False))
)


def said(policy: Policy, job=JOB, client=NOBODY, wall=MONDAY, **now) -> str:
    return "; ".join(objections(policy, job, client, wall, Conditions(**now)))


def test_no_policy_allows_everything():
    assert said(Policy()) == said(Policy(), GPU_JOB, gpu_watts=900) == ""


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (Policy(executors=("oci",)), "runs oci jobs only"),
        (Policy(executors=("oci", "wasm")), ""),
        (Policy(modules=(JOB.module,)), ""),
        (Policy(modules=(toy_job(1, b"x").module,)), "1 listed module only"),
        (Policy(refuse_modules=(JOB.module,)), "refuses the module bafk"),
        (Policy(modules=(JOB.module,), refuse_modules=(JOB.module,)), "refuses the module"),
        (Policy(clients=(NOBODY,)), ""),
        (Policy(clients=(b"\1" * 39, b"\2" * 39)), "2 listed clients only"),
        (Policy(clients=(NOBODY,), refuse_clients=(NOBODY,)), "takes no jobs from"),
        (Policy(max_wall_s=30), ""),
        (Policy(max_wall_s=29), "allows jobs of 29 s, this one may run 30 s"),
        (Policy(max_gpu_watts=200, max_gpu_celsius=80), ""),
    ],
    ids=str,
)
def test_what_the_owner_allows(policy, words):
    assert words in said(policy)
    assert bool(words) == bool(said(policy))


def test_a_client_that_is_not_known_yet_is_not_judged():
    assert objections(Policy(clients=(b"\1" * 39,)), JOB, None, MONDAY, Conditions()) == ()


NIGHT = Hours(days=(0, 4), start=22 * 60, end=6 * 60)


@pytest.mark.parametrize(
    ("hours", "day", "minute", "holds"),
    [
        (NIGHT, 0, 22 * 60, True),
        (NIGHT, 0, 22 * 60 - 1, False),
        (NIGHT, 1, 6 * 60 - 1, True),
        (NIGHT, 1, 6 * 60, False),
        (NIGHT, 0, 5 * 60, False),  # of Sunday's night, which is not lent
        (NIGHT, 5, 0, True),
        (Hours(days=(6,), start=22 * 60, end=6 * 60), 0, 0, True),
        (Hours(days=(0,), start=0, end=24 * 60), 0, 24 * 60 - 1, True),
        (Hours(days=(0,), start=0, end=24 * 60), 1, 0, False),
        (Hours(days=(3,), start=9 * 60, end=17 * 60), 3, 16 * 60 + 59, True),
        (Hours(days=(3,), start=9 * 60, end=17 * 60), 3, 17 * 60, False),
    ],
    ids=str,
)
def test_hours(hours, day, minute, holds):
    wall = UnixSeconds(MONDAY + day * 86_400 + minute * 60)
    assert (said(Policy(hours=(hours,)), wall=wall) == "") is holds
    east = UnixSeconds(wall - 5 * 3600)
    assert (said(Policy(hours=(hours,), utc_offset_min=300), wall=east) == "") is holds


def test_hours_are_told():
    assert said(Policy(hours=(NIGHT,))) == "its owner lends it at mon,fri 22:00-06:00, there it is mon 00:00"


def test_gpu_limits_need_a_measurement():
    limits = Policy(max_gpu_watts=200, max_gpu_celsius=80)
    assert said(limits, GPU_JOB).count("no GPU is measured") == 2
    assert said(limits, GPU_JOB, gpu_watts=200, gpu_celsius=80) == ""
    assert "it is 201 now" in said(limits, GPU_JOB, gpu_watts=201, gpu_celsius=80)


def test_the_owners_own_use_comes_first():
    assert said(Policy(), own_use="blender runs") == "its owner uses it at the moment (blender runs)"


class Street:
    """A client and a provider."""

    def __init__(self) -> None:
        self.world = World(1, network=NO_NOISE)
        self.world.tap = []
        self.client: SimNode = self.world.add(free=FUNDS, stake=0)
        self.provider: SimNode = self.world.add(free=0, stake=FUNDS)
        self.provider.offer = offer_of(self.world, self.provider)
        for node in (self.client, self.provider):
            node.start()
        self.world.run(8_000)

    def changed(self, policy: Policy, conditions: Conditions = CALM) -> ev.ProviderChanged:
        """What the provider's shell says when its owner's policy, or the machine, is another."""
        return ev.ProviderChanged(
            at=self.world.now,
            offer=self.provider.offer,
            slots=self.provider.slots,
            queue=1,
            policy=policy,
            conditions=conditions,
        )


def test_a_refusal_is_signed_and_reaches_the_client():
    street = Street()
    street.provider.post(street.changed(Policy(refuse_clients=(street.client.me,))))
    submit(street.world, street.client, 1)
    street.world.run(90_000)
    (run,) = street.client.state.durable.runs.values()
    assert isinstance(run.status, Failed)
    assert {(one.verdict, one.code) for one in run.candidates} == {("refused", "policy")}
    assert all("its owner takes no jobs from" in one.detail for one in run.candidates)
    letters = [parse_envelope(data, max_bytes=1 << 20) for _, _, data in street.world.tap]
    refusals = [one for one in letters if isinstance(decode_message(one), Refusal)]
    signer, name = street.client.env.signer, street.world.params.name
    assert {open_(signer, name, one) for one in refusals} == {street.provider.me}


@pytest.mark.parametrize("stop", [True, False])
def test_what_runs_ends_unpaid_when_its_owner_wants_the_machine_back(stop):
    street = Street()
    submit(street.world, street.client, 1)
    provider = street.provider
    while not any(isinstance(half.state, Running) for half in provider.state.durable.deals.values()):
        street.world.run(street.world.now + 10)
    (deal_id,) = provider.state.durable.deals
    wanted = street.changed(Policy(own_use=OwnUse(stop=stop)), Conditions(own_use="blender runs"))
    effects = rules.handle(provider.state, wanted, provider.env)
    stopped = [one.deal_id for one in effects if isinstance(one, CancelJob)]
    assert stopped == ([deal_id] if stop else [])
    if stop:  # what the executor then answers
        result = LocalResult(
            outcome=OutcomeCode.CANCELLED,
            exit_code=-1,
            fuel=0,
            wall_ms=1,
            root=Cid(b""),
            size=0,
            log_head=ZERO_HASH,
            detail="",
        )
        provider.post(ev.JobEnded(at=street.world.now, deal_id=deal_id, result=result))
    street.world.run(street.world.now + 300_000)
    settled = provider.state.durable.deals[deal_id].state
    assert (settled.paid, settled.how) == ((0, "cancelled") if stop else (settled.terms.deal.price, "settled"))
