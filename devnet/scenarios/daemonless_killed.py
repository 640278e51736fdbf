"""What if `mesh submit` runs without a node and is killed mid-run? Any later command of that home resumes its run.

Such a client is a node for as long as its command lives. Killed, it leaves a home; `mesh wait RUN` starts a node on it, which
takes the result and pays, once.
"""

import json
from typing import Any, Final

import trio

from devnet.members import Member
from devnet.process_world import ProcessWorld, job_file, job_sets
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from mesh.api.types import RunInfo
from mesh.base.errors import NodeUnreachable

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
POLL_S: Final = 0.05
JOB: Final = JobChoice(millions=300, audit="0")


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """No node runs; submit, kill -9 once the deal is on chain, wait for the run, and count what was paid."""
    if not isinstance(cluster, ProcessWorld):
        raise Failed("commands are real processes")
    client = cluster.cluster.clients[0]
    before = await cluster.balance(client.name)
    known = {one.run_id for one in await _runs(client)}
    await client.stop()

    sets = [word for one in job_sets(JOB) for word in ("--set", one)]
    submitting = await client.spawn("submit", str(job_file(JOB)), "--yes", *sets)
    run_id = await _committed(client, known)
    submitting.kill()
    await submitting.wait()
    check(not client.running, "a node of this home still runs")

    waited = await client.command("wait", run_id, "-o", "json", timeout_s=LIMIT_S)
    check(waited.code == 0, f"mesh wait ends with {waited.code}: {waited.talk[-600:]}")
    told = json.loads(waited.out)
    check((told["outcome"], len(told["deals"])) == ("exited", 1), f"{told['outcome']}, {len(told['deals'])} deals")
    logs = await client.command("logs", run_id, "-s", "stdout")
    check(logs.code == 0 and "pi ~ 3.1" in logs.out, f"mesh logs ends with {logs.code}: {logs.out[:80]!r}")

    await client.start()
    done = await cluster.until(client.name, run_id, settled, LIMIT_S)
    spent = int(before.free) - int((await cluster.balance(client.name)).free)
    check(spent == int(done.deals[0].price), f"the client spent {spent} for a price of {done.deals[0].price}")
    return {
        "run_id": run_id,
        "settlement": done.deals[0].final_tx,
        "spent_wei": str(spent),
        "killed_at": "committed",
        "resumed_by": "mesh wait",
    }


async def _runs(client: Member) -> tuple[RunInfo, ...]:
    async with client.api() as api:
        return await api.runs()


async def _committed(client: Member, known: set[str]) -> str:
    """The new run, once its deal is on chain; asked of the node that `mesh submit` is."""
    with trio.move_on_after(LIMIT_S):
        while True:
            try:
                for one in await _runs(client):
                    if one.run_id not in known and one.deals and one.deals[0].commit_tx is not None:
                        return one.run_id
            except NodeUnreachable:
                pass  # it has not come up yet
            await trio.sleep(POLL_S)
    raise Failed(f"mesh submit committed nothing within {LIMIT_S:g} s: less {client.home / 'submit.log'}")


SCENARIO = Scenario(
    name="daemonless-killed",
    about="mesh submit without a node is killed mid-run and its run resumed",
    script=run,
    providers=1,
    worlds=("processes",),
)
