"""How does `mesh up` keep a node running, and how does a short command borrow one?"""

import json
import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import msgspec
import trio

from mesh.api.mediation import MediatorInfo
from mesh.api.port import NodeApi
from mesh.api.server import serve_api
from mesh.api.service import LocalApi
from mesh.api.types import BeaconInfo, NodeStatus, PeerInfo, ProviderInfo, RelayInfo
from mesh.base.config import LoadedConfig, ensure_home
from mesh.base.errors import Defect, as_mesh_error
from mesh.base.observe import get_log, log_to
from mesh.cli.node_key import node_key
from mesh.cli.session import say, socket_of, stops_in_order
from mesh.node import Node, open_node
from mesh.seats import SeatWallet, mediator_info
from protocols import views
from protocols.job.peers import peer_to_text
from protocols.mediation.views import mediator_view
from protocols.units import PeerId

__all__ = ["node_log", "open_client", "run_daemon"]


class _Running(NamedTuple):
    """A node with its API; ``stopped`` is set by `mesh down`."""

    node: Node
    api: LocalApi
    stopped: trio.Event


@contextmanager
def node_log(loaded: LoadedConfig, *, shown: bool) -> Iterator[None]:
    """The node's log while the block runs: node.log as configured and, if ``shown``, stderr."""
    settings = loaded.config.log
    file = ensure_home(loaded.home).log_file if settings.file else None
    with open(os.devnull, "w") as nowhere:
        stream = sys.stderr if shown else nowhere
        with log_to(
            stream,
            level=settings.level,
            form=settings.format,
            file=file,
            file_bytes=settings.file_mib << 20,
            files=settings.files,
        ):
            try:
                yield
            except Exception as error:
                if isinstance(as_mesh_error(error), Defect):
                    get_log("node").exception("node.failed")
                raise


@asynccontextmanager
async def open_client(loaded: LoadedConfig) -> AsyncIterator[NodeApi]:
    """A client node for one command. It listens on the home's socket, so that other commands find it while it lives.

    Raises what ``open_node`` raises: ``StoreLocked`` when a node of this home is just starting, and others.
    """
    network = msgspec.structs.replace(loaded.config.network, listen=_any_port(loaded.config.network.listen))
    provider = msgspec.structs.replace(loaded.config.provider, roles=("client",))
    config = msgspec.structs.replace(loaded.config, network=network, provider=provider)
    with node_log(loaded, shown=False):
        async with _open(msgspec.structs.replace(loaded, config=config)) as running:
            yield running.api


def _any_port(listen: tuple[str, ...]) -> tuple[str, ...]:
    """The same addresses on free ports: nobody needs to find a client, and a provider may hold the usual one."""
    return tuple(re.sub(r"/tcp/\d+", "/tcp/0", address) for address in listen)


@asynccontextmanager
async def _open(loaded: LoadedConfig) -> AsyncIterator[_Running]:
    key = node_key(loaded)
    began = time.monotonic()
    stopped = trio.Event()
    async with open_node(loaded.config, key, ensure_home(loaded.home).home) as node, trio.open_nursery() as nursery:
        api = LocalApi(
            node.engine,
            node.store,
            node.artifacts,
            node.logs,
            SeatWallet(node.ledger, node.engine, node.entropy, loaded.config.chain.deploy_block),
            _Network(node),
            node.clock,
            node.entropy,
            partial(_status, node, loaded, began),
            stopped.set,
        )
        await nursery.start(partial(serve_api, api, socket_of(loaded)))
        yield _Running(node, api, stopped)
        nursery.cancel_scope.cancel()


class _Network:
    """Peers for the API."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def block(self, peer: PeerId, blocked: bool) -> None:
        """By the owner's wish."""
        self._node.link.block(peer, blocked)

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
        trouble=str(node.store.trouble or ""),
        beacon=_beacon(node),
        mediator=_mediator(node),
        deals=counts.deals,
        live_deals=counts.live,
        runs=counts.runs,
        events=counts.events,
        outbox=counts.outbox,
        blobs_bytes=0,  # read beside, from the disk: see LocalApi.status
    )


def _beacon(node: Node) -> BeaconInfo:
    chain = node.engine.env.params.beacon
    newest, silent_since = node.engine.view(lambda state: (state.beacon.newest, state.beacon.silent_since))
    return BeaconInfo(
        chain=chain.chain_hash.hex(),
        round=newest,
        behind=chain.round_at(node.clock.unix_s()) - newest,
        silent_since=silent_since,
        relays=tuple(
            RelayInfo(
                url=one.name,
                state=one.state,
                calls=one.calls,
                failures=one.failures,
                lies=one.lies,
                latency_ms=one.latency_ms,
                last_error=one.last_error,
            )
            for one in node.relays.statistics()
        ),
    )


def _mediator(node: Node) -> MediatorInfo | None:
    if "mediator" not in node.config.provider.roles:
        return None
    env = node.engine.env
    return mediator_info(node.engine.view(lambda state: mediator_view(state, env.signer.address, env.machine)))


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


async def run_daemon(loaded: LoadedConfig, ready_file: Path | None, quiet: bool) -> None:
    """`mesh up` in the foreground: until SIGINT, SIGTERM or `mesh down`. ``quiet``: log lines go to node.log alone."""
    with node_log(loaded, shown=not quiet):
        async with _open(loaded) as running:
            status = await running.api.status()
            say(f"peer {status.peer_id}")
            for address in status.addresses:
                say(f"  {address}")
            say(f"operator {status.operator} on {status.network}, roles {', '.join(status.roles)}")
            if status.provider is not None and not status.provider.offering:
                say(f"nothing is offered: {status.provider.reason or 'the probe failed'}   (mesh doctor)")
            if ready_file is not None:
                await trio.to_thread.run_sync(_write_ready, ready_file, status)
            await _until_stopped(running.stopped)
            stops_in_order("mesh up")
            live = running.node.engine.statistics().live
            say(f"stopping; {live} deals go on after the next `mesh up`" if live else "stopping")


async def _until_stopped(stopped: trio.Event) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:

            async def until_signal() -> None:
                async for _ in signals:
                    stopped.set()

            nursery.start_soon(until_signal)
            await stopped.wait()
            nursery.cancel_scope.cancel()


def _write_ready(path: Path, status: NodeStatus) -> None:
    """Whoever waits for this file finds it whole."""
    told = {"peer_id": status.peer_id, "operator": status.operator, "addresses": status.addresses, "pid": status.pid}
    partial_path = path.with_suffix(".part")
    partial_path.write_text(json.dumps(told))
    partial_path.rename(path)
