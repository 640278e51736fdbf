"""Where is the on-chain half? Compiled contracts as package data, and the calls a node makes to them.

The Solidity sources lie beside this file. Changing one needs Node.js (``npm ci --ignore-scripts``, then
``npm run compile``); running a node does not: the artifacts are committed, and CI compares them byte for byte.
"""

import pkgutil
from functools import cache
from typing import Any, Final

import msgspec

from protocols.errors import LocalProtocolError

__all__ = ["CONTRACTS", "Artifact", "artifact"]

CONTRACTS: Final = ("MeshToken", "MeshEscrow", "MediatorPanel", "PanelScores")
"""What a network deploys: a token, and per token an escrow and its panel, which deploys its scores itself."""


class Artifact(msgspec.Struct, frozen=True):
    """A compiled contract."""

    name: str
    solc: str
    """Full version of the compiler."""
    settings: dict[str, Any]
    sources: dict[str, str]
    """SHA-256 of every source that went in, by path; those of this project begin with ``protocols/contracts/``."""
    abi: tuple[dict[str, Any], ...]
    bytecode: bytes
    """Creation code, to which ABI-encoded constructor arguments are appended."""
    runtime: bytes
    """Code as deployed, with zeros where the constructor writes immutables."""


class _Document(msgspec.Struct, frozen=True, rename={"deployed_bytecode": "deployedBytecode"}):
    name: str
    solc: str
    settings: dict[str, Any]
    sources: dict[str, str]
    abi: tuple[dict[str, Any], ...]
    bytecode: str
    deployed_bytecode: str


@cache
def artifact(name: str) -> Artifact:
    """The artifact of a contract in ``CONTRACTS``. Raises LocalProtocolError when there is none: a broken install."""
    if name not in CONTRACTS:
        raise LocalProtocolError(f"there is no contract {name!r}; there are {', '.join(CONTRACTS)}")
    # pkgutil reads package data through the importer, so this works from a wheel, a zip or a checkout alike.
    found = pkgutil.get_data(__name__, f"artifacts/{name}.json")
    if found is None:
        raise LocalProtocolError(f"artifacts/{name}.json is not part of this installation; reinstall the package")
    document = msgspec.json.decode(found, type=_Document)
    return Artifact(
        name=document.name,
        solc=document.solc,
        settings=document.settings,
        sources=document.sources,
        abi=document.abi,
        bytecode=bytes.fromhex(document.bytecode[2:]),
        runtime=bytes.fromhex(document.deployed_bytecode[2:]),
    )
