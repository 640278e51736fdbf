"""Is this node's part of the disk in order, and are its ports free?"""

import os
import re
import socket
from typing import Final

from mesh.base.config import ensure_home
from mesh.base.errors import ConfigError
from mesh.base.keys import load_key
from mesh.cli.diagnosis import Check, Patient, bad, good, weak
from mesh.cli.node_key import key_path, unlock
from mesh.cli.session import socket_of

__all__ = ["check_disk", "check_home", "check_key", "check_ports", "check_socket"]

LEAST_FREE_MIB: Final = 256
"""A node with less cannot keep one job's inputs and outputs beside its own store."""
_TCP: Final = re.compile(r"/(ip4|ip6)/([^/]+)/tcp/(\d+)")


async def check_home(patient: Patient) -> list[Check]:
    """The node's folder: there, ours alone, writable."""
    home = patient.loaded.home
    if not home.exists():
        if not patient.repair:
            return [good("home", f"{home} will be made on first use")]
        ensure_home(home)
        return [good("home", f"{home} made")]
    mode = home.stat().st_mode & 0o777
    if mode & 0o077:
        if not patient.repair:
            return [weak("home", f"{home} has mode {mode:04o}: others can look into it", f"chmod 700 {home}")]
        home.chmod(0o700)
        return [good("home", f"{home} now has mode 0700")]
    if not os.access(home, os.W_OK | os.X_OK):
        return [bad("home", f"{home} cannot be written to", f"ls -ld {home}")]
    return [good("home", f"{home}, mode {mode:04o}")]


async def check_key(patient: Patient) -> list[Check]:
    """The node's key: there, ours alone, readable as a key."""
    path = key_path(patient.loaded)
    if not path.exists():
        return [good("key", f"{path} will be made on first use")]
    mode = path.stat().st_mode & 0o777
    repaired = ""
    if mode & 0o077:
        if not patient.repair:
            return [bad("key", f"{path} has mode {mode:04o}: others can read it", f"chmod 600 {path}")]
        path.chmod(0o600)
        repaired = ", now mode 0600"
    key = load_key(path, unlock(patient.loaded))
    return [good("key", f"{path}, operator 0x{key.address.hex()}{repaired}")]


async def check_disk(patient: Patient) -> list[Check]:
    """Room for blobs and jobs as configured."""
    config = patient.loaded.config
    place = next(one for one in (patient.loaded.home, *patient.loaded.home.parents) if one.exists())
    stat = os.statvfs(place)
    free_mib = stat.f_bavail * stat.f_frsize >> 20
    wanted = config.store.blob_quota_mib
    if "provider" in config.provider.roles:
        wanted += config.provider.disk_mib
    seen = f"{free_mib} MiB free, {wanted} MiB may be used"
    if free_mib < LEAST_FREE_MIB:
        return [bad("disk", seen, f"make room on the file system of {place}")]
    if free_mib < wanted:
        return [weak("disk", seen, f"mesh config set store.blob_quota_mib {max(free_mib // 2, 16)}")]
    return [good("disk", seen)]


async def check_socket(patient: Patient) -> list[Check]:
    """A socket that a killed node left behind. It stops nothing: the next node replaces it."""
    path = socket_of(patient.loaded)
    if not path.exists():
        return []
    if not patient.repair:
        return [weak("socket", f"{path} was left by a node that is gone", "mesh doctor --fix")]
    path.unlink(missing_ok=True)
    return [good("socket", f"{path} removed")]


async def check_ports(patient: Patient) -> list[Check]:
    """The ports to listen on are free, or held by this home's own node; and there is somebody to dial."""
    network = patient.loaded.config.network
    found = [_port(patient, address) for address in network.listen]
    if not network.bootstrap and not network.mdns:
        fix = "mesh config set network.bootstrap MULTIADDR"
        found.append(weak("bootstrap", "no peer is known and mDNS is off", fix))
    elif not network.bootstrap:
        fix = "mesh config set network.bootstrap MULTIADDR   (unless all peers are on this LAN)"
        found.append(weak("bootstrap", "no peer is named; mDNS looks on the local network alone", fix))
    else:
        found.append(good("bootstrap", f"{len(network.bootstrap)} named"))
    return found


def _port(patient: Patient, address: str) -> Check:
    matched = _TCP.match(address)
    if matched is None:
        raise ConfigError(f"network.listen {address} is no TCP address", fix="mesh config get network.listen")
    family = socket.AF_INET if matched[1] == "ip4" else socket.AF_INET6
    port = int(matched[3])
    if patient.node is not None:
        return good("port", f"{address}: the running node's")
    if port == 0:
        return good("port", f"{address}: any free one")
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((matched[2], port))
        except OSError as error:
            other = re.sub(r"/tcp/\d+", "/tcp/0", address)
            return bad("port", f"{address}: {error.strerror}", f"mesh config set network.listen {other}")
    return good("port", f"{address}: free")
