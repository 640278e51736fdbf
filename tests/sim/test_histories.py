"""Does the simulator hold its invariants, repeat itself exactly, and notice when a rule is wrong?"""

import json
import os
import subprocess
import sys
from random import Random

import msgspec
import pytest

from devnet.sim import hunt
from devnet.sim.faults import FAULTS
from devnet.sim.mutants import MUTANTS, Mutant, caught
from devnet.sim.simulate import SimReport, settle, simulate
from devnet.sim.workload import FUNDS, offer_of, submit
from devnet.sim.world import World
from protocols import events as ev
from protocols.deals.eip712 import OnChainState
from protocols.deals.states import Abandoned
from protocols.envelope import parse_envelope, seal
from protocols.errors import RemoteProtocolError
from protocols.runs import is_final

FULL = bool(os.environ.get("MESH_FULL"))
SEEDS = 300 if FULL else 12
"""A mutant that outlives that many histories is not caught."""
QUICK = (
    "claim-never",
    "finalize-never",
    "commit-twice",
    "settle-unsigned",
    "abandoned-is-free",
    "hold-never-freed",
    "reorg-unseen-by-provider",
    "bond-kept",
    "lost-fsync",
)
TELL = "import sys; from devnet.sim.simulate import simulate; print(simulate(15, int(sys.argv[1]), minutes=2).hash)"


def history(seed: int, faults: str, nodes: int = 15) -> SimReport:
    return simulate(nodes, seed, minutes=3, faults=faults, runs_per_client=8)


@pytest.mark.parametrize("faults", list(FAULTS))
def test_no_fault_breaks_an_invariant(faults: str) -> None:
    for seed in range(300, 300 + (100 if FULL else 6)):
        report = history(seed, faults)
        assert report.violations == (), f"replay: mesh devnet sim --nodes 15 --seed {seed} --faults {faults}"
        assert report.runs > 0


def test_without_faults_every_run_is_done_and_paid() -> None:
    report = history(1, "none", nodes=30)
    assert (report.done, report.settled, report.violations) == (report.runs, report.runs, ())
    assert report.transactions == {"commit": report.runs, "settle": report.runs}
    assert report.rounds_per_deal < 2


def test_every_call_of_the_escrow_is_made_somewhere() -> None:
    made: set[str] = set()
    for seed in range(20):
        made |= set(history(seed, "heavy").transactions)
    assert made == {"commit", "settle", "claim", "finalize", "expire", "cancel", "burn"}


def test_one_seed_is_one_history_in_every_process() -> None:
    """A set of bytes is walked in another order where PYTHONHASHSEED is another."""

    def told(seed: int, hash_seed: str) -> str:
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        command = [sys.executable, "-c", TELL, str(seed)]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    first = told(7, "0")
    assert len(first) == 64
    assert told(7, "1") == told(7, "4242") == first
    assert told(8, "0") != first


def test_a_report_is_plain_data() -> None:
    report = history(3, "all")
    assert json.loads(msgspec.json.encode(report))["hash"] == report.hash
    assert report.ok


@pytest.mark.parametrize("mutant", [one for one in MUTANTS if FULL or one.name in QUICK], ids=lambda one: one.name)
def test_a_wrong_rule_is_noticed(mutant: Mutant) -> None:
    assert caught(mutant, range(SEEDS)) is not None, f"{mutant.name} ({mutant.slip}) outlived {SEEDS} histories"


def test_a_hunt_says_what_it_has_caught_and_ends_with_1_when_one_outlives_it(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert hunt.main(["bond-kept", "--seeds", "3"]) == 0
    assert "caught bond-kept at seed 0" in capsys.readouterr().out
    assert hunt.main(["bond-kept", "--seeds", "0"]) == 1
    assert "OUTLIVED bond-kept" in capsys.readouterr().out


def test_a_hunt_for_what_is_not_there_names_what_is(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        hunt.main(["no-such-bug"])
    assert "claim-never" in capsys.readouterr().err


def test_a_history_is_not_over_while_an_owner_still_has_something_to_submit() -> None:
    world = World(0)
    client = world.add(free=FUNDS, stake=0)
    client.start()
    client.kill()
    submit(world, client, 1)
    settle(world)
    assert client.up
    assert [run.run_nonce for run in client.state.durable.runs.values()] == [1]
    assert all(is_final(run) for run in client.state.durable.runs.values())


def test_a_history_is_not_over_while_a_call_of_the_chain_is_under_way() -> None:
    world = World(0)
    client, provider = world.add(free=FUNDS, stake=0), world.add(free=0, stake=FUNDS)
    provider.offer = offer_of(world, provider)
    for node in (client, provider):
        node.start()
    world.run(8_000)
    submit(world, client, 1)
    while not client.state.durable.deals:
        world.run(world.now + 1)
    provider.bury()
    (run,) = client.state.durable.runs
    client.post(ev.CancelRequested(at=world.now, run_id=run))
    (half,) = client.state.durable.deals.values()
    assert isinstance(half.state, Abandoned)
    settle(world)
    entry = world.escrow.entry(half.state.terms.deal)
    assert entry is not None
    assert entry.state is OnChainState.BURNED


def test_a_mutant_leaves_no_trace() -> None:
    before = history(5, "heavy").hash
    for mutant in MUTANTS:
        with mutant.apply():
            pass
    assert history(5, "heavy").hash == before


def test_what_wakes_itself_for_ever_is_found() -> None:
    world = World(1)

    def again() -> None:
        world.after(0, again)

    again()
    with pytest.raises(RuntimeError, match="time stands still"):
        world.run(10)


def test_the_worlds_dice_are_those_of_random() -> None:
    """Histories told under ``randrange`` stay the same histories."""
    for seed in range(20):
        world, plain = World(seed), Random(seed)
        world.rng.setstate(plain.getstate())
        least, most = world.network.least_ms, world.network.most_ms
        for _ in range(50):
            assert world.delay() == plain.randint(least, most)
            assert world.lost() == (plain.randrange(1_000_000) < world.network.loss_ppm)
            assert world.doubled() == (plain.randrange(1_000_000) < world.network.double_ppm)


def test_an_envelope_is_judged_once_and_a_forged_one_never_passes() -> None:
    world = World(1)
    one, other = (world.add(free=0, stake=0).env for _ in range(2))
    data = seal(one.signer, world.params.name, "offer/1", b"payload")
    envelope = parse_envelope(data, max_bytes=2_048)
    assert world.verify(envelope) == world.verify(envelope) == one.me
    forged = msgspec.structs.replace(envelope, signer=other.me)
    for _ in range(2):
        with pytest.raises(RemoteProtocolError, match="another key"):
            world.verify(forged)
