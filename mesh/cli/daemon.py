"""How does `mesh up` keep a node running, and how does a short command borrow one?"""

import json
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final

import msgspec
import trio

from mesh.api.port import NodeApi
from mesh.api.server import serve_api
from mesh.api.service import LocalApi
from mesh.api.types import NodeStatus, PeerInfo, ProviderInfo
from mesh.base.config import LoadedConfig, ensure_home
from mesh.base.keys import NodeKey, create_key, load_key, passphrase_in
from mesh.cli.session import say, socket_of
from mesh.node import Node, open_node
from mesh.wallet import LedgerWallet
from protocols import views
from protocols.job.peers import peer_to_text

__all__ = ["node_key", "open_service", "run_daemon"]

DRAIN_POLL_S: Final = 0.5


def node_key(loaded: LoadedConfig) -> NodeKey:
    """The node's key; made on first use. Raises ``ConfigError``."""
    named = loaded.config.key.file
    path = Path(named) if named else ensure_home(loaded.home).key_file
    if not path.exists():
        key = create_key(path)
        say(f"made a new node key: {path}")
        return key
    secret = loaded.config.key.passphrase_file
    return load_key(path, passphrase_in(Path(secret)) if secret else None)


@asynccontextmanager
async def open_service(
    loaded: LoadedConfig, *, roles: tuple[str, ...] | None = None, announce: bool = True
) -> AsyncIterator[NodeApi]:
    """A node and its API, served on the socket while the block runs."""
    async with _open(loaded, roles, announce) as (_, api, _stopped):
        yield api


@asynccontextmanager
async def _open(
    loaded: LoadedConfig, roles: tuple[str, ...] | None, announce: bool
) -> AsyncIterator[tuple[Node, LocalApi, trio.Event]]:
    config = loaded.config
    if roles is not None:
        config = msgspec.structs.replace(config, provider=msgspec.structs.replace(config.provider, roles=roles))
    key = node_key(loaded)
    began = time.monotonic()
    stopped = trio.Event()
    async with open_node(config, key, ensure_home(loaded.home).home) as node, trio.open_nursery() as nursery:
        api = LocalApi(
            node.engine,
            node.store,
            node.artifacts,
            node.logs,
            LedgerWallet(node.ledger, node.engine),
            _Network(node),
            node.clock,
            node.entropy,
            partial(_status, node, loaded, began),
            stopped.set,
        )
        if announce:
            await nursery.start(partial(serve_api, api, socket_of(loaded)))
        yield node, api, stopped
        nursery.cancel_scope.cancel()


class _Network:
    """Peers for the API."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def peer_infos(self) -> tuple[PeerInfo, ...]:
        """The connected peers."""
        now = trio.current_time()
        return tuple(
            PeerInfo(
                peer=peer_to_text(one.peer),
                address=one.address,
                connected_s=int(now - one.since_s),
                dialled=one.dialled,
                score=one.score,
                round_trip_ms=one.round_trip_ms,
            )
            for one in self._node.link.peers().values()
        )


def _status(node: Node, loaded: LoadedConfig, began: float) -> NodeStatus:
    engine, env = node.engine, node.engine.env
    counts = engine.statistics()
    block, stamp, offers = engine.view(lambda s: (s.chain_block, s.chain_now, len(s.market.offers)))
    return NodeStatus(
        version=version("mesh-compute"),
        network=env.params.name,
        chain_id=env.params.chain_id,
        peer_id=peer_to_text(env.me),
        operator="0x" + env.signer.address.hex(),
        roles=node.config.provider.roles,
        addresses=node.link.addresses,
        peers=len(node.link.peers()),
        offers=offers,
        uptime_s=int(time.monotonic() - began),
        pid=os.getpid(),
        home=str(loaded.home),
        chain_block=block,
        chain_time=stamp,
        endpoints=node.ledger.endpoints(),
        provider=_provider(node),
        deals=counts.deals,
        live_deals=counts.live,
        runs=counts.runs,
        events=counts.events,
        outbox=counts.outbox,
        blobs_bytes=0,
    )


def _provider(node: Node) -> ProviderInfo | None:
    if node.advertiser is None:
        return None
    view = node.engine.view(views.provider_view)
    found = node.advertiser.capability
    return ProviderInfo(
        offering=view.offering,
        draining=view.draining,
        slots=view.slots,
        busy=view.busy,
        holds=view.holds,
        capability=view.capability,
        executors=view.executors,
        isolation=found.isolation_level.name if found else "",
        reason=found.reason if found else "",
    )


async def run_daemon(loaded: LoadedConfig, ready_file: Path | None) -> None:
    """`mesh up` in the foreground: until SIGINT, SIGTERM or `mesh down`."""
    async with _open(loaded, None, announce=True) as (node, api, stopped):
        status = await api.status()
        say(f"peer {status.peer_id}")
        for address in status.addresses:
            say(f"  {address}")
        say(f"operator {status.operator} on {status.network}, roles {', '.join(status.roles)}")
        if ready_file is not None:
            await trio.to_thread.run_sync(_write_ready, ready_file, status)
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with trio.open_nursery() as nursery:

                async def until_signal() -> None:
                    async for _ in signals:
                        stopped.set()

                nursery.start_soon(until_signal)
                await stopped.wait()
                nursery.cancel_scope.cancel()
        say(f"stopping; {node.engine.statistics().live} deals go on after the next `mesh up`")


def _write_ready(path: Path, status: NodeStatus) -> None:
    """Whoever waits for this file finds it whole."""
    told = {"peer_id": status.peer_id, "operator": status.operator, "addresses": status.addresses, "pid": status.pid}
    partial_path = path.with_suffix(".part")
    partial_path.write_text(json.dumps(told))
    partial_path.rename(path)


def detach(loaded: LoadedConfig, arguments: list[str]) -> int:
    """Start `mesh up` as a process of its own; returns its pid. Its log is node.log in the home."""
    import subprocess

    log = ensure_home(loaded.home).log_file.with_name("up.log")
    with log.open("ab") as out:
        child = subprocess.Popen(  # noqa: S603  # our own interpreter, our own module
            [sys.executable, "-m", "mesh.cli.app", "up", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            start_new_session=True,
        )
    return child.pid
