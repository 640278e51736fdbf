"""How do the contracts get onto a chain, and is what is there really ours?

Deploys the token (unless one is given), the escrow and its panel from the committed artifacts, then reads them back: code,
token, bounds and signing domain must be what was meant. The record it leaves is all that a node's configuration needs.

Escrow and panel name each other for good. The escrow is told the address that the deployer's next contract will have.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import msgspec

from mesh.base.errors import ConfigError
from mesh.chain.contracts import Contracts
from mesh.chain.errors import ChainError, TxRefused
from mesh.chain.eth import Eth, TxCall
from mesh.chain.outcomes import Confirmed, FeeQuote, Outcome, Reverted
from mesh.chain.panel import PanelContract
from mesh.chain.submitter import Submitter
from protocols.contracts import artifact
from protocols.deals.eip712 import EscrowBounds
from protocols.disputes.params import PanelBounds
from protocols.hashing import keccak256
from protocols.units import WEI_PER_TOKEN, ZERO_ADDRESS, Address, Tokens
from protocols.verify.rlp import encode_rlp, integer

__all__ = [
    "DeployPlan",
    "Deployment",
    "check_deployment",
    "check_panel",
    "create_address",
    "deploy",
    "quote_deploy",
    "read_record",
    "same_code",
    "write_record",
]

MAX_RECORD_BYTES: Final = 64 * 1024
_KEYS: Final = ("deploy token", "deploy escrow", "deploy panel")
_IMMUTABLE: Final = re.compile(rb"\x7f\x00{32}")


class DeployPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What to deploy. ``token`` is that of an existing ERC-20 to use; ``token_burns``: whether it has ``burn``."""

    network: str
    bounds: EscrowBounds
    minter: Address
    token: Address | None = None
    token_burns: bool = True
    panel: PanelBounds | None = None
    """What the panel shall accept, for good; None: none is deployed, and this escrow knows no panel deals."""
    name: str = "Mesh"
    symbol: str = "MESH"
    cap: Tokens = Tokens(1_000_000_000 * WEI_PER_TOKEN)


class Deployment(msgspec.Struct, frozen=True, kw_only=True):
    """What was deployed; addresses and hashes as 0x text, because people read and copy this record."""

    network: str
    chain_id: int
    token: str
    escrow: str
    deploy_block: int
    deployer: str
    token_tx: str
    escrow_tx: str
    gas_used: int
    solc: str
    panel: str = ""
    panel_tx: str = ""

    def settings(self) -> dict[str, dict[str, object]]:
        """The same as a node's configuration wants it."""
        chain: dict[str, object] = {
            "chain_id": self.chain_id,
            "escrow": self.escrow,
            "token": self.token,
            "deploy_block": self.deploy_block,
        }
        if self.panel:
            chain["panel"] = self.panel
        return {"chain": chain}


async def quote_deploy(submitter: Submitter, plan: DeployPlan) -> FeeQuote:
    """What the token would cost now; escrow and panel take about seven times its gas. Raises ``ChainError``."""
    return await submitter.quote(TxCall(to=None, data=_token_code(plan)))


async def deploy(
    eth: Eth, submitter: Submitter, plan: DeployPlan, progress: Callable[[str], None] = lambda step: None
) -> Deployment:
    """Deploy what the plan names and check it. ``progress`` is told what is waited for next, in words.

    Raises ``ChainError``. With a durable journal an interrupted deployment goes on where it stopped when it is called
    again; its keys are released only at the end.
    """
    head = await eth.head()
    token, token_tx, gas = plan.token, "", 0
    if token is None:
        progress("the token's contract to be in a block (1 of 3)")
        made = _confirmed("MeshToken", await submitter.submit("deploy token", TxCall(to=None, data=_token_code(plan))))
        token, token_tx, gas = _created(made), "0x" + made.tx_hash.hex(), made.gas_used
    expected = await _next_panel(eth, submitter, plan)
    code = _escrow_code(plan, token, expected)
    progress("the escrow's contract to be in a block (2 of 3)")
    made = _confirmed("MeshEscrow", await submitter.submit("deploy escrow", TxCall(to=None, data=code)))
    escrow, gas = _created(made), gas + made.gas_used
    record = Deployment(
        network=plan.network,
        chain_id=eth.rpc.chain_id,
        token="0x" + token.hex(),
        escrow="0x" + escrow.hex(),
        deploy_block=min(head.number + 1, made.block),
        deployer="0x" + submitter.address.hex(),
        token_tx=token_tx,
        escrow_tx="0x" + made.tx_hash.hex(),
        gas_used=gas,
        solc=artifact("MeshEscrow").solc,
    )
    contracts = Contracts(eth.rpc, escrow=escrow, token=token)
    if plan.panel is not None:
        progress("the panel's contract to be in a block (3 of 3)")
        record = await _with_panel(eth, submitter, plan, contracts, record)
    progress("the contracts to be read back")
    wrong = await check_deployment(eth, contracts, plan.bounds)
    if wrong:
        raise ChainError("the deployed contracts are not what was sent", why="; ".join(wrong), fix="mesh chain deploy")
    for key in _KEYS:
        await submitter.release(key)
    return record


async def _next_panel(eth: Eth, submitter: Submitter, plan: DeployPlan) -> Address:
    """Where the panel will be: created by the transaction after the escrow's. Zero when none is wanted."""
    if plan.panel is None:
        return ZERO_ADDRESS
    return create_address(submitter.address, await eth.nonce(submitter.address) + 1)


async def _with_panel(
    eth: Eth, submitter: Submitter, plan: DeployPlan, contracts: Contracts, record: Deployment
) -> Deployment:
    """Deploy the panel that the escrow names. Raises ``ChainError`` when it can no longer be at that address."""
    assert plan.panel is not None
    expected = await contracts.panel()
    bounds = msgspec.structs.astuple(plan.panel)
    code = _creation("MediatorPanel", record.escrow, record.token, plan.token_burns, bounds)
    made = _confirmed("MediatorPanel", await submitter.submit("deploy panel", TxCall(to=None, data=code)))
    wrong = await check_panel(eth, contracts, expected, plan.panel)
    if wrong:
        for key in _KEYS:
            await submitter.release(key)
        raise ChainError(
            "the escrow has no panel where it expects one",
            why=f"{'; '.join(wrong)}; another program has used the deployer's key meanwhile",
            fix="mesh chain deploy   (nothing uses the contracts of this attempt)",
        )
    return msgspec.structs.replace(
        record,
        panel="0x" + expected.hex(),
        panel_tx="0x" + made.tx_hash.hex(),
        gas_used=record.gas_used + made.gas_used,
    )


async def check_deployment(eth: Eth, contracts: Contracts, bounds: EscrowBounds | None = None) -> tuple[str, ...]:
    """What is wrong with an escrow, in sentences; empty when all is well. Raises ``ChainError`` when it cannot be asked."""
    runtime = await eth.code(contracts.escrow)
    if not runtime:
        return (f"there is no contract at 0x{contracts.escrow.hex()} on chain {eth.rpc.chain_id}",)
    wrong: list[str] = []
    if not same_code(runtime, artifact("MeshEscrow").runtime):
        wrong.append(f"the code at 0x{contracts.escrow.hex()} is not this version's MeshEscrow")
        return tuple(wrong)
    token = await contracts.escrow_token()
    if token != contracts.token:
        wrong.append(f"that escrow holds token 0x{token.hex()}, configured is 0x{contracts.token.hex()}")
    if await contracts.separator() != contracts.domain.separator:
        wrong.append("that escrow judges signatures of another domain")
    if bounds is not None and await contracts.bounds() != bounds:
        wrong.append("that escrow was deployed with other bounds than this network's")
    return tuple(wrong)


async def check_panel(
    eth: Eth, contracts: Contracts, panel: Address, bounds: PanelBounds | None = None
) -> tuple[str, ...]:
    """What is wrong with an escrow's panel, in sentences; empty when all is well. Raises ``ChainError``."""
    named = await contracts.panel()
    if named != panel:
        return (f"that escrow's disputes are judged by 0x{named.hex()}, not by 0x{panel.hex()}",)
    if not same_code(await eth.code(panel), artifact("MediatorPanel").runtime):
        return (f"the code at 0x{panel.hex()} is not this version's MediatorPanel",)
    found = PanelContract(eth.rpc, panel)
    wrong: list[str] = []
    if await found.escrow() != contracts.escrow:
        wrong.append(f"the panel at 0x{panel.hex()} serves another escrow")
    if bounds is not None and await found.bounds() != bounds:
        wrong.append("that panel was deployed with other bounds than this network's")
    return tuple(wrong)


def create_address(deployer: Address, nonce: int) -> Address:
    """The address of the contract that a transaction with this nonce creates (yellow paper, 7)."""
    return Address(keccak256(encode_rlp([deployer, integer(nonce)]))[12:])


def write_record(path: Path, record: Deployment) -> None:
    """Write the record whole or not at all."""
    whole = path.with_name(path.name + ".part")
    path.parent.mkdir(parents=True, exist_ok=True)
    whole.write_bytes(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
    whole.replace(path)


def read_record(path: Path) -> Deployment:
    """Read a record back. Raises ``ConfigError``."""
    fix = f"mesh chain deploy   (or restore {path})"
    try:
        with path.open("rb") as source:
            return msgspec.json.decode(source.read(MAX_RECORD_BYTES), type=Deployment)
    except OSError as error:
        raise ConfigError(f"the deployment record {path} cannot be read", why=str(error), fix=fix) from error
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is not a deployment record", why=str(error), fix=fix) from error


def _token_code(plan: DeployPlan) -> bytes:
    return _creation("MeshToken", plan.name, plan.symbol, plan.cap, "0x" + plan.minter.hex())


def _escrow_code(plan: DeployPlan, token: Address, panel: Address) -> bytes:
    addresses = "0x" + token.hex(), "0x" + panel.hex()
    return _creation("MeshEscrow", addresses[0], plan.token_burns, addresses[1], msgspec.structs.astuple(plan.bounds))


def _creation(name: str, *args: Any) -> bytes:
    from eth_abi.abi import encode

    found = artifact(name)
    inputs = next(item["inputs"] for item in found.abi if item["type"] == "constructor")
    return found.bytecode + encode([_type(given) for given in inputs], args)


def _type(given: dict[str, Any]) -> str:
    kind: str = given["type"]
    if not kind.startswith("tuple"):
        return kind
    return f"({','.join(_type(part) for part in given['components'])}){kind.removeprefix('tuple')}"


def _confirmed(name: str, outcome: Outcome) -> Confirmed:
    if isinstance(outcome, Confirmed):
        return outcome
    why = str(outcome.reason) if isinstance(outcome, Reverted) else "another program uses the same key"
    raise TxRefused(f"{name} could not be deployed", why=why, fix="mesh chain deploy")


def _created(made: Confirmed) -> Address:
    if made.created is None:
        raise ChainError("the receipt of a deployment names no contract", fix="mesh chain deploy --rpc URL")
    return made.created


def same_code(found: bytes, compiled: bytes) -> bool:
    """Equal but for immutables: the constructor fills them in where the compiler wrote PUSH32 of zero."""
    if len(found) != len(compiled):
        return False
    blank = bytearray(found)
    for place in _IMMUTABLE.finditer(compiled):
        blank[place.start() + 1 : place.end()] = bytes(32)
    return bytes(blank) == compiled
