"""What does a node do with malformed things? Files, modules, messages, records, trades, endpoints: each gets its due.

A clear error that names the place and the fix, or a cost to whoever sent it; nothing crashes, nothing is lost, and a job
for money still runs afterwards.
"""

from typing import Any, Final

import trio

from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.scenarios.hostile.attack import Stage, wage
from devnet.scenarios.hostile.endpoints import check_endpoints
from devnet.scenarios.hostile.envelopes import ENVELOPES
from devnet.scenarios.hostile.files import check_job_files, check_settings, run_commands
from devnet.scenarios.hostile.outcast import be_cast_out
from devnet.scenarios.hostile.peer import Target, params_of
from devnet.scenarios.hostile.records import RECORDS
from devnet.scenarios.hostile.strangers_jobs import run_bad_modules
from devnet.scenarios.hostile.streams import STREAMS, speak_to_the_port
from devnet.scenarios.hostile.trades import cheat_a_client, cheat_a_provider
from devnet.scenarios.hostile.verdicts import Verdict, figures_of, held
from mesh.base.observe import log_to
from protocols.job.peers import peer_from_text
from protocols.units import DealId

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
LEAST: Final = 200
"""Bad things this scenario must have tried: fewer, and a part of it did not run."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Everything bad at once, then an honest job."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("bad inputs are given to real processes")
    world, client = cluster, cluster.clients[0]
    first = await _honest_job(world, client, 3)
    nodes = {name: await _pid(world, name) for name in (client, *world.providers)}
    folder = world.cluster.home / "bad"
    folder.mkdir()
    verdicts = check_job_files() + await trio.to_thread.run_sync(check_settings, folder / "settings")
    verdicts += await run_commands(folder / "commands", world.cluster[client].environment)
    verdicts += await run_bad_modules(world, folder / "modules")
    with (folder / "attackers.log").open("w") as sink, log_to(sink, level="info", form="json"):
        verdicts += await _attacked(world, client, first, seed)
    verdicts += await check_endpoints(world)
    verdicts += [await _unharmed(world, name, pid) for name, pid in nodes.items()]
    verdicts += await _nothing_lost(world, client, first)
    figures = figures_of(verdicts)
    if figures["failed"]:
        raise Failed(f"{len(figures['failed'])} of {len(verdicts)}: " + " | ".join(figures["failed"]), figures)
    check(len(verdicts) >= LEAST, f"only {len(verdicts)} bad things were tried")
    return figures


async def _honest_job(world: ProcessWorld, client: str, millions: int) -> str:
    run_id = await world.submit(client, JobChoice(millions=millions))
    done = await world.until(client, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(done), f"an honest job {done.status}: {done.code}: {done.detail}")
    return run_id


async def _attacked(world: ProcessWorld, client: str, first: str, seed: int) -> list[Verdict]:
    """Messages, streams, records and trades, to the client and to the provider of a deal that is none of the attacker's."""
    deal = (await world.run(client, first)).deals[0]
    members = world.cluster.members
    provider = next(one for one in members.values() if one.operator == deal.provider_operator)
    targets = [Target(members[client]), Target(provider)]
    stage = Stage(
        params=await trio.to_thread.run_sync(params_of, provider),
        deal_id=DealId(bytes.fromhex(deal.deal_id[2:])),
        client=peer_from_text(deal.client),
        provider=peer_from_text(deal.provider),
    )
    verdicts = await wage("messages", ENVELOPES, targets, stage, seed)
    verdicts += await wage("streams", STREAMS, targets, stage, seed)
    verdicts += await wage("records", RECORDS, targets, stage, seed)
    verdicts += await cheat_a_client(world, targets[0], stage, seed)
    verdicts += await cheat_a_provider(world, targets[1], stage)
    for target in targets:
        verdicts += await speak_to_the_port(target)
        verdicts += await be_cast_out(target, stage.params, seed)
    return verdicts


async def _pid(world: ProcessWorld, name: str) -> int:
    async with world.cluster[name].api() as api:
        return (await api.status()).pid


async def _unharmed(world: ProcessWorld, name: str, pid: int) -> Verdict:
    """The same process still answers, and nothing in its log is a defect."""
    member = world.cluster[name]
    log = await trio.Path(member.log).read_text(errors="replace")
    alive = member.running and await _pid(world, name) == pid
    problem = "it is gone" if not alive else f"its log: {_around(log)}" if "Traceback" in log else ""
    return Verdict("nodes unharmed", name, problem)


def _around(log: str) -> str:
    at = log.index("Traceback")
    return log[at : at + 600]


async def _nothing_lost(world: ProcessWorld, client: str, first: str) -> list[Verdict]:
    """What was settled before is settled still, its output is there, and a new job runs for money."""
    before = await world.run(client, first)
    output = await world.stdout(client, first)
    second = await _honest_job(world, client, 4)
    fine = settled(before) and bool(output) and settled(await world.run(client, second))
    return [held("afterwards", "an earlier and a later job", fine, f"{before.status}, {len(output)} bytes of output")]


SCENARIO = Scenario(
    name="bad-inputs",
    about="malformed files, modules, messages, records, trades and endpoints",
    script=run,
    worlds=("processes",),
)
