"""How do two strangers come to trade through a channel? The first results are sealed, their keys come against the vouchers."""

import hashlib
from typing import Any, Final

from devnet.scenario import Cluster, JobChoice, Scenario, check, settled
from protocols.limits import DEVNET

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
DEALS: Final = DEVNET.channel_trust + 2


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Deals of one pair, all in a channel: which were sealed, and does the client hold every result? A provider that is
    killed in the middle of a sealed one goes on where it was."""
    client, provider = cluster.clients[-1], cluster.providers[-1]
    peer = await cluster.peer_id(provider)
    sent = await cluster.transactions()
    sealed, digests, paid = [], [], 0
    for number in range(DEALS):
        job = JobChoice(
            sets=(
                f"command=[--samples, '{1000 + number}']",
                "settlement=channel",
                "verify.level=none",
                f"market.target={peer}",
            )
        )
        run_id = await cluster.submit(client, job)
        if number == 0:
            await cluster.until(client, run_id, lambda one: bool(one.deals), LIMIT_S)
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


SCENARIO = Scenario(
    name="sealed-strangers",
    about="strangers open a channel; the first results are sealed, and their keys come against the vouchers",
    script=run,
    providers=1,
    worlds=("processes",),
    alone="strangers are two nodes that have not traded before",
)
