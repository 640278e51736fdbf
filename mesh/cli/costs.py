"""What will the chain take for what a person is about to sign? Gas at today's price, and the fee that is burned."""

from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from mesh.api.port import NodeApi
from mesh.api.types import BalanceInfo, Submission
from mesh.base.errors import ChainOrFunds
from mesh.cli.render import amount
from mesh.cli.session import say

__all__ = ["GAS", "say_gas", "say_run_costs"]

GAS: Final[Mapping[str, int]] = {
    "approve": 47_000,
    "deposit": 67_000,
    "request": 53_000,
    "take": 40_000,
    "stake": 47_000,
    "fund": 54_000,
    "redeem": 46_000,
    "request_close": 31_000,
    "expire": 49_000,
    "dispute": 398_000,
    "fund_panel": 60_000,
    "join": 116_000,
    "resign": 47_000,
}
"""Units of each call, for an account that makes it for the first time where that is dearer: tests/contracts/gas.json and
docs/benchmarks.md, measured. On a rollup a call's data comes on top: some percent, or more when its parent chain is dear."""
PATIENCE_S: Final = 3.0
"""For the price of gas. A chain that does not answer keeps nobody from submitting: then units are said without it."""
GWEI: Final = 10**9


async def say_gas(api: NodeApi, *calls: str) -> None:
    """Before transactions of one's own are signed: what they take, and what there is."""
    say(_gas(await _account(api), *calls))


async def say_run_costs(api: NodeApi, submission: Submission) -> None:
    """Before a run is submitted: the fee that is in its price, and which gas is whose."""
    found = await _account(api)
    say("fee: 1 % of what is paid is burned, out of the provider's part; nothing is added to the price")
    if submission.settlement != "channel":
        say("gas: the provider's, for commitment and settlement; yours if it vanishes: " + _gas(found, "expire"))
    if submission.settlement != "commit":
        say("a channel, where one is opened, takes " + _gas(found, "fund"))
    if submission.enforcement == "panel":
        say("a dispute, where one is opened, takes " + _gas(found, "fund_panel", "dispute"))
    else:
        say("no panel judges it: a wrong result is refused and remembered, and costs its provider no collateral")


def _gas(found: BalanceInfo | None, *calls: str) -> str:
    units = sum(GAS[name] for name in calls)
    if found is None or not int(found.base_fee):
        return f"about {units:,} units of gas; what one costs now no endpoint says"
    price = int(found.base_fee)
    each = f"{price / GWEI:.4g} gwei"
    return (
        f"about {amount(str(units * price), 'ETH')} of gas ({units:,} units at {each}), you hold "
        f"{amount(found.native, 'ETH')}"
    )


async def _account(api: NodeApi) -> BalanceInfo | None:
    """None where the chain does not answer soon."""
    import trio

    found = None
    with trio.move_on_after(PATIENCE_S), suppress(ChainOrFunds):
        found = await api.balance()
    return found
