"""How is a node put together? The composition root: parts, one root nursery, start order, stop order, and nothing else."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import trio

from mesh.artifacts import Blobs
from mesh.base.clock import Clock, SystemClock
from mesh.base.config import Config
from mesh.base.config.home import Paths
from mesh.base.entropy import Entropy, SystemEntropy
from mesh.base.keys import NodeKey
from mesh.base.observe import get_log
from mesh.beacon.presets import relays_of
from mesh.beacon.relays import Relays, open_relays
from mesh.cases import CaseFeed, DisputedBlobs
from mesh.effects import Effector
from mesh.engine import Engine
from mesh.exec.wasm.executor import WasmExecutor, open_wasm_executor
from mesh.ledger import Ledger, open_ledger
from mesh.logs import LogReader, serve_logs
from mesh.market import Gossip, serve_messages, watch_peers
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.provider import Advertiser, addresses_of, machine_for
from mesh.rounds import RoundFeed
from mesh.runner import JobRunner
from mesh.sealing import SealedResults
from mesh.store.blobs.store import BlobStore, open_blobs
from mesh.store.patient import PatientStore
from mesh.transfer import BlobFetcher, BlobServer
from protocols.deals.eip712 import Domain
from protocols.disputes.duties import AppealPolicy
from protocols.env import Env
from protocols.events import NodeStarted
from protocols.limits import NetworkParams
from protocols.state import NodeState
from protocols.units import Hash32

__all__ = ["Node", "open_node"]

MIB: Final = 1 << 20

log = get_log("node")


class Node:
    """A running node: what the API and the command line hold on to."""

    def __init__(
        self,
        config: Config,
        key: NodeKey,
        engine: Engine,
        link: Libp2pLink,
        store: PatientStore,
        blobs: BlobStore,
        artifacts: Blobs,
        ledger: Ledger,
        relays: Relays,
        executor: WasmExecutor,
        advertiser: Advertiser | None,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self.config = config
        self.key = key
        self.engine = engine
        self.link = link
        self.store = store
        self.blobs = blobs
        self.artifacts = artifacts
        self.ledger = ledger
        self.relays = relays
        self.executor = executor
        self.advertiser = advertiser
        self.clock = clock
        self.entropy = entropy
        self.logs = LogReader(link)


def _fraction(entropy: Entropy) -> float:
    """In [0, 1): spreads polls and retries."""
    return int.from_bytes(entropy.bytes(4), "big") / (1 << 32)


@asynccontextmanager
async def open_node(
    config: Config,
    key: NodeKey,
    home: Path,
    *,
    clock: Clock | None = None,
    entropy: Entropy | None = None,
) -> AsyncIterator[Node]:
    """A node that is up: listening, following its chain, its interrupted work resumed. Leaving stops every part.

    Start order: store, blobs, executor, chain, link, engine, effects, gossip, offers. Stopping is the reverse; a kill at
    any moment loses nothing that was promised. Raises ``MeshError`` when a part cannot start.
    """
    clock, entropy = clock or SystemClock(), entropy or SystemEntropy()
    paths = Paths(home)
    async with AsyncExitStack() as stack:
        store, blobs, executor = await _open_disk(stack, config, paths, clock)
        ledger = await stack.enter_async_context(open_ledger(config, key, store, clock, entropy))
        params = ledger.params
        urls = (*config.beacon.relays, *relays_of(params.beacon))
        jitter = partial(_fraction, entropy)
        relays = await stack.enter_async_context(open_relays(urls, params.beacon, jitter=jitter))
        env = _env(config, key, params)
        engine = Engine(NodeState(params.name), env, store, clock)
        nursery = await stack.enter_async_context(trio.open_nursery())
        stack.callback(nursery.cancel_scope.cancel)
        link = await _start_link(nursery, config, key, paths)
        artifacts = Blobs(blobs, BlobFetcher(blobs, link), BlobServer(blobs, link, more=DisputedBlobs(engine)))
        runner = JobRunner(executor, artifacts, paths.runs, SealedResults(blobs))
        await runner.clear()
        rounds = RoundFeed(engine, link, clock, relays, jitter)
        effector = Effector(engine, link, artifacts, runner, ledger, rounds, clock)
        engine.connect(effector.perform, effector.forget)
        serve_messages(engine, link, clock)
        serve_logs(link, engine, runner)
        await _start_core(nursery, engine, effector, clock, entropy, _dialable(config, link))
        await nursery.start(partial(ledger.follow, engine))
        gossip = Gossip(engine, link, clock)
        await nursery.start(partial(gossip.run))
        await nursery.start(partial(rounds.run))
        await nursery.start(partial(CaseFeed(engine, link, clock).run))
        await nursery.start(partial(watch_peers, engine, link, gossip, clock))
        advertiser = None
        if "provider" in config.provider.roles:
            advertiser = Advertiser(config, engine, executor, clock, lambda: link.addresses)
            await nursery.start(partial(advertiser.run))
        log.info("node.started", peer=env.me.hex()[-8:], addresses=list(link.addresses), pid=os.getpid())
        yield Node(
            config, key, engine, link, store, blobs, artifacts, ledger, relays, executor, advertiser, clock, entropy
        )


def _env(config: Config, key: NodeKey, params: NetworkParams) -> Env:
    """What the rules are handed beside state and events."""
    return Env(
        params=params,
        signer=key,
        domain=Domain(params.chain_id, params.escrow),
        appeals=AppealPolicy(config.dispute.appeal, config.dispute.max_deposit),
        machine=machine_for(config),
    )


async def _open_disk(
    stack: AsyncExitStack, config: Config, paths: Paths, clock: Clock
) -> tuple[PatientStore, BlobStore, WasmExecutor]:
    """What lies below the node's home: its rows, its blobs, its executor's compiled modules."""
    opened = await PatientStore.open(
        paths.store_file,
        clock=clock,
        quota_bytes=config.store.journal_quota_mib * MIB,
        trace_kept=config.store.trace_entries,
    )
    store = await stack.enter_async_context(opened)
    quota = config.store.blob_quota_mib * MIB
    blobs = await stack.enter_async_context(open_blobs(paths.blobs, quota_bytes=quota))
    executor = await stack.enter_async_context(open_wasm_executor(paths.modules))
    await executor.reap()
    return store, blobs, executor


async def _start_core(
    nursery: trio.Nursery,
    engine: Engine,
    effector: Effector,
    clock: Clock,
    entropy: Entropy,
    addresses: tuple[bytes, ...],
) -> None:
    """Load, take up what a restart interrupted, and tell the rules that they are awake."""
    await nursery.start(partial(effector.run))
    await nursery.start(partial(engine.run))
    incarnation = Hash32(entropy.bytes(32))
    at, wall = clock.monotonic_ms(), clock.unix_s()
    await engine.post(NodeStarted(at=at, wall=wall, incarnation=incarnation, addresses=addresses))


def _dialable(config: Config, link: Libp2pLink) -> tuple[bytes, ...]:
    """Where others may dial this node: what its owner announces, else where it listens."""
    return addresses_of(config.network.announce or link.addresses)


async def _start_link(nursery: trio.Nursery, config: Config, key: NodeKey, paths: Paths) -> Libp2pLink:
    network = config.network
    settings = LinkConfig(listen=network.listen, bootstrap=network.bootstrap, cache=paths.peers_file, mdns=network.mdns)
    link = Libp2pLink(key.expose_secret(), settings)
    await nursery.start(link.run)
    return link
