"""What does `mesh chain deploy` do from the question to the record?"""

import random
import sys
from pathlib import Path

import trio

from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig, ensure_home
from mesh.base.errors import ConfigError, UsageError
from mesh.chain.deploy import Deployment, DeployPlan, deploy, quote_deploy, write_record
from mesh.chain.errors import ChainUnreachable
from mesh.chain.eth import Eth
from mesh.chain.outcomes import FeeQuote, SubmitterSettings
from mesh.chain.presets import ChainPreset, chain_preset
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc, open_rpc
from mesh.chain.submitter import Submitter
from mesh.cli.node_key import node_key
from mesh.cli.options import Form
from mesh.cli.render import amount, emit, pairs
from mesh.cli.session import ask, on_interrupt, say
from mesh.cli.waiting import Waiting
from mesh.store import Store
from protocols.contracts import artifact
from protocols.units import Address

__all__ = ["deploy_contracts"]


async def deploy_contracts(
    loaded: LoadedConfig, token: str | None, record: Path | None, yes: bool, output: Form
) -> None:
    """`mesh chain deploy`. Interrupted, it goes on where it stopped when it is called again.

    Holds the home's store, so that no node uses the key meanwhile. Raises ``StoreLocked``, ``ChainError`` and others.
    """
    preset = chain_preset(loaded.config.network.name)
    chain = loaded.config.chain
    urls, chain_id = (*chain.rpc, *chain.public_rpc), chain.chain_id or preset.params.chain_id
    if not urls:
        raise ConfigError(
            f"no RPC endpoint of {preset.name} is known",
            why="its preset names none and chain.rpc is empty",
            fix=f"mesh chain deploy --network {preset.name} --rpc http://127.0.0.1:8545   (with your endpoint's URL)",
        )
    key = node_key(loaded)
    plan = DeployPlan(
        network=preset.name,
        bounds=preset.bounds,
        panel=preset.panel_bounds,
        minter=key.address,
        token=_address(token) if token else None,
    )
    paths = ensure_home(loaded.home)
    clock = SystemClock()
    wall = None if preset.name == "devnet" else lambda: float(clock.unix_s())
    async with (
        await Store.open(paths.store_file, clock=clock) as store,
        open_rpc(urls, chain_id, jitter=random.random, wall=wall) as rpc,
    ):
        eth = Eth(rpc)
        reverts = Reverts(artifact(name).abi for name in ("MeshEscrow", "MeshToken", "MediatorPanel"))
        settings = SubmitterSettings(fee_cap=int(chain.max_fee_gwei * 10**9))
        submitter = Submitter(eth, key, store.journal, reverts, settings)
        async with trio.open_nursery() as nursery:
            waiting = Waiting(rpc)
            nursery.start_soon(waiting.remind)
            made = await _deploy(preset, plan, eth, submitter, waiting, yes)
            nursery.cancel_scope.cancel()
    path = record or paths.home / "deployments" / f"{preset.name}.json"
    write_record(path, made)
    emit(made, output, lambda: _text(made))
    say(f"record: {path}")
    for name, value in made.settings()["chain"].items():
        say(f"  mesh config set chain.{name} {value}")


async def _deploy(
    preset: ChainPreset, plan: DeployPlan, eth: Eth, submitter: Submitter, waiting: Waiting, yes: bool
) -> Deployment:
    again = f"mesh chain deploy --network {preset.name}"
    on_interrupt("interrupted", "nothing was deployed", again)
    await _reach(eth.rpc, waiting, again)
    waiting.begin("the price of gas, and what the key holds")
    quote = await quote_deploy(submitter, plan)
    waiting.pause()
    _confirm(preset, quote, yes)
    on_interrupt(
        "interrupted: the deployment is not finished", "what was sent is kept", f"{again}   (it goes on there)"
    )
    return await deploy(eth, submitter, plan, waiting.begin)


async def _reach(rpc: Rpc, waiting: Waiting, again: str) -> None:
    """Ask every endpoint once. Raises ``ChainUnreachable`` when none tells the chain's newest block: nothing is sent then."""
    names = ", ".join(one.name for one in rpc.statistics().endpoints)
    waiting.begin(f"chain {rpc.chain_id} from {names}")
    await rpc.probe()
    told = rpc.statistics().endpoints
    dead = [one for one in told if one.head_number is None or one.state == "refused"]
    if len(dead) == len(told):
        raise ChainUnreachable(
            f"nothing was deployed: no RPC endpoint of chain {rpc.chain_id} answers",
            why="; ".join(one.last_error for one in told),
            fix=f"{again} --rpc URL   (an endpoint that answers)",
        )
    for one in dead:
        say(f"  without {one.name}: {one.last_error}")


def _confirm(preset: ChainPreset, quote: FeeQuote, yes: bool) -> None:
    """Deploying cannot be undone, so it is asked about wherever it costs real money."""
    cost = f"about {amount(str(8 * quote.expected_wei), 'ETH')}"
    say(f"deploying to {preset.name} costs {cost}; the key holds {amount(str(quote.balance_wei), 'ETH')}")
    if yes or preset.name == "devnet":
        return
    if not sys.stdin.isatty():
        raise UsageError(
            "nothing was deployed",
            why="there is no terminal to ask on",
            fix=f"mesh chain deploy --network {preset.name} --yes",
        )
    if ask("Go on? [y/N] ").strip().lower() not in ("y", "yes"):
        raise UsageError("nothing was deployed", why="you said no", fix="mesh chain deploy --network devnet")


def _address(text: str) -> Address:
    try:
        raw = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        raw = b""
    if len(raw) != 20:
        raise UsageError(
            f"--token {text} is no address",
            why="an address is 0x and 40 hexadecimal digits",
            fix="mesh chain deploy --help",
        )
    return Address(raw)


def _text(made: Deployment) -> str:
    return pairs(
        [
            ("network", f"{made.network}, chain {made.chain_id}"),
            ("token", made.token),
            ("escrow", made.escrow),
            ("panel", made.panel or "-"),
            ("from block", str(made.deploy_block)),
            ("deployer", made.deployer),
            ("token tx", made.token_tx or "-"),
            ("escrow tx", made.escrow_tx),
            ("panel tx", made.panel_tx or "-"),
            ("gas", str(made.gas_used)),
        ]
    )
