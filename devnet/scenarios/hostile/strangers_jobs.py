"""Do modules that misbehave end in their own outcome, with their logs kept and their price paid, and the provider alive?"""

import time
from functools import partial
from pathlib import Path
from typing import Final

import trio

from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Failed, settled
from devnet.scenarios.hostile.modules import BAD_MODULES, STDOUT_BYTES, BadModule, job_text
from devnet.scenarios.hostile.verdicts import Verdict, held
from mesh.api.types import RunInfo
from mesh.base.config import load_config
from mesh.cli.jobfile import load_job
from mesh.cli.submitting import admit

__all__ = ["run_bad_modules", "submit_file"]

KIND: Final = "modules"
LIMIT_S: Final = 240.0
"""All of them, searching for a free slot included."""


async def submit_file(member: Member, file: Path, *sets: str) -> str:
    """Submit a job file through a member's own node, by a client that looks at none of its files. The run's id."""
    loaded = load_config(flags={}, env=member.environment, cwd=member.home, file=member.home / "mesh.toml")
    async with member.api() as api:
        spec = load_job(file, sets=sets, env=(), environ={})
        _, _, submission = await admit(api, loaded, spec, file.parent, int(time.time()))
        return await api.submit(submission)


async def run_bad_modules(world: ProcessWorld, folder: Path) -> list[Verdict]:
    """Submit every bad module at once; wait until each is paid."""
    client = world.cluster.clients[0]
    names = (client.name, *world.providers)
    before = {name: await world.balance(name) for name in names}
    verdicts: list[Verdict] = []
    runs: list[RunInfo] = []
    async with trio.open_nursery() as nursery:
        for number, bad in enumerate(BAD_MODULES):
            place = folder / str(number)
            await trio.to_thread.run_sync(_write, place, number, bad)
            nursery.start_soon(partial(_one, world, client, place / "job.yaml", bad, verdicts, runs))
    after = {name: await world.balance(name) for name in names}
    prices = [int(run.deals[-1].price) for run in runs]
    spent = int(before[client.name].free) - int(after[client.name].free)
    earned = sum(int(after[name].free) - int(before[name].free) for name in world.providers)
    due = sum(price - price // 100 for price in prices)
    verdicts.append(held(KIND, "the client paid", spent == sum(prices), f"{spent} wei for prices of {sum(prices)}"))
    verdicts.append(held(KIND, "the providers earned", earned == due, f"{earned} wei instead of {due}"))
    return verdicts


def _write(place: Path, number: int, bad: BadModule) -> None:
    place.mkdir(parents=True)
    (place / "module.wasm").write_bytes(bad.wasm)
    (place / "job.yaml").write_text(job_text(number, bad))


async def _one(
    world: ProcessWorld, client: Member, file: Path, bad: BadModule, verdicts: list[Verdict], runs: list[RunInfo]
) -> None:
    run_id = await submit_file(client, file)
    try:
        run = await world.until(client.name, run_id, _over, LIMIT_S)
    except Failed as failed:
        verdicts.append(Verdict(KIND, bad.name, str(failed)[:400]))
        return
    if not settled(run):
        verdicts.append(Verdict(KIND, bad.name, f"the run {run.status}: {run.code}: {run.detail}"))
        return
    runs.append(run)
    async with client.api() as api:
        log = (await api.logs(run_id, bad.stream, 0)).data
    found = (run.outcome, run.exit_code)
    wrong = [] if found == (bad.outcome, bad.exit_code) else [f"it ended {found}, not {bad.outcome} {bad.exit_code}"]
    if bad.kept not in log or len(log) > STDOUT_BYTES:
        wrong.append(f"its {bad.stream} holds {log[:80]!r}")
    if len(run.deals) != 1:
        wrong.append(f"it took {len(run.deals)} deals")
    verdicts.append(Verdict(KIND, bad.name, "; ".join(wrong)))


def _over(run: RunInfo) -> bool:
    return settled(run) or run.status in ("failed", "cancelled")
