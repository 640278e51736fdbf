"""What do a hundred small deals of one pair cost? Two transactions, and a third that ends the channel before its time."""

from typing import Any, Final

from devnet.books import balance_figures, check_conserved, read_books
from devnet.scenario import Cluster, JobChoice, Scenario, check, settled
from devnet.steps import real

__all__ = ["DEALS", "SCENARIO"]

LIMIT_S: Final = 120.0
DEALS: Final = 100
DEPOSIT: Final = 250 * 10**18
"""More than a hundred of the dearest: what is not earned comes back."""
SAMPLES: Final = 1_000
"""Points of pi: a job of milliseconds."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """Fund a channel, run a hundred deals in it, redeem once, close together; then count transactions and tokens."""
    network = real(cluster).cluster
    client, provider = cluster.clients[0], cluster.providers[0]
    peer = await cluster.peer_id(provider)
    before = await read_books(network)
    sent = await cluster.transactions()
    await cluster.channel(client, "fund", provider, DEPOSIT)
    job = JobChoice(
        sets=(f"command=[--samples, '{SAMPLES}']", "settlement=channel", "verify.level=none", f"market.target={peer}")
    )
    began, prices = cluster.now(), []
    for number in range(DEALS):
        run_id = await cluster.submit(client, job)
        done = await cluster.until(client, run_id, settled, LIMIT_S)
        deal = done.deals[-1]
        check(deal.final_how == "voucher", f"deal {number} ended {deal.final_how!r}")
        check(deal.commit_tx is None and deal.final_tx is None, f"deal {number} is on chain: {deal.commit_tx}")
        prices.append(int(deal.price))
    seconds, paid = cluster.now() - began, sum(prices)
    held = await cluster.until_channel(client, lambda one: one.phase == "open" and one.deals > 0, LIMIT_S)
    check((int(held.paid), held.deals) == (paid, DEALS), f"the voucher pays {held.paid} for {held.deals} deals")
    await cluster.channel(provider, "redeem", client)
    await cluster.until_channel(provider, lambda one: int(one.redeemed) == paid, LIMIT_S)
    await cluster.channel(client, "close", provider)
    await cluster.until_channel(client, lambda one: one.phase == "closed", LIMIT_S)
    transactions = await cluster.transactions() - sent
    after = await read_books(network)
    spent, earned = before[client].free - after[client].free, after[provider].free - before[provider].free
    check(spent == paid, f"the client spent {spent} wei for {paid}")
    check(earned == paid - paid // 100, f"the provider earned {earned} wei of {paid}, one percent is burned")
    check_conserved(before, after)
    check(transactions == 3, f"{transactions} transactions were sent, not one to fund, one to redeem, one to close")
    return {
        "deals": DEALS,
        "transactions": transactions,
        "deals_root": held.deals_root,
        "price_wei": str(prices[0]),
        "client_spent_wei": str(spent),
        "provider_earned_wei": str(earned),
        "burned_wei": str(spent - earned),
        "balances": balance_figures(before, after),
        "deals_s": round(seconds, 3),
        "deals_per_s": round(DEALS / seconds, 3),
    }


SCENARIO = Scenario(
    name="channel-100",
    about="a hundred deals over one channel: two transactions, and one that ends it",
    script=run,
    worlds=("processes",),
)
