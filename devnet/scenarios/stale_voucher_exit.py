"""What if a client leaves on an old voucher? Its provider is down, has newer ones, and redeems them before the end."""

from typing import Any, Final

from devnet.books import balance_figures, check_conserved, read_books
from devnet.scenario import Cluster, JobChoice, Scenario, check, settled
from devnet.steps import real

__all__ = ["SCENARIO"]

LIMIT_S: Final = 120.0
DEPOSIT: Final = 50 * 10**18
PATIENCE_S: Final = 40
"""Longer than a client waits for its provider to close together."""
SOON_S: Final = 24 * 3600
"""A channel that was opened just now ends in a year; one whose client asked for its money, in seconds."""


async def run(cluster: Cluster, seed: int) -> dict[str, Any]:
    """One deal, redeemed; two more; the client asks for its money while the provider is dead; who has what in the end?"""
    network = real(cluster).cluster
    client, provider = cluster.clients[0], cluster.providers[0]
    peer = await cluster.peer_id(provider)
    before = await read_books(network)
    await cluster.channel(client, "fund", provider, DEPOSIT)
    first = await _deal(cluster, client, peer)
    await cluster.channel(provider, "redeem", client)
    stale = await cluster.until_channel(provider, lambda one: int(one.redeemed) == first, LIMIT_S)
    paid = first + await _deal(cluster, client, peer) + await _deal(cluster, client, peer)
    await cluster.until_channel(provider, lambda one: int(one.paid) == paid, LIMIT_S)
    await cluster.kill(provider)
    await cluster.channel(client, "close", provider)
    await cluster.until_channel(client, lambda one: one.phase == "closing", LIMIT_S)
    await cluster.pass_time(PATIENCE_S)
    leaving = await cluster.until_channel(client, lambda one: one.until < stale.until - SOON_S, LIMIT_S)
    check(int(leaving.redeemed) == first < paid, f"it left with {leaving.redeemed} wei redeemed, not {first}")
    # The exit delay of a devnet is two seconds, which is no time to start a node in: the client is held back meanwhile.
    await cluster.kill(client)
    await cluster.start(provider)
    rescued = await cluster.until_channel(provider, lambda one: int(one.redeemed) == paid, LIMIT_S)
    await cluster.start(client)
    await cluster.until_channel(client, lambda one: one.phase == "closed", LIMIT_S)
    after = await read_books(network)
    spent, earned = before[client].free - after[client].free, after[provider].free - before[provider].free
    check(spent == paid, f"the client spent {spent} wei, it owed {paid}")
    check(earned == paid - paid // 100, f"the provider earned {earned} wei of {paid}, one percent is burned")
    check_conserved(before, after)
    return {
        "redeemed_when_it_left_wei": leaving.redeemed,
        "owed_wei": str(paid),
        "redeemed_in_the_end_wei": rescued.redeemed,
        "client_spent_wei": str(spent),
        "provider_earned_wei": str(earned),
        "burned_wei": str(spent - earned),
        "returned_wei": str(DEPOSIT - spent),
        "balances": balance_figures(before, after),
    }


async def _deal(cluster: Cluster, client: str, peer: str) -> int:
    """One small deal over the channel; its price in wei."""
    sets = ("command=[--samples, '1000']", "settlement=channel", "verify.level=none", f"market.target={peer}")
    run_id = await cluster.submit(client, JobChoice(sets=sets))
    done = await cluster.until(client, run_id, settled, LIMIT_S)
    check(done.deals[-1].final_how == "voucher", f"the deal ended {done.deals[-1].final_how!r}")
    return int(done.deals[-1].price)


SCENARIO = Scenario(
    name="stale-voucher-exit",
    about="a client leaves on an old voucher; its provider comes back and redeems the last one",
    script=run,
    worlds=("processes",),
)
