"""What does `mesh deal dispute FILE` do from the file to the panel?"""

import sys
from pathlib import Path

from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig, ensure_home
from mesh.base.entropy import SystemEntropy
from mesh.base.errors import ConfigError, ResultRejected, UsageError
from mesh.chain.presets import chain_preset
from mesh.cli.dossiers import read_file
from mesh.cli.node_key import node_key
from mesh.cli.options import Form
from mesh.cli.render import amount, emit, pairs, when
from mesh.cli.session import ask, say
from mesh.ledger import network_params, open_ledger
from mesh.ledger.funding import DisputeQuote, open_dispute, quote_dispute
from mesh.store import Store
from protocols.deals.evidence import Dossier, examine
from protocols.disputes.stakes import Stakes, dispute_of, stakes_of
from protocols.effects import OpenDispute
from protocols.errors import RemoteProtocolError

__all__ = ["dispute_dossier"]


async def dispute_dossier(loaded: LoadedConfig, path: Path, withheld: bool, yes: bool, output: Form) -> None:
    """`mesh deal dispute`. Everything that can be lost is said before anything is signed.

    Holds the home's store, so that no node uses the key meanwhile. Raises ``ResultRejected`` for a dossier that does not hold,
    ``StoreLocked``, ``ChainOrFunds`` and others.
    """
    dossier = read_file(path)
    call = _checked(loaded, path, dossier, withheld)
    key, clock = node_key(loaded), SystemClock()
    paths = ensure_home(loaded.home)
    symbol = chain_preset(loaded.config.network.name).params.token_symbol
    async with (
        await Store.open(paths.store_file, clock=clock) as store,
        open_ledger(loaded.config, key, store, clock, SystemEntropy()) as ledger,
    ):
        quote = await quote_dispute(ledger, call)
        say(_text(call, stakes_of(dossier), quote, symbol))
        _confirm(path, yes)
        done, status = await open_dispute(ledger, call)
    told = {
        "deal_id": "0x" + call.deal_id.hex(),
        "tx": "0x" + done.tx_hash.hex(),
        "block": done.block,
        "gas_used": done.gas_used,
        "bond": str(int(call.bond)),
        "phase": status.phase.name.lower(),
        "until": int(status.until),
    }
    emit(told, output, lambda: str(told["tx"]))
    say(
        f"the dispute is open: the provider has until {when(status.until)} UTC to show its secret, or loses its collateral"
    )


def _checked(loaded: LoadedConfig, path: Path, dossier: Dossier, withheld: bool) -> OpenDispute:
    """The dispute, of a dossier that holds and is about this network."""
    wrong = [one.name for one in examine(dossier) if not one.ok]
    if wrong:
        raise ResultRejected(f"{path} does not hold", why=f"wrong: {', '.join(wrong)}", fix=f"mesh deal verify {path}")
    params = network_params(loaded.config)
    if (dossier.chain_id, dossier.escrow) != (params.chain_id, params.escrow):
        raise ConfigError(
            f"{path} is about another escrow",
            why=f"0x{dossier.escrow.hex()} on chain {dossier.chain_id}, this network's is 0x{params.escrow.hex()}",
            fix=f"mesh deal dispute {path} --network NAME",
        )
    try:
        return dispute_of(dossier, withheld=withheld)
    except RemoteProtocolError as error:
        raise UsageError(
            "no dispute can be opened with this file", why=str(error), fix=f"mesh deal verify {path}"
        ) from error


def _text(call: OpenDispute, stakes: Stakes, quote: DisputeQuote, symbol: str) -> str:
    """What it takes, and what can come of it."""

    def tokens(wei: int) -> str:
        return amount(str(int(wei)), symbol)

    reason = "the result was withheld" if call.withheld else "the result is wrong"
    source = f"{tokens(quote.at_panel)} at the panel already, {tokens(quote.moves)} from your free {tokens(quote.free)}"
    return pairs([
        ("dispute", f"0x{call.deal_id.hex()}: {reason}; possible until {when(quote.until)} UTC"),
        ("bond", f"{tokens(quote.bond)}: {source}"),
        ("gas", f"about {amount(str(quote.gas_wei), 'ETH')}, you hold {amount(str(quote.for_gas), 'ETH')}"),
        ("client is right", f"the bond returns to you; {tokens(stakes.to_client)} go to the client, none to you"),
        ("nobody is to blame", f"you lose {tokens(stakes.shared)} of the bond, half of what the seats cost"),
        ("panel splits", "you lose the bond, and nobody gets it; price and collateral return"),
        ("provider is right", f"you lose the bond, {tokens(stakes.bond)}; so too when the job's inputs are not to be had"),
        ("appeals", f"{tokens(stakes.appeal)} more from whoever appeals or answers one; this command does neither"),
    ])  # fmt: skip


def _confirm(path: Path, yes: bool) -> None:
    """Money may be lost: it is asked about, on every network."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was disputed", why="there is no terminal to ask on", fix=f"mesh deal dispute {path} --yes"
        )
    if ask("Dispute it? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was disputed", why="you said no", fix=f"mesh deal verify {path}")
