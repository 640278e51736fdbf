"""What does this home know while no node of it runs? Its store, its blobs and its chain, read without starting one."""

import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TypeVar

from mesh.api.mediation import SeatsInfo
from mesh.api.reading import HomeReader
from mesh.api.types import BalanceInfo
from mesh.artifacts import Held
from mesh.base.config import LoadedConfig, Paths
from mesh.base.errors import NodeUnreachable
from mesh.base.keys import load_key
from mesh.chain.contracts import Contracts
from mesh.chain.eth import Eth
from mesh.chain.presets import chain_preset
from mesh.chain.rpc import RpcSettings, open_rpc
from mesh.cli.node_key import key_path, unlock
from mesh.cli.waiting import slow_chain
from mesh.ledger import network_params
from mesh.store.blobs.store import open_blobs
from mesh.store.offline import open_reader
from mesh.wallet import read_balance
from protocols.deals.eip712 import Domain
from protocols.state import NodeState
from protocols.units import Address, Cid

__all__ = ["chain_balance", "chain_seats", "open_home"]

T = TypeVar("T")
PATIENCE = RpcSettings(attempt_s=5.0, give_up_s=10.0)
"""A person waits for the answer."""
MIB = 1 << 20


class _Rows:
    """The state that a node would start from."""

    def __init__(self, state: NodeState) -> None:
        self._state = state

    def view(self, select: Callable[[NodeState], T]) -> T:
        """As the engine's."""
        return select(self._state)


class _Blobs:
    """The blobs of a home, locked only while one is read: a node may want to start."""

    def __init__(self, path: Path, quota_bytes: int) -> None:
        self._path = path
        self._quota_bytes = quota_bytes

    async def export(self, root: Cid, destination: Path) -> None:
        """As ``Held.export``."""
        async with open_blobs(self._path, quota_bytes=self._quota_bytes) as store:
            await Held(store).export(root, destination)

    async def read_in(self, root: Cid, name: str, max_bytes: int) -> bytes:
        """As ``Held.read_in``."""
        async with open_blobs(self._path, quota_bytes=self._quota_bytes) as store:
            return await Held(store).read_in(root, name, max_bytes)


@asynccontextmanager
async def open_home(loaded: LoadedConfig) -> AsyncIterator[HomeReader]:
    """What the home of ``loaded`` holds. Raises ``StoreError`` when its store cannot be read."""
    paths, config = Paths(loaded.home), loaded.config
    preset = chain_preset(config.network.name)
    state = NodeState(preset.name)
    async with AsyncExitStack() as stack:
        store = await stack.enter_async_context(open_reader(paths.store_file))
        for row in (await store.load()).rows:
            state.durable.restore(row.kind, row.id, row.data)
        domain = Domain(config.chain.chain_id or preset.params.chain_id, config.chain.escrow_address)
        blobs = _Blobs(paths.blobs, config.store.blob_quota_mib * MIB)
        yield HomeReader(_Rows(state), store, blobs, domain)


async def chain_seats(loaded: LoadedConfig) -> SeatsInfo:
    """The seats of this home's key, asked of the chain, and what its store holds of their work. Raises ``ChainError``,
    ``ConfigError``, ``StoreError``."""
    from mesh.provider import machine_for
    from mesh.seats import mediator_info, panel_of, read_seats
    from protocols.mediation.views import mediator_view

    chain, params, me = loaded.config.chain, network_params(loaded.config), _operator(loaded)
    state = NodeState(params.name)
    if Paths(loaded.home).store_file.exists():
        async with open_reader(Paths(loaded.home).store_file) as store:
            for row in (await store.load()).rows:
                state.durable.restore(row.kind, row.id, row.data)
    work = mediator_info(mediator_view(state, me, machine_for(loaded.config)))
    urls = (*chain.rpc, *chain.public_rpc)
    async with open_rpc(urls, params.chain_id, jitter=random.random, settings=PATIENCE) as rpc, slow_chain(rpc):
        contracts, panel = (
            Contracts(rpc, escrow=chain.escrow_address, token=chain.token_address),
            panel_of(rpc, params.panel),
        )
        return await read_seats(contracts, Eth(rpc), panel, me, chain.deploy_block, params.token_symbol, work)


async def chain_balance(loaded: LoadedConfig) -> BalanceInfo:
    """What the owner of this home's key holds, asked of the chain. Raises ``ChainError``, ``ConfigError``."""
    chain, params, me = loaded.config.chain, network_params(loaded.config), _operator(loaded)
    urls = (*chain.rpc, *chain.public_rpc)
    async with open_rpc(urls, params.chain_id, jitter=random.random, settings=PATIENCE) as rpc, slow_chain(rpc):
        contracts = Contracts(rpc, escrow=chain.escrow_address, token=chain.token_address)
        return await read_balance(contracts, Eth(rpc), me, params.token_symbol)


def _operator(loaded: LoadedConfig) -> Address:
    """Of this home's key. Raises ``NodeUnreachable`` where there is none."""
    path = key_path(loaded)
    if not path.exists():
        raise NodeUnreachable("this home has no wallet yet", why=f"there is no key {path}", fix="mesh key new")
    return load_key(path, unlock(loaded)).address
