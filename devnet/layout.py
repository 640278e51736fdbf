"""Where does a devnet keep its things, so that `mesh devnet ps` finds what `mesh devnet up` started?"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec

from mesh.base.config import mesh_home
from mesh.base.errors import NodeUnreachable, UsageError

__all__ = ["ClusterFile", "NodeEntry", "claim", "devnet_home", "read_cluster", "write_cluster"]

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
    beacon_url: str = ""
    panel: str = ""


def devnet_home() -> Path:
    """The folder of the devnet of this user: ``$MESH_DEVNET``, or ``mesh-devnet`` beside the default home.

    ``MESH_HOME`` does not move it: whoever works as one of the devnet's nodes still means the same devnet.
    """
    named = os.environ.get("MESH_DEVNET")
    mine = {name: value for name, value in os.environ.items() if name != "MESH_HOME"}
    return Path(named) if named else mesh_home(mine).with_name("mesh-devnet")


@contextmanager
def claim(home: Path) -> Iterator[None]:
    """Be the only devnet below ``home`` while the block runs. Raises ``UsageError`` when another one is."""
    home.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with home.with_name(f"{home.name}.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            why = f"its nodes live below {home}, which a second one would empty"
            raise UsageError(
                "a devnet runs here already", why=why, fix="mesh devnet ps, or mesh devnet down"
            ) from error
        yield


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
