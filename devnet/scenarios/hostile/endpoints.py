"""Does a node use the honest endpoint when those before it lie, stall or break, and does `mesh status` show them up?"""

import json
from contextlib import AsyncExitStack
from typing import Final

import trio

from devnet.chain.hostile import HostileEndpoint, Mode, hostile_endpoint
from devnet.cluster import ProcessCluster
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import JOBS, settled
from devnet.scenarios.hostile.strangers_jobs import submit_file
from devnet.scenarios.hostile.verdicts import Verdict, held

__all__ = ["check_endpoints"]

KIND: Final = "endpoints"
LIARS: Final[tuple[Mode, ...]] = (
    "wrong-chain",
    "garbage",
    "wrong-id",
    "no-result",
    "negative",
    "absurd",
    "null",
    "deep",
    "huge",
    "compressed",
    "throttled",
    "overloaded",
    "redirect",
    "cut",
    "drip",
)
"""Fifteen, tried in this order before the honest one: a network has sixteen endpoints at most."""
LIMIT_S: Final = 120.0
POLL_S: Final = 0.2
CHAIN_CODE: Final = 6
"""The exit code of a command that cannot reach its chain."""


async def check_endpoints(world: ProcessWorld) -> list[Verdict]:
    """A node with fifteen liars before the honest endpoint works; one with a liar of another chain alone says so."""
    cluster = world.cluster
    async with AsyncExitStack() as stack:
        liars = [await stack.enter_async_context(hostile_endpoint(m, upstream=cluster.chain.rpc_url)) for m in LIARS]
        rpc = [*(liar.url for liar in liars), cluster.chain.rpc_url]
        member = await cluster.add("lied-to", ("client",), chain={"rpc": rpc})
        verdicts = [await _works(world, member)]
        verdicts += await _shown_up(member, liars)
        verdicts.append(await _only_liar(cluster, liars[0]))
        await member.stop()
    return verdicts


async def _works(world: ProcessWorld, member: Member) -> Verdict:
    """A job for money, through the honest endpoint."""
    with trio.fail_after(LIMIT_S):
        async with member.api() as api:
            while (await api.status()).offers < len(world.providers):
                await trio.sleep(POLL_S)
    sets = ("command=[--samples, '3000000']",)
    run_id = await submit_file(member, JOBS / "pi" / "job.yaml", *sets)
    run = await world.until(member.name, run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    return held(KIND, "a job behind fifteen liars", settled(run), f"the run {run.status}: {run.code}: {run.detail}")


async def _shown_up(member: Member, liars: list[HostileEndpoint]) -> list[Verdict]:
    """`mesh status` says of each liar that it is refused or failing, and of the honest one that it serves."""
    with trio.move_on_after(LIMIT_S):  # a slow one is found out by its first timeout
        async with member.api() as api:
            while any(not one.failures for one in (await api.status()).endpoints[:-1]):
                await trio.sleep(POLL_S)
    ended = await member.command("status", "-o", "json")
    if ended.code != 0:
        return [Verdict(KIND, "mesh status", f"it ended with {ended.code}: {ended.talk[-300:]}")]
    shown = {one["url"]: one for one in json.loads(ended.out)["endpoints"]}
    verdicts = []
    for mode, liar in zip(LIARS, liars, strict=True):
        found = shown[liar.url.removeprefix("http://")]
        wanted = ("refused",) if mode == "wrong-chain" else ("cooling", "untried", "ready")
        fine = found["state"] in wanted and found["failures"] > 0 and not found["serving"]
        verdicts.append(held(KIND, mode, fine and sum(liar.asked.values()) > 0, f"status shows {found}"))
    serving = [one["url"] for one in shown.values() if one["serving"]]
    honest = member.plan.extra["chain"]["rpc"][-1].removeprefix("http://")  # type: ignore[index]  # a list, see above
    return [*verdicts, held(KIND, "the honest one", serving == [honest], f"serving: {serving}")]


async def _only_liar(cluster: ProcessCluster, liar: HostileEndpoint) -> Verdict:
    """A node whose only endpoint serves another chain trades with nobody, and says which chain it is and what to do."""
    member = cluster.plan("misled", ("client",), chain={"rpc": [liar.url]})
    await member.start()
    ended = await member.command("wallet", "show", timeout_s=LIMIT_S)
    async with member.api() as api:
        (shown,) = (await api.status()).endpoints
    await member.stop()
    del cluster.members[member.name]
    said = all(part in ended.talk for part in ("chain 1,", "31337", "try: "))
    fine = ended.code == CHAIN_CODE and said and shown.state == "refused"
    problem = f"mesh wallet show ended with {ended.code}: {ended.talk[-300:]}; status shows {shown}"
    return held(KIND, "nothing but another chain", fine, problem)
