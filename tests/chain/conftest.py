"""Which chain do the tests of this folder run on? One real pip-only chain, taken back to genesis after each test."""

import json
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import trio

from devnet.chain import ChainHandle, dev_accounts, run_chain
from mesh.chain.eth import Eth
from mesh.chain.rpc import Rpc, RpcSettings

BASE_FEE_WEI = 20_000_000
FAST = RpcSettings(attempt_s=20.0, give_up_s=60.0, probe_s=30.0, backoff_s=0.01, backoff_max_s=0.05)
"""Short pauses between attempts, on loopback; the rules are the same."""

ChainOpener = Callable[..., Awaitable[ChainHandle]]
RpcOpener = Callable[..., Rpc]


@pytest.fixture
async def open_chain(nursery: trio.Nursery) -> ChainOpener:
    """Start another chain that ends with the test: ``await open_chain(chain_id=..., block_time_s=...)``."""

    async def start(*, chain_id: int = 31337, block_time_s: float = 0.0) -> ChainHandle:
        handle: ChainHandle = await nursery.start(
            partial(run_chain, kind="pyevm", chain_id=chain_id, block_time_s=block_time_s)
        )
        return handle

    return start


@contextmanager
def chain_process(chain_id: int) -> Iterator[ChainHandle]:
    """A chain process for synchronous fixtures: session-wide ones outlive each test's event loop."""
    command = [sys.executable, "-m", "devnet.chain.server", "--watch-stdin", "--block-time", "0"]
    command += ["--chain-id", str(chain_id)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        ready = json.loads(process.stdout.readline())
        yield ChainHandle(ready["rpc_url"], ready["chain_id"], "pyevm", process.pid, dev_accounts(10))
        process.stdin.close()


@pytest.fixture(scope="session")
def shared_chain() -> Iterator[ChainHandle]:
    """One process for all tests: py-evm takes a second to import, many when the machine is busy."""
    with chain_process(31337) as handle:
        yield handle


@pytest.fixture(scope="session")
def shared_sepolia() -> Iterator[ChainHandle]:
    """The same with the chain id of Arbitrum Sepolia."""
    with chain_process(421_614) as handle:
        yield handle


@pytest.fixture
async def chain(shared_chain: ChainHandle, open_rpc_to: RpcOpener) -> AsyncIterator[ChainHandle]:
    """A chain that mines a block per transaction and no empty ones, at genesis when the test starts."""
    rpc = open_rpc_to(shared_chain.rpc_url)

    async def control(method: str, *params: object) -> object:
        return await rpc.call(method, params, lambda value: value)

    mark = await control("evm_snapshot")
    yield shared_chain
    assert await control("evm_revert", mark)
    await control("anvil_setNextBlockBaseFeePerGas", hex(BASE_FEE_WEI))
    await control("evm_setAutomine", True)


@pytest.fixture
def eventually() -> Callable[..., Awaitable[None]]:
    """Poll a real condition: ``await eventually(lambda: ...)`` fails after 60 s."""

    async def poll(condition: Callable[[], bool]) -> None:
        with trio.fail_after(60):
            while not condition():
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
