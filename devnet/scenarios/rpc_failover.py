"""What if a node's RPC endpoints die, lie, fall behind and forge in mid-deal? The deals settle, the bad ones are put aside.

Six endpoints, in the order in which they are preferred; only the last one stays honest. The one before it forges with care:
it keeps a transaction, answers a receipt of its success, and changes what the logs say, all of it well-formed.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final

import httpx
import msgspec
import trio

from devnet.books import Books, balance_figures, check_conserved, read_books
from devnet.chain.control import pass_time
from devnet.chain.hostile import HostileEndpoint, hostile_endpoint
from devnet.members import Member
from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, Failed, JobChoice, Scenario, check, settled
from devnet.steps import LIMIT_S, has_deal, real
from mesh.api.types import EndpointInfo, RunInfo

__all__ = ["SCENARIO"]

SETS: Final = ("limits.wall=5m", "settlement=commit")
LAG_S: Final = 100
"""Chain time that an endpoint misses at once: more than the minute that nodes forgive."""
QUARANTINE_S: Final = 90.0
"""Every endpoint is looked at twice a minute."""
POLL_S: Final = 0.2


class _Endpoints:
    """The six, all of them in front of the same chain; ``mortal`` ends with its stack."""

    def __init__(self, mortal: HostileEndpoint, end: AsyncExitStack, *others: HostileEndpoint) -> None:
        self.mortal = mortal
        self.end = end
        self.swallowing, self.frozen, self.foreign, self.forging, self.honest = others

    @property
    def urls(self) -> list[str]:
        """By preference."""
        six = (self.mortal, self.swallowing, self.frozen, self.foreign, self.forging, self.honest)
        return [one.url for one in six]


@asynccontextmanager
async def _six(chain_url: str) -> AsyncIterator[_Endpoints]:
    async with AsyncExitStack() as stack:
        others = [await stack.enter_async_context(hostile_endpoint(upstream=chain_url)) for _ in range(5)]
        end = await stack.enter_async_context(AsyncExitStack())
        yield _Endpoints(await end.enter_async_context(hostile_endpoint(upstream=chain_url)), end, *others)


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Three deals between a client and a provider that know the six: what happens to each endpoint, and to the money?"""
    world = real(cluster)
    async with _six(world.cluster.chain.rpc_url) as six:
        client = await world.cluster.add("doubting-client", ("client",), chain={"rpc": six.urls})
        provider = await world.cluster.add("doubting-provider", ("provider",), chain={"rpc": six.urls})
        await world.cluster.meet(len(world.providers))
        before = await read_books(world.cluster)
        first = await _committed(world, client, provider)
        await six.end.aclose()
        six.swallowing.mode = "swallowing"
        kept_s, first = await _paid(world, client.name, first)
        swallowed = six.swallowing.asked.get("eth_sendRawTransaction", 0)
        check(swallowed > 0, "nothing was swallowed")

        second = await _committed(world, client, provider)
        six.swallowing.mode, six.frozen.mode, six.foreign.mode = "absurd", "frozen", "wrong-chain"
        await _freeze(six.frozen)
        async with client.api() as api:
            before_lag = (await api.status()).chain_time
        await pass_time(world.cluster.chain, LAG_S)  # and nobody waits for who asks the frozen one
        late_s, second = await _paid(world, client.name, second)

        for member in (client, provider):
            await _serving(member, six.forging, since=before_lag + LAG_S)
        third = await _committed(world, client, provider)
        six.forging.mode = "forging"
        forged_s, third = await _paid(world, client.name, third)
        runs = (first, second, third)
        states = {member.name: await _put_aside(member, six) for member in (client, provider)}
        for deal in (one.deals[-1] for one in runs):
            await world.until_deal(provider.name, deal.deal_id, lambda one: one.final_how == "settled", LIMIT_S)
        after = await read_books(world.cluster)
        for member in (client, provider):
            await member.stop()
    prices = _check_paid(client.name, provider.name, before, after, runs)
    check_conserved(before, after)
    return {
        "deals": [one.deals[-1].deal_id for one in runs],
        "settled_though_swallowed_s": round(kept_s, 2),
        "settled_though_frozen_s": round(late_s, 2),
        "settled_though_forged_s": round(forged_s, 2),
        "swallowed": swallowed,
        "endpoints": states,
        "prices_wei": str(prices),
        "balances": balance_figures(before, after),
    }


def _check_paid(client: str, provider: str, before: Books, after: Books, runs: Sequence[RunInfo]) -> int:
    """The prices of the deals in wei: what the client is lighter by, and the provider is richer by but for the fees."""
    prices = sum(int(one.deals[-1].price) for one in runs)
    spent = before[client].free - after[client].free
    earned = after[provider].free - before[provider].free
    check(spent == prices, f"the client is {spent} wei lighter, the prices are {prices}")
    fees = sum(int(one.deals[-1].price) // 100 for one in runs)
    check(earned == prices - fees, f"the provider earned {earned} wei of {prices}")
    return prices


async def _committed(world: ProcessWorld, client: Member, provider: Member) -> RunInfo:
    job = JobChoice(millions=100, sets=(*SETS, f"market.target={provider.peer_id}"), audit="0")
    run_id = await world.submit(client.name, job)
    return await world.until(client.name, run_id, has_deal("committed"), LIMIT_S)


async def _paid(world: ProcessWorld, client: str, run: RunInfo) -> tuple[float, RunInfo]:
    """Seconds until the run was paid, and the run."""
    began = world.now()
    done = await world.until(client, run.run_id, lambda one: settled(one) or one.status == "failed", LIMIT_S)
    deals = "; ".join(f"{one.phase} {one.final_how} {one.detail}" for one in done.deals)
    check(settled(done) and len(done.deals) == 1, f"the run {done.status} {done.code}{done.detail}: {deals}")
    return world.now() - began, done


async def _freeze(endpoint: HostileEndpoint) -> None:
    """Until somebody, here ourselves, has asked it for its head: that is where it stays."""
    async with httpx.AsyncClient(trust_env=False) as asker:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_getBlockByNumber", "params": ["latest", False]}
        (await asker.post(endpoint.url, json=asked)).raise_for_status()


async def _serving(member: Member, endpoint: HostileEndpoint, since: int) -> None:
    """Wait until a node asks this endpoint first, those before it having been found out, and has heard of the time of day from
    it: who still has the frozen endpoint's refuses a deal that another dates a minute ahead."""
    with trio.fail_after(QUARANTINE_S):
        while True:
            async with member.api() as api:
                status = await api.status()
            url = endpoint.url.removeprefix("http://")
            if status.chain_time >= since and any(one.serving and one.url == url for one in status.endpoints):
                return
            await trio.sleep(POLL_S)


async def _put_aside(member: Member, six: _Endpoints) -> dict[str, Any]:
    """Wait until a node's status shows each bad endpoint for what it is; what it shows then."""
    shown: list[EndpointInfo] = []
    with trio.move_on_after(QUARANTINE_S):
        while True:
            async with member.api() as api:
                shown = list((await api.status()).endpoints)
            dead, absurd, frozen, foreign, forging, honest = shown
            told = dead.failures > 0 and absurd.failures > 0 and not (dead.serving or absurd.serving)
            refused = foreign.state == "refused" and forging.state == "refused" and "forges" in forging.trouble
            if told and frozen.state == "lagging" and refused and honest.serving:
                names = ("died", "lied", "fell_behind", "changed_chain", "forged", "honest")
                return {name: _figures(one) for name, one in zip(names, shown, strict=True)}
            await trio.sleep(POLL_S)
    raise Failed(f"{member.name} does not tell the bad endpoints from the good one: {shown}")


def _figures(one: EndpointInfo) -> dict[str, Any]:
    kept = ("state", "serving", "calls", "failures")
    return {name: value for name, value in msgspec.structs.asdict(one).items() if name in kept}


SCENARIO = Scenario(
    name="rpc-failover",
    about="RPC endpoints die, keep transactions, lie, fall behind and forge in mid-deal: it settles, they are put aside",
    script=run,
    providers=1,
    worlds=("processes",),
)
