"""Which chain do the tests of this folder run on? A real pip-only one, a fresh process per test that asks for it."""

from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial

import pytest
import trio

from devnet.chain import ChainHandle, run_chain
from mesh.chain.eth import Eth
from mesh.chain.rpc import Rpc, RpcSettings

FAST = RpcSettings(attempt_s=2.0, give_up_s=10.0, probe_s=30.0, backoff_s=0.01, backoff_max_s=0.05)
"""Times for endpoints on loopback; the rules are the same."""

ChainOpener = Callable[..., Awaitable[ChainHandle]]
RpcOpener = Callable[..., Rpc]


@pytest.fixture
async def open_chain(nursery: trio.Nursery) -> ChainOpener:
    """Start a chain that ends with the test: ``await open_chain(chain_id=..., block_time_s=...)``."""

    async def start(*, chain_id: int = 31337, block_time_s: float = 0.0) -> ChainHandle:
        handle: ChainHandle = await nursery.start(
            partial(run_chain, kind="pyevm", chain_id=chain_id, block_time_s=block_time_s)
        )
        return handle

    return start


@pytest.fixture
async def chain(open_chain: ChainOpener) -> ChainHandle:
    """A chain that mines a block per transaction and no empty ones."""
    return await open_chain()


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Poll a real condition: ``await eventually(lambda: ...)`` fails after 20 s."""

    async def poll(condition: Callable[[], bool]) -> None:
        with trio.fail_after(20):
            while not condition():  # noqa: ASYNC110 - the condition belongs to code that announces nothing
                await trio.sleep(0.005)

    return poll


@pytest.fixture
async def open_rpc_to() -> AsyncIterator[RpcOpener]:
    """An ``Rpc`` with short times and no randomness: ``open_rpc_to(url, ...)``; closed with the test."""
    opened: list[Rpc] = []

    def make(*urls: str, chain_id: int = 31337, settings: RpcSettings = FAST, **more: object) -> Rpc:
        rpc = Rpc(urls, chain_id, jitter=lambda: 0.5, settings=settings, **more)  # type: ignore[arg-type]
        opened.append(rpc)
        return rpc

    yield make
    for rpc in opened:
        await rpc.aclose()


@pytest.fixture
def eth(chain: ChainHandle, open_rpc_to: RpcOpener) -> Eth:
    """Typed reads of ``chain``."""
    return Eth(open_rpc_to(chain.rpc_url))
