"""Does a development chain of either kind reorganise, hold its blocks and raise its fee when it is told to?"""

from collections.abc import AsyncIterator
from functools import partial

import pytest
import trio

from devnet.chain import ChainHandle, ChainKind, find_anvil, run_chain
from devnet.chain import control as chains
from mesh.chain.eth import Eth
from mesh.chain.rpc import Rpc
from mesh.chain.transactions import SignedTx, UnsignedTx, sign
from protocols.units import Address

LIMIT_S = 90.0
EPOCH = 8
SINK = Address(b"\x55" * 20)
ANVIL = pytest.param(
    "anvil",
    marks=(
        pytest.mark.anvil,
        pytest.mark.skipif(find_anvil() is None, reason="anvil is not installed; the pip-only chain is tested instead"),
    ),
)


@pytest.fixture(params=["pyevm", ANVIL])
async def chain(request: pytest.FixtureRequest, nursery: trio.Nursery) -> ChainHandle:
    kind: ChainKind = request.param
    handle: ChainHandle = await nursery.start(partial(run_chain, kind=kind, block_time_s=0.2, epoch_blocks=EPOCH))
    return handle


@pytest.fixture
async def eth(chain: ChainHandle) -> AsyncIterator[Eth]:
    rpc = Rpc((chain.rpc_url,), chain.chain_id, jitter=lambda: 0.5)
    yield Eth(rpc)
    await rpc.aclose()


def transfer(chain: ChainHandle, nonce: int, max_fee: int) -> SignedTx:
    return sign(UnsignedTx(chain.chain_id, nonce, 0, max_fee, 21_000, SINK, 1, b""), chain.accounts[1])


async def until_block(eth: Eth, number: int) -> None:
    with trio.fail_after(LIMIT_S):
        while (await eth.head()).number < number:
            await trio.sleep(0.02)


async def mined_in(chain: ChainHandle, tx: str) -> int:
    with trio.fail_after(LIMIT_S):
        while (block := await chains.block_of(chain, tx)) is None:
            await trio.sleep(0.02)
    return block


async def test_a_transaction_is_taken_back_and_comes_back(chain: ChainHandle, eth: Eth) -> None:
    sender, tx = chain.accounts[1].address, transfer(chain, 0, 10**10)
    await eth.send_raw(tx.raw, tx.hash)
    name = "0x" + tx.hash.hex()
    first = await mined_in(chain, name)
    before = await eth.block(first)
    assert await chains.raw_tx(chain, name) == tx.raw

    await until_block(eth, first + 1)
    assert await chains.reorganise(chain, first) >= 2
    after = await eth.block(first)
    assert before is not None
    assert after is not None
    assert before.hash != after.hash
    assert await chains.block_of(chain, name) is None
    assert await chains.sent_by(chain, sender) == 0

    again = (await eth.head()).number
    depth = await chains.reorganise(chain, again - 1, tx.raw)
    assert await chains.block_of(chain, name) == again - 2 + depth
    assert await chains.sent_by(chain, sender) == 1


async def test_no_block_is_made_until_it_is_told_and_a_low_fee_waits(chain: ChainHandle, eth: Eth) -> None:
    sender, tx = chain.accounts[1].address, transfer(chain, 0, 40_000_000)
    await chains.hold_blocks(chain)
    held = (await eth.head()).number
    await eth.send_raw(tx.raw, tx.hash)
    assert (await chains.waiting_of(chain, sender), await chains.sent_by(chain, sender)) == (1, 0)
    assert (await eth.head()).number <= held + 1  # one may have been under way

    await chains.raise_base_fee(chain, 5 * 10**9)
    await chains.make_blocks(chain)
    await until_block(eth, held + 2)
    assert await chains.sent_by(chain, sender) == 0
    dearer = sign(UnsignedTx(chain.chain_id, 0, 1, 10**10, 21_000, SINK, 1, b""), chain.accounts[1])
    await eth.send_raw(dearer.raw, dearer.hash)
    await mined_in(chain, "0x" + dearer.hash.hex())


async def test_final_is_as_far_behind_as_was_asked(chain: ChainHandle, eth: Eth) -> None:
    await until_block(eth, 2 * EPOCH + 1)
    await chains.hold_blocks(chain)
    head, safe, final = [await eth.block(tag) for tag in ("latest", "safe", "finalized")]
    assert head is not None
    assert safe is not None
    assert final is not None
    assert abs(head.number - EPOCH - safe.number) <= 1  # a block may have been made between the questions
    assert abs(head.number - 2 * EPOCH - final.number) <= 1


async def test_what_is_no_reorganisation_is_refused(chain: ChainHandle) -> None:
    with pytest.raises(chains.ChainRefused, match="anvil_reorg"):
        await chains.reorganise(chain, -5)
