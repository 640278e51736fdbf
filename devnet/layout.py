"""Where does a devnet keep its things, so that `mesh devnet ps` finds what `mesh devnet up` started?"""

import json
import os
from pathlib import Path
from typing import Final

import msgspec

from mesh.base.config import mesh_home
from mesh.base.errors import NodeUnreachable

__all__ = ["ClusterFile", "NodeEntry", "devnet_home", "read_cluster", "write_cluster"]

FILE: Final = "cluster.json"


class NodeEntry(msgspec.Struct, frozen=True):
    """One node of a running devnet."""

    name: str
    role: str
    home: str
    pid: int
    peer_id: str
    operator: str
    addresses: tuple[str, ...]


class ClusterFile(msgspec.Struct, frozen=True):
    """A running devnet as it is written to disk."""

    chain_kind: str
    rpc_url: str
    chain_id: int
    chain_pid: int
    escrow: str
    token: str
    supervisor_pid: int
    nodes: tuple[NodeEntry, ...]


def devnet_home() -> Path:
    """The folder of the devnet of this user: ``$MESH_DEVNET``, or ``devnet`` beside the node's home."""
    named = os.environ.get("MESH_DEVNET")
    return Path(named) if named else mesh_home().with_name("mesh-devnet")


def write_cluster(home: Path, cluster: ClusterFile) -> None:
    """Put the file in place, whole."""
    part = home / f"{FILE}.part"
    part.write_bytes(msgspec.json.format(msgspec.json.encode(cluster), indent=2))
    part.rename(home / FILE)


def read_cluster(home: Path) -> ClusterFile:
    """The running devnet. Raises ``NodeUnreachable`` when there is none."""
    try:
        return msgspec.json.decode((home / FILE).read_bytes(), type=ClusterFile)
    except (FileNotFoundError, json.JSONDecodeError, msgspec.MsgspecError) as error:
        raise NodeUnreachable("no devnet runs here", why=f"{home / FILE} is missing", fix="mesh devnet up") from error
