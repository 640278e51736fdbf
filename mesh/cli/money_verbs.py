"""What does a person type about money? wallet show|deposit|withdraw|stake|unstake|channels, chain deploy."""

from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from mesh.api.types import BalanceInfo, TxInfo, WithdrawalInfo
from mesh.base.config import LoadedConfig
from mesh.base.errors import UsageError
from mesh.cli.amounts import wei_of
from mesh.cli.channeling import move_channel
from mesh.cli.costs import say_gas
from mesh.cli.options import Form, Network, Output, Rpc, Yes, node_flags
from mesh.cli.render import amount, emit, pairs, when
from mesh.cli.session import load, open_session, run_async, running_node, say

__all__ = ["register"]

Amount = Annotated[str, typer.Argument(metavar="AMOUNT", help="Whole tokens, such as 2.5.")]
AmountOut = Annotated[
    str, typer.Argument(metavar="AMOUNT", help="Whole tokens to ask for; without it, take what was asked for.")
]
Move = Literal["deposit", "withdraw", "stake", "unstake"]
_CALLS: Final = {
    "deposit": ("approve", "deposit"), "withdraw": ("request",), "stake": ("stake",), "unstake": ("request",),
}  # fmt: skip
"""Which transactions a verb signs."""


def register(app: typer.Typer) -> None:
    """Add the verbs."""
    wallet = typer.Typer(help="The owner's money: in the wallet, in escrow, staked.", no_args_is_help=True)
    for verb in (show, deposit, withdraw, stake, unstake, channels):
        wallet.command()(verb)
    app.add_typer(wallet, name="wallet")
    chain = typer.Typer(help="The contracts behind the money.", no_args_is_help=True)
    chain.command()(deploy)
    app.add_typer(chain, name="chain")


def show(output: Output = "table", network: Network = None, rpc: Rpc = None) -> None:
    """What this node's owner holds, and where."""
    found = run_async(_balance, load(node_flags(network, rpc, None)))
    emit(found, output, lambda: balance_text(found))


async def _balance(loaded: LoadedConfig) -> BalanceInfo:
    async with running_node(loaded) as session:
        if session is not None:
            return await session.api.balance()
    from mesh.cli.offline import chain_balance

    return await chain_balance(loaded)


def balance_text(found: BalanceInfo) -> str:
    """For people."""
    rows = [
        ("operator", found.operator),
        ("owner", "the same" if found.owner == found.operator else found.owner),
        ("for gas", amount(found.native, "ETH")),
        ("wallet", amount(found.token, found.symbol)),
        ("free in escrow", amount(found.free, found.symbol)),
        ("staked", amount(found.stake, found.symbol)),
        *(("on its way out", _exit_text(one, found.symbol)) for one in found.withdrawals),
    ]
    return pairs(rows)


def _exit_text(one: WithdrawalInfo, symbol: str) -> str:
    return f"{amount(one.amount, symbol)}, from {when(one.ready_at)} UTC on: mesh wallet {one.verb}"


def deposit(tokens: Amount, output: Output = "table", network: Network = None, rpc: Rpc = None) -> None:
    """Move tokens from the wallet into escrow. Deals are paid from there."""
    run_async(_move, load(node_flags(network, rpc, None)), "deposit", wei_of(tokens), output)


def withdraw(tokens: AmountOut = "0", output: Output = "table", network: Network = None, rpc: Rpc = None) -> None:
    """Ask for free tokens back. The same without an amount takes them out once the delay is over."""
    run_async(_move, load(node_flags(network, rpc, None)), "withdraw", wei_of(tokens), output)


def stake(tokens: Amount, output: Output = "table", network: Network = None, rpc: Rpc = None) -> None:
    """Move tokens from free to staked. They are the collateral of the deals you provide for."""
    run_async(_move, load(node_flags(network, rpc, None)), "stake", wei_of(tokens), output)


def unstake(tokens: AmountOut = "0", output: Output = "table", network: Network = None, rpc: Rpc = None) -> None:
    """Ask for staked tokens back. The same without an amount takes them out once the delay is over."""
    run_async(_move, load(node_flags(network, rpc, None)), "unstake", wei_of(tokens), output)


async def _move(loaded: LoadedConfig, what: Move, wei: int, output: Form) -> None:
    if wei == 0 and what in ("deposit", "stake"):
        raise UsageError("the amount must be more than zero", fix=f"mesh wallet {what} 10")
    async with open_session(loaded, may_start=True) as session:
        await say_gas(session.api, *(_CALLS[what] if wei else ("take",)))
        sent: TxInfo = await getattr(session.api, what)(str(wei))
    emit(sent, output, lambda: sent.tx)
    done = {
        "deposit": f"{amount(str(wei))} are free in escrow",
        "stake": f"{amount(str(wei))} are staked",
    }
    later = f"asked for {amount(str(wei))}; when the delay is over: mesh wallet {what}" if wei else "taken out"
    say(f"{done.get(what, later)}   (mesh wallet show)")


def channels(
    fund: Annotated[
        str | None, typer.Option("--fund", metavar="PEER", help="Open, or add to, the one with a peer.")
    ] = None,
    tokens: Annotated[str, typer.Option("--amount", metavar="AMOUNT", help="What to lock, in whole tokens.")] = "0",
    close: Annotated[str | None, typer.Option("--close", metavar="PEER", help="End it, and get the rest back.")] = None,
    redeem: Annotated[str | None, typer.Option("--redeem", metavar="PEER", help="Be paid what it owes so far.")] = None,
    output: Output = "table",
    network: Network = None,
    rpc: Rpc = None,
) -> None:
    """Payment channels. Many small deals of one pair, paid by two transactions."""
    asked = [(verb, peer) for verb, peer in (("fund", fund), ("close", close), ("redeem", redeem)) if peer]
    if len(asked) > 1:
        raise UsageError(
            "one thing at a time",
            why="--fund, --close and --redeem exclude each other",
            fix="mesh wallet channels --help",
        )
    verb, peer = asked[0] if asked else ("", "")
    run_async(move_channel, load(node_flags(network, rpc, None)), verb, peer, wei_of(tokens), output)


def deploy(
    network: Network = None,
    rpc: Rpc = None,
    token: Annotated[
        str | None, typer.Option("--token", metavar="ADDRESS", help="Use this ERC-20 instead of a new one.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--record", metavar="FILE", help="Where to write what was deployed.")
    ] = None,
    yes: Yes = False,
    output: Output = "table",
) -> None:
    """Deploy token, escrow and panel with this key. From the committed artifacts; what is there then is checked."""
    from mesh.cli.deploying import deploy_contracts

    if network is None:
        raise UsageError(
            "no network is named",
            why="contracts are deployed once for everybody and cost real money: --network says where",
            fix="mesh chain deploy --network arbitrum-sepolia",
        )
    run_async(deploy_contracts, load(node_flags(network, rpc, None)), token, record, yes, output)
