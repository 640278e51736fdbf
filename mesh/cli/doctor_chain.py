"""Does the chain answer, is it the right one, are our contracts on it, and is there money?"""

import random
from typing import Final

from mesh.base.clock import SystemClock
from mesh.base.config import Chain
from mesh.base.errors import MeshError
from mesh.base.keys import load_key
from mesh.chain.agreement import FIX
from mesh.chain.contracts import Contracts
from mesh.chain.deploy import check_deployment, check_panel
from mesh.chain.endpoint import EndpointStatistics
from mesh.chain.eth import Eth
from mesh.chain.presets import ChainPreset, chain_preset
from mesh.chain.rpc import Rpc, RpcSettings, open_rpc
from mesh.chain.wire import head_or_none, hex_quantity
from mesh.cli.diagnosis import Check, Patient, bad, good, weak
from mesh.cli.node_key import key_path, unlock
from mesh.cli.render import amount
from protocols.units import Address, Hash32

__all__ = ["check_chain"]

PATIENCE: Final = RpcSettings(attempt_s=5.0, give_up_s=10.0)
"""A person waits for these answers."""
SKEW_WEAK_S: Final = 60
"""Blocks come every quarter second on Arbitrum; NTP keeps a clock within one. An hour makes deadlines meaningless."""
SKEW_BAD_S: Final = 3600


async def check_chain(patient: Patient) -> list[Check]:
    """Endpoints, clock, contracts and money, as far as each can be asked."""
    config = patient.loaded.config
    preset = chain_preset(config.network.name)
    urls = (*config.chain.rpc, *config.chain.public_rpc)
    if not urls:
        fix = "mesh config set chain.rpc URL"
        return [bad("rpc", f"no endpoint of {preset.name} is known", fix), *_unknown_contracts(patient, preset)]
    chain_id = config.chain.chain_id or preset.params.chain_id
    async with open_rpc(urls, chain_id, jitter=random.random, settings=PATIENCE) as rpc:
        await rpc.probe()
        endpoints = rpc.statistics().endpoints
        alive = [one for one in endpoints if one.head_number is not None]
        found = [_endpoint(one, chain_id, bool(alive)) for one in endpoints]
        missing = _unknown_contracts(patient, preset)
        if alive:
            found += await _agreement(rpc, preset)
            found.append(await _clock(rpc, preset))
            found += missing or await _contracts(patient, rpc, preset)
        else:
            found += missing
        return found


def _endpoint(one: EndpointStatistics, chain_id: int, others: bool) -> Check:
    name = f"rpc {one.name}"
    if one.head_number is not None:
        seen = f"chain {chain_id}, block {one.head_number}, {one.latency_ms:.0f} ms"
        return weak(name, f"{seen}: {one.last_error}", "mesh status") if one.state == "lagging" else good(name, seen)
    fix = (
        "mesh config get chain.rpc   (remove or correct it)"
        if one.state == "refused"
        else "mesh config set chain.rpc URL   (adds one)"
    )
    seen = one.last_error or one.state
    return weak(name, seen, fix) if others and one.state != "refused" else bad(name, seen, fix)


async def _agreement(rpc: Rpc, preset: ChainPreset) -> list[Check]:
    """Whether the endpoints tell the same block: a node whose endpoints do not stops until it knows which is true."""
    endpoints = rpc.witnesses()
    if len(endpoints) < 2:
        seen = "one endpoint serves: nobody contradicts it if it forges"
        return [] if preset.name == "devnet" else [weak("rpc agree", seen, "mesh config set chain.rpc URL   (add one)")]
    number = min(endpoint.head_number or 0 for endpoint in endpoints)
    hashes: dict[Hash32, list[str]] = {}
    for endpoint in endpoints:
        try:
            told = await rpc.ask(endpoint, "eth_getBlockByNumber", [hex_quantity(number), False], head_or_none)
        except MeshError:
            continue
        if told is not None:
            hashes.setdefault(told.hash, []).append(endpoint.name)
    if len(hashes) < 2:
        return [good("rpc agree", f"{len(endpoints)} endpoints tell the same block {number}")]
    camps = "; ".join(f"{', '.join(names)}: 0x{told.hex()[:12]}" for told, names in hashes.items())
    return [bad("rpc agree", f"they tell different blocks {number}: {camps}", FIX)]


async def _clock(rpc: Rpc, preset: ChainPreset) -> Check:
    """The newest block's time against ours. A development chain's time may be moved at will."""
    skew = SystemClock().unix_s() - (await Eth(rpc).head()).timestamp
    seen = f"{abs(skew)} s {'ahead of' if skew > 0 else 'behind'} the newest block"
    if preset.name == "devnet" or abs(skew) <= SKEW_WEAK_S:
        return good("clock", seen)
    fix = "timedatectl set-ntp true   (unless the chain has stopped)"
    return weak("clock", seen, fix) if abs(skew) <= SKEW_BAD_S else bad("clock", seen, fix)


def _unknown_contracts(patient: Patient, preset: ChainPreset) -> list[Check]:
    chain = patient.loaded.config.chain
    if any(chain.escrow_address) and any(chain.token_address):
        return []
    why = "the contracts of this network are not deployed yet, or this version does not know where"
    fix = f"mesh chain deploy --network {preset.name}, or: mesh config set chain.escrow 0x..., chain.token 0x..."
    return [bad("contracts", why, fix)]


async def _contracts(patient: Patient, rpc: Rpc, preset: ChainPreset) -> list[Check]:
    chain = patient.loaded.config.chain
    contracts = Contracts(rpc, escrow=chain.escrow_address, token=chain.token_address)
    try:
        wrong = await check_deployment(Eth(rpc), contracts, preset.bounds)
        if not wrong and any(chain.panel_address):
            wrong = await check_panel(Eth(rpc), contracts, chain.panel_address, preset.panel_bounds)
    except MeshError as error:
        return [bad("contracts", f"{error.what}: {error.why}", error.fix)]
    if wrong:
        return [bad("contracts", "; ".join(wrong), "mesh config view --origins   (chain.escrow, chain.token)")]
    return [good("contracts", _addresses(chain)), *await _funds(patient, rpc, contracts)]


def _addresses(chain: Chain) -> str:
    return f"escrow {chain.escrow}, token {chain.token}, panel {chain.panel or 'none'}"


async def _funds(patient: Patient, rpc: Rpc, contracts: Contracts) -> list[Check]:
    """What deals need: gas where this node posts transactions, free tokens where it buys, stake where it provides."""
    path = key_path(patient.loaded)
    if not path.exists():
        return [weak("funds", "there is no key yet", "mesh key new")]
    me: Address = load_key(path, unlock(patient.loaded)).address
    symbol = chain_preset(patient.loaded.config.network.name).params.token_symbol
    gas = await Eth(rpc).balance(me)
    owner = await contracts.owner_of(me)
    account, wallet = await contracts.account(owner), await contracts.balance(owner)
    provides = "provider" in patient.loaded.config.provider.roles
    buys = "client" in patient.loaded.config.provider.roles
    send = f"send some to 0x{me.hex()}"
    return [
        _fund("gas", amount(str(gas), "ETH"), bool(gas), provides, send),
        _fund(
            "free",
            f"{amount(str(int(account.free)), symbol)} in escrow, {amount(str(int(wallet)), symbol)} in the wallet",
            bool(account.free),
            buys,
            "mesh wallet deposit 10" if wallet else send,
        ),
        _fund(
            "stake",
            amount(str(int(account.stake)), symbol),
            bool(account.stake) or not provides,
            False,
            "mesh wallet stake 10",
        ),
    ]


def _fund(name: str, seen: str, enough: bool, needed: bool, fix: str) -> Check:
    if enough:
        return good(name, seen)
    return bad(name, seen, fix) if needed else weak(name, seen, fix)
