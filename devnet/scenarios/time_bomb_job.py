"""What if a job tells the time, to convict whoever ran it honestly? It is told the same time everywhere, days later too."""

from pathlib import Path
from typing import Any, Final

import trio

from devnet.books import balance_figures, check_conserved, read_books
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Scenario, check, settled
from devnet.scenarios.hostile.bomb import BOMB_JOB, bomb_module, told_by_a_real_machine
from devnet.scenarios.hostile.strangers_jobs import submit_file
from devnet.steps import LIMIT_S, real
from mesh.api.types import RunInfo

__all__ = ["SCENARIO"]

DAYS: Final = (0, 3, 30)
"""Chain time that has passed when each client runs the job."""
DAY_S: Final = 86_400


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """The same job on three days, each time audited by another execution: one result, and everybody is paid."""
    world = real(cluster)
    member = world.cluster.clients[0]
    module = bomb_module()
    truly = [told_by_a_real_machine(module) for _ in range(2)]
    check(truly[0] != truly[1] and truly[0].endswith(b"boom"), f"the bomb is none, it says {truly} on a real machine")
    folder = trio.Path(world.cluster.home / "bomb")
    await folder.mkdir(exist_ok=True)
    await (folder / "bomb.wasm").write_bytes(module)
    await (folder / "job.yaml").write_text(BOMB_JOB)

    before = await read_books(world.cluster)
    runs: list[RunInfo] = []
    told: list[bytes] = []
    for number, days in enumerate(DAYS):
        await world.pass_time(DAY_S * (days - DAYS[max(0, number - 1)]))
        runs.append(await _audited(world, member, folder))
        told.append(await world.stdout(member.name, runs[-1].run_id))
    roots = {one.root for one in runs}
    check(len(roots) == 1 and len(set(told)) == 1, f"the results differ: {roots}, {told}")
    check(not told[0].endswith(b"boom"), "the job was told the date")
    after = await read_books(world.cluster)
    prices = sum(int(one.spent) for one in runs)
    spent = before[member.name].free - after[member.name].free
    check(spent == prices, f"the client is {spent} wei lighter, its runs cost {prices}")
    lost = [name for name in world.providers if after[name].stake != before[name].stake]
    check(not lost, f"{lost} lost stake")
    check_conserved(before, after)
    return {
        "root": runs[0].root,
        "stdout": told[0].hex(),
        "on_a_real_machine": [one.hex() for one in truly],
        "days": list(DAYS),
        "checked": [one.checked for one in runs],
        "providers": [one.deals[-1].provider for one in runs],
        "prices_wei": str(prices),
        "balances": balance_figures(before, after),
    }


async def _audited(world: ProcessWorld, member: Member, folder: trio.Path) -> RunInfo:
    run_id = await submit_file(member, Path(folder / "job.yaml"), "verify.audit=1")
    done = await world.until(member.name, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    check(settled(done), f"the run {done.status}: {done.code}: {done.detail}")
    check(done.checked == "audited", f"it was checked only by {done.checked!r}")
    return done


SCENARIO = Scenario(
    name="time-bomb-job",
    about="a job that says the date and random bytes convicts nobody: audits agree, days of chain time later too",
    script=run,
    providers=2,
    worlds=("processes",),
)
