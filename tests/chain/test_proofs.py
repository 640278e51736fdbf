"""Do proofs made from RPC answers hold for a real block, and does an endpoint that lies only cost us the proof?"""

from collections.abc import Callable
from typing import Any

import pytest
import trio

from devnet.chain import ChainHandle
from mesh.chain import wire
from mesh.chain.errors import RpcError
from mesh.chain.eth import Eth, TxCall
from mesh.chain.journal import MemoryJournal
from mesh.chain.outcomes import Confirmed, SubmitterSettings
from mesh.chain.proofs import log_proofs
from mesh.chain.reverts import Reverts
from mesh.chain.submitter import Submitter
from protocols.hashing import keccak256
from protocols.units import Address, Hash32
from protocols.verify.inclusion import verify_log

TOPIC = keccak256(b"Written(uint256)")


def writer(count: int, value: int) -> TxCall:
    """A creation that logs ``value`` under TOPIC so many times."""
    log = b"\x7f" + TOPIC + bytes.fromhex("60206000a1")
    return TxCall(to=None, data=bytes([0x60, value]) + bytes.fromhex("600052") + count * log + b"\x00")


async def one_block(chain: ChainHandle, eth: Eth, calls: list[TxCall]) -> list[Hash32]:
    """Transactions of different accounts, mined in one block; their hashes."""
    found: dict[int, Hash32] = {}

    async def send(place: int, call: TxCall) -> None:
        sender = Submitter(eth, chain.accounts[place], MemoryJournal(), Reverts([]), SubmitterSettings(poll_s=0.01))
        outcome = await sender.submit(str(place), call)
        assert isinstance(outcome, Confirmed)
        found[place] = outcome.tx_hash

    async def ask(method: str, *params: object) -> Any:
        return await eth.rpc.call(method, params, lambda value: value)

    before = [await eth.nonce(one.address) for one in chain.accounts[: len(calls)]]
    await ask("evm_setAutomine", False)
    async with trio.open_nursery() as nursery:
        for place, call in enumerate(calls):
            nursery.start_soon(send, place, call)
        with trio.fail_after(60):
            for place in range(len(calls)):
                while await eth.nonce(chain.accounts[place].address, "pending") == before[place]:
                    await trio.sleep(0.01)
        await ask("evm_mine")
    await ask("evm_setAutomine", True)
    return [found[place] for place in range(len(calls))]


def anything(address: Address, topics: tuple[Hash32, ...]) -> bool:
    return True


async def test_every_log_of_a_real_block(chain: ChainHandle, eth: Eth) -> None:
    hashes = await one_block(chain, eth, [writer(count, 7 + count) for count in (1, 0, 2, 1)])
    blocks = set()
    for count, tx in zip((1, 0, 2, 1), hashes, strict=True):
        proofs = await log_proofs(eth.rpc, tx, anything)
        assert len(proofs) == count
        receipt = await eth.receipt(tx)
        assert receipt is not None
        for proof, log in zip(proofs, receipt.logs, strict=True):
            shown = verify_log(proof)
            assert (shown.address, shown.topics, shown.data) == (log.address, (TOPIC,), (7 + count).to_bytes(32))
            assert (shown.block_hash, shown.block) == (receipt.block_hash, receipt.block_number)
            blocks.add(shown.block_hash)
    assert len(blocks) == 1
    assert await log_proofs(eth.rpc, hashes[0], lambda address, topics: False) == ()
    assert await log_proofs(eth.rpc, Hash32(bytes(32)), anything) == ()


class Liar:
    """An endpoint that answers truly, but for what ``twist`` changes."""

    def __init__(self, rpc: Any, twist: Callable[[str, Any], Any]) -> None:
        self._rpc, self._twist = rpc, twist

    async def call(self, method: str, params: Any, read: Callable[[object], Any]) -> Any:
        true = await self._rpc.call(method, params, lambda value: value)
        return read(self._twist(method, true))


def changed(name: str, value: object) -> Callable[[str, Any], Any]:
    return lambda method, true: true | {name: value} if isinstance(true, dict) and name in true else true


@pytest.mark.parametrize(
    "twist",
    [
        changed("receiptsRoot", wire.hex_data(bytes(32))),
        changed("timestamp", "0x7"),
        changed("cumulativeGasUsed", "0x7"),
        changed("status", "0x0"),
        changed("logs", None),
        changed("transactions", [wire.hex_data(bytes(32))] * 513),
        changed("transactionIndex", "0x9"),
        changed("miner", "not hex"),
        changed("hash", wire.hex_data(bytes(32))),
    ],
)
async def test_a_liar_costs_the_proof_and_no_more(
    chain: ChainHandle, eth: Eth, twist: Callable[[str, Any], Any]
) -> None:
    (tx,) = await one_block(chain, eth, [writer(1, 9)])
    assert len(await log_proofs(eth.rpc, tx, anything)) == 1
    assert await log_proofs(Liar(eth.rpc, twist), tx, anything) == ()  # type: ignore[arg-type]


async def test_an_endpoint_with_whole_receipts_is_asked_once(chain: ChainHandle, eth: Eth) -> None:
    (tx,) = await one_block(chain, eth, [writer(1, 9)])
    asked: list[str] = []
    receipt = await eth.rpc.call("eth_getTransactionReceipt", [wire.hex_data(tx)], lambda value: value)

    class Rich(Liar):
        async def call(self, method: str, params: Any, read: Callable[[object], Any]) -> Any:
            asked.append(method)
            return read([receipt]) if method == "eth_getBlockReceipts" else await super().call(method, params, read)

    assert len(await log_proofs(Rich(eth.rpc, lambda method, true: true), tx, anything)) == 1  # type: ignore[arg-type]
    assert asked == ["eth_getTransactionReceipt", "eth_getBlockByHash", "eth_getBlockReceipts"]
    with pytest.raises(RpcError):
        await eth.rpc.call("eth_getBlockReceipts", ["0x"], lambda value: value)
