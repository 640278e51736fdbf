"""How do two strangers come to trade through a channel? The first results are sealed, their keys come against the vouchers."""

import hashlib
from typing import Any, Final

from devnet.process_world import ProcessWorld
from devnet.scenario import Cluster, JobChoice, Scenario, check, settled
from devnet.scenarios.court import court_of
from devnet.scenarios.dossier import verified
from mesh.api.types import RunInfo
from protocols.limits import DEVNET

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
DEALS: Final = DEVNET.channel_trust + 2
LATER_S: Final = 3_600
"""Longer than any patience of these nodes."""
FREE: Final = 10 * 10**18


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Two who are honest; a provider that takes the voucher and keeps the key; a client that takes the bytes and pays not."""
    honest = await _honest(cluster)
    world = court_of(cluster)
    return {"honest": honest, "key_keeper": await _key_keeper(world), "freeloader": await _freeloader(world)}


def _job(peer: str, number: int) -> JobChoice:
    fixed = ("settlement=channel", "verify.level=none", "retry.max_attempts=1")
    return JobChoice(sets=(f"command=[--samples, '{1000 + number}']", f"market.target={peer}", *fixed))


def _agreed(run: RunInfo) -> bool:
    """Both have signed: from here on a restart loses nothing."""
    return any(deal.phase not in ("proposed", "abandoned") for deal in run.deals)


async def _honest(cluster: Cluster) -> dict[str, Any]:
    """Deals of one pair, all in a channel: which were sealed, and does the client hold every result? A provider that is
    killed in the middle of a sealed one goes on where it was."""
    client, provider = cluster.clients[-1], cluster.providers[-1]
    peer = await cluster.peer_id(provider)
    sent = await cluster.transactions()
    sealed, digests, paid = [], [], 0
    for number in range(DEALS):
        run_id = await cluster.submit(client, _job(peer, number))
        if number == 0:
            await cluster.until(client, run_id, _agreed, LIMIT_S)
            await cluster.kill(provider)
            await cluster.start(provider)
        done = await cluster.until(client, run_id, settled, LIMIT_S)
        deal = done.deals[-1]
        check(deal.final_how == "voucher", f"deal {number} ended {deal.final_how!r}")
        check(len(done.deals) == 1, f"run {number} took {len(done.deals)} deals")
        paid += int(deal.price)
        trace = await cluster.trace(client, run_id)
        sealed.append(any(one.name == "deal.resulted" and one.fields.get("sealed") == "yes" for one in trace))
        output = await cluster.stdout(client, run_id)
        check(bool(output), f"result {number} is empty")
        digests.append(hashlib.sha256(output).hexdigest())
    expected = [number < DEVNET.channel_trust for number in range(DEALS)]
    check(sealed == expected, f"sealed were {sealed}, not the first {DEVNET.channel_trust}")
    held = await cluster.until_channel(client, lambda one: one.phase == "open" and one.deals == DEALS, LIMIT_S)
    check(int(held.paid) == paid, f"the voucher pays {held.paid}, the deals cost {paid}")
    return {
        "deals": DEALS,
        "sealed": sum(sealed),
        "paid_wei": str(paid),
        "transactions": await cluster.transactions() - sent,
        "outputs": digests,
    }


async def _key_keeper(world: ProcessWorld) -> dict[str, Any]:
    """One price is lost, once; the client keeps what the provider has signed, and deals with it no more."""
    client = world.clients[0]
    thief = await world.cluster.add("key-keeper", ("provider",), program="key-keeper")
    await world.cluster.meet(len(world.providers))
    assert thief.peer_id is not None
    run_id = await world.submit(client, _job(thief.peer_id, 100))
    paid = await world.until(client, run_id, lambda one: any(d.phase == "unsealing" for d in one.deals), LIMIT_S)
    deal = paid.deals[0]
    await world.pass_time(LATER_S)
    lost = await world.until(client, run_id, lambda one: one.status == "failed", LIMIT_S)
    check(lost.deals[0].final_how == "keyless", f"the deal ended {lost.deals[0].final_how!r}")
    check(lost.deals[0].root in (None, ""), "a result that nobody opened has a root")
    proven = await verified(next(one for one in world.cluster.clients if one.name == client), deal.deal_id)
    proved = {one["name"] for one in proven["findings"]}
    check({"sealed promise", "voucher deal"} <= proved, f"the dossier proves {proved}")
    check("key" in {one["name"] for one in proven["missing"]}, "the dossier does not say that the key is missing")
    again = await world.submit(client, _job(thief.peer_id, 101))
    none = await world.until(client, again, lambda one: one.status == "failed", LIMIT_S)
    check(not none.deals, "a provider that has kept a key got a second deal of the channel")
    held = await world.until_channel(client, lambda one: one.deals == 1, LIMIT_S)
    check(held.paid == deal.price, f"{held.paid} wei are signed for, one price is {deal.price}")
    return {"price_wei": deal.price, "lost_wei": held.paid, "second_run": none.code, "proved": sorted(proved)}


async def _freeloader(world: ProcessWorld) -> dict[str, Any]:
    """It has bytes that say nothing, and gets no second deal."""
    provider = world.providers[0]
    peer = await world.peer_id(provider)
    thief = await world.cluster.add("freeloader", ("client",), program="freeloader", free=FREE)
    await world.cluster.meet(len(world.providers))
    run_id = await world.submit(thief.name, _job(peer, 200))
    pulled = await world.until(thief.name, run_id, lambda one: any(d.phase == "sealed" for d in one.deals), LIMIT_S)
    deal = pulled.deals[0]
    check(deal.root in (None, ""), "the client knows the result's name before it has paid")
    await world.until_deal(provider, deal.deal_id, lambda one: one.phase == "resulted", LIMIT_S)
    await world.pass_time(LATER_S)
    await world.until_deal(provider, deal.deal_id, lambda one: one.phase == "abandoned", LIMIT_S)
    again = await world.submit(thief.name, _job(peer, 201))
    none = await world.until(thief.name, again, lambda one: one.status == "failed", LIMIT_S)
    check(not none.deals, "a client that has not paid got a second deal of the channel")
    trace = await world.trace(thief.name, run_id)
    check(not any(one.name == "deal.settled" for one in trace), "the result was opened unpaid")
    return {"price_wei": deal.price, "second_run": none.code}


SCENARIO = Scenario(
    name="sealed-strangers",
    about="strangers open a channel; the first results are sealed, and their keys come against the vouchers",
    script=run,
    providers=1,
    worlds=("processes",),
    alone="strangers are two nodes that have not traded before",
)
