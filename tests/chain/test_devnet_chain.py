"""Is the development chain good enough to build on: web3-compatible, bounded, robust, and the same with anvil?"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import httpcore
import pytest
import trio

from devnet.chain import ChainHandle, ChainStartError, find_anvil, run_chain
from devnet.chain.ledger import MAX_MINE
from devnet.chain.methods import MAX_LOGS
from devnet.chain.server import MAX_BATCH, MAX_BODY_BYTES
from mesh.chain.errors import RpcError
from mesh.chain.eth import Eth, LogQuery, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, SubmitterSettings
from mesh.chain.reverts import Reverts
from mesh.chain.rpc import Rpc
from mesh.chain.submitter import Submitter
from mesh.chain.transactions import UnsignedTx, sign
from protocols.units import Address

SINK = Address(b"\x55" * 20)
Control = Callable[..., Awaitable[object]]


@pytest.fixture
def control(eth: Eth) -> Control:
    async def call(method: str, *params: object) -> object:
        return await eth.rpc.call(method, params, lambda value: value)

    return call


async def post(url: str, body: bytes) -> tuple[int, bytes]:
    async with httpcore.AsyncConnectionPool() as pool:
        response = await pool.request("POST", url, content=body)
        return response.status, response.content


async def ask(url: str, body: object) -> object:
    return json.loads((await post(url, json.dumps(body).encode()))[1])


async def test_time_moves_as_told_and_never_back(eth: Eth, control: Control) -> None:
    await control("evm_mine")  # the chain may have been without a block for long
    before, began = (await eth.head()).timestamp, trio.current_time()
    await control("evm_increaseTime", 1000)
    await control("evm_mine")
    moved = (await eth.head()).timestamp
    assert 1000 <= moved - before <= 1000 + 2 + trio.current_time() - began
    await control("evm_setNextBlockTimestamp", moved + 5000)
    await control("evm_mine")
    assert (await eth.head()).timestamp == moved + 5000
    with pytest.raises(RpcError, match="before the head"):
        await control("evm_setNextBlockTimestamp", moved)


async def test_a_revert_restores_the_state_and_uses_up_the_snapshot(
    chain: ChainHandle, eth: Eth, control: Control
) -> None:
    sender = Submitter(eth, chain.accounts[0], MemoryJournal(), Reverts(), SubmitterSettings(poll_s=0.002))
    mark = await control("evm_snapshot")
    head = await eth.head()
    sent = await sender.submit("gift", TxCall(to=SINK, value=9))
    assert isinstance(sent, Confirmed)
    assert await control("evm_revert", mark) is True
    assert await eth.head() == head
    assert await eth.balance(SINK) == 0
    assert await eth.receipt(sent.tx_hash) is None
    assert await eth.transaction(sent.tx_hash) is None
    assert await control("evm_revert", mark) is False


async def test_two_branches_have_different_blocks(eth: Eth, control: Control) -> None:
    mark = await control("evm_snapshot")
    await control("evm_mine")
    first = await eth.head()
    await control("evm_revert", mark)
    await control("evm_mine")
    second = await eth.head()
    assert first.number == second.number
    assert first.hash != second.hash
    await control("anvil_rollback", 1)
    assert (await eth.head()).number == first.number - 1


async def test_many_callers_at_once(chain: ChainHandle, eth: Eth) -> None:
    outcomes: list[object] = []

    async def spend(place: int) -> None:
        sender = Submitter(eth, chain.accounts[place], MemoryJournal(), Reverts(), SubmitterSettings(poll_s=0.01))
        for number in range(5):
            outcomes.append(await sender.submit(str(number), TxCall(to=SINK, value=1)))  # noqa: PERF401 - awaits

    async def read() -> None:
        for _ in range(20):
            await eth.head()
            await eth.logs(LogQuery((SINK,)), 0, (await eth.head()).number)

    async with trio.open_nursery() as nursery:
        for place in range(8):
            nursery.start_soon(spend, place)
            nursery.start_soon(read)
    assert len(outcomes) == 40
    assert all(isinstance(outcome, Confirmed) for outcome in outcomes)
    assert await eth.balance(SINK) == 40


async def test_a_batch_is_answered_in_order(chain: ChainHandle) -> None:
    calls = [{"jsonrpc": "2.0", "id": n, "method": "eth_chainId", "params": []} for n in range(3)]
    answers = await ask(chain.rpc_url, calls)
    assert isinstance(answers, list)
    assert [answer["id"] for answer in answers] == [0, 1, 2]
    too_many = await ask(chain.rpc_url, calls * MAX_BATCH)
    assert isinstance(too_many, dict)
    assert "batch" in too_many["error"]["message"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"3",
        b"[" * 5000,
        b'{"id":1}',
        b'{"id":1,"method":"eth_getBalance","params":{}}',
        b'{"id":1,"method":"eth_getBalance","params":[]}',
        b'{"id":1,"method":"eth_getBalance","params":["0x12"]}',
        b'{"id":1,"method":"eth_sendRawTransaction","params":["0x02ff"]}',
        b'{"id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x9","toBlock":"0x1"}]}',
        b'{"id":1,"method":"eth_call","params":[{"to":"0x00"}]}',
        b'{"id":1,"method":"eth_blockNumbers","params":[]}',
    ],
)
async def test_nonsense_gets_an_error_and_the_chain_lives_on(body: bytes, chain: ChainHandle, eth: Eth) -> None:
    status, answer = await post(chain.rpc_url, body)
    assert status == 200
    assert json.loads(answer)["error"]["code"] != -32603
    assert (await eth.head()).number == 0


async def test_the_bounds_of_the_server(chain: ChainHandle, control: Control) -> None:
    status, _ = await post(chain.rpc_url, b" " * (MAX_BODY_BYTES + 1))
    assert status == 413
    with pytest.raises(RpcError, match=str(MAX_MINE)):
        await control("anvil_mine", hex(MAX_MINE + 1))
    with pytest.raises(RpcError, match="nonce too high"):
        await too_far(chain, control)


async def too_far(chain: ChainHandle, control: Control) -> None:
    tx = sign(UnsignedTx(31337, 5000, 0, 10**9, 21000, SINK, 1, b""), chain.accounts[0])
    await control("eth_sendRawTransaction", "0x" + tx.raw.hex())


async def test_too_many_logs_are_refused_so_that_clients_must_halve(
    chain: ChainHandle, eth: Eth, control: Control
) -> None:
    # PUSH2 n; loop: JUMPDEST PUSH1 0 PUSH1 0 LOG0 PUSH1 1 SWAP1 SUB DUP1 PUSH1 3 JUMPI STOP, as init code: n logs.
    per_block = 2000
    code = bytes([0x61, *per_block.to_bytes(2), 0x5B, 0x5F, 0x5F, 0xA0, 0x60, 1, 0x90, 0x03, 0x80, 0x60, 3, 0x57, 0x00])
    sender = Submitter(eth, chain.accounts[0], MemoryJournal(), Reverts(), SubmitterSettings(poll_s=0.01))
    emitter = None
    for number in range(MAX_LOGS // per_block + 1):
        outcome = await sender.submit(str(number), TxCall(to=None, data=code, gas=3_000_000))
        assert isinstance(outcome, Confirmed)
        emitter = outcome.logs[0].address
        assert len(outcome.logs) == per_block
    assert emitter is not None
    with pytest.raises(RpcError, match="more than"):
        await control("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"})
    assert len(await eth.logs(LogQuery((emitter,)), 0, (await eth.head()).number)) == per_block


async def test_blocks_come_by_themselves_when_asked(nursery: trio.Nursery, open_rpc_to: Callable[..., Rpc]) -> None:
    handle: ChainHandle = await nursery.start(
        partial(run_chain, kind="pyevm", chain_id=421_614, accounts=3, block_time_s=0.05)
    )
    assert len(handle.accounts) == 3
    eth = Eth(open_rpc_to(handle.rpc_url, chain_id=421_614))
    with trio.fail_after(60):
        while (await eth.head()).number < 3:
            await trio.lowlevel.checkpoint()


async def test_the_chain_ends_with_its_scope(tmp_path: Path) -> None:
    async with trio.open_nursery() as nursery:
        handle: ChainHandle = await nursery.start(partial(run_chain, kind="pyevm", log=tmp_path / "log"))
        assert handle.rpc_url in (tmp_path / "log").read_text()
        nursery.cancel_scope.cancel()
    with pytest.raises(ProcessLookupError):
        os.kill(handle.pid, 0)


async def test_a_chain_that_dies_is_an_error() -> None:
    with pytest.raises(ExceptionGroup) as caught:  # noqa: PT012 - the nursery is the statement
        async with trio.open_nursery() as nursery:
            handle: ChainHandle = await nursery.start(partial(run_chain, kind="pyevm"))
            os.kill(handle.pid, signal.SIGKILL)
            await trio.sleep_forever()
    assert caught.group_contains(ChainStartError, match="ended by itself")


async def test_a_chain_that_cannot_start_says_why() -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await run_chain(kind="pyevm", chain_id=-1)
    assert caught.group_contains(ChainStartError, match="--chain-id must lie")


def test_the_server_ends_when_its_parent_does() -> None:
    command = [sys.executable, "-m", "devnet.chain.server", "--watch-stdin"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        process.stdin.close()
        assert process.wait(60) == 0


@pytest.mark.parametrize("how", ["stdin", "term", "kill"])
def test_a_guarded_program_ends_with_its_guard(how: str) -> None:
    # The inner program prints its pid and holds the write end of the pipe: end of file means that it is gone.
    program = "import os, sys, time; print(os.getpid(), flush=True); sys.stdin.close(); time.sleep(600)"
    command = [sys.executable, "-m", "devnet.chain.guard", sys.executable, "-c", program]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as guard:
        assert guard.stdin is not None
        assert guard.stdout is not None
        assert int(guard.stdout.readline()) != guard.pid
        if how == "stdin":
            guard.stdin.close()
        else:
            guard.send_signal(signal.SIGTERM if how == "term" else signal.SIGKILL)
        assert guard.stdout.read() == b""


@pytest.mark.anvil
@pytest.mark.skipif(find_anvil() is None, reason="anvil is not installed; the pip-only chain was tested instead")
async def test_anvil_is_the_same_chain(nursery: trio.Nursery, open_rpc_to: Callable[..., Rpc]) -> None:
    handle: ChainHandle = await nursery.start(partial(run_chain, kind="auto", chain_id=421_614))
    assert handle.kind == "anvil"
    eth = Eth(open_rpc_to(handle.rpc_url, chain_id=421_614))
    assert await eth.balance(handle.accounts[9].address) == 10_000 * 10**18
    sender = Submitter(eth, handle.accounts[0], MemoryJournal(), Reverts(), SubmitterSettings(poll_s=0.02))
    outcome = await sender.submit("gift", TxCall(to=SINK, value=1))
    assert isinstance(outcome, Confirmed)
    with trio.fail_after(60):
        while (final := await eth.block("finalized")) is None or final.number < outcome.block:
            await trio.sleep(0.05)


def test_importing_the_client_imports_no_web3() -> None:
    code = (
        "import sys, mesh.chain.rpc, mesh.chain.submitter, mesh.chain.follower, mesh.chain.presets, devnet.chain;"
        "heavy = {'web3', 'eth_account', 'eth'} & set(sys.modules); assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
