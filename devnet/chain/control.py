"""How is a development chain set back, and its clock moved? The control methods that anvil and the pip-only chain share."""

import ssl
from typing import Any, Final

import httpx

from devnet.chain.launch import ChainHandle
from protocols.units import Address

__all__ = [
    "ChainRefused",
    "block_of",
    "hold_blocks",
    "make_blocks",
    "mine",
    "native_of",
    "newest_time",
    "pass_time",
    "raise_base_fee",
    "raw_tx",
    "reorganise",
    "revert_to",
    "sent_by",
    "take_snapshot",
    "time_of",
    "view",
    "waiting_of",
]

_NOBODY: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
"""Whom TLS trusts, of which a chain on loopback needs none: to load the list would take 50 ms of CPU for each call."""
LIMIT_S: Final = 30.0
"""A control call takes milliseconds; behind a queue of calls on a loaded machine, seconds."""


class ChainRefused(Exception):
    """A development chain did not do what it was told; its words follow."""


async def _control(chain: ChainHandle, method: str, *params: object) -> Any:
    async with httpx.AsyncClient(trust_env=False, verify=_NOBODY, timeout=LIMIT_S) as client:
        asked = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = (await client.post(chain.rpc_url, json=asked)).json()
    if "error" in answer:
        raise ChainRefused(f"{method}: {answer['error'].get('message')}")
    return answer["result"]


async def take_snapshot(chain: ChainHandle) -> str:
    """Remember the chain as it is: the name of that point, for one ``revert_to``."""
    return str(await _control(chain, "evm_snapshot"))


async def revert_to(chain: ChainHandle, snapshot: str) -> None:
    """Set the chain back. The snapshot, with every later one, is used up. Raises ``ChainRefused``."""
    if await _control(chain, "evm_revert", snapshot) is not True:
        raise ChainRefused(f"there is no snapshot {snapshot}")


async def sent_by(chain: ChainHandle, address: Address) -> int:
    """Transactions that an account has sent, by the newest block."""
    return int(await _control(chain, "eth_getTransactionCount", "0x" + address.hex(), "latest"), 16)


async def waiting_of(chain: ChainHandle, address: Address) -> int:
    """Transactions of an account that wait to be mined."""
    sent = int(await _control(chain, "eth_getTransactionCount", "0x" + address.hex(), "pending"), 16)
    return sent - await sent_by(chain, address)


async def native_of(chain: ChainHandle, address: Address) -> int:
    """Coins of the chain that an account has for gas, in wei."""
    return int(await _control(chain, "eth_getBalance", "0x" + address.hex(), "latest"), 16)


async def view(chain: ChainHandle, contract: str, data: bytes) -> bytes:
    """What a contract answers to a call that changes nothing."""
    found = await _control(chain, "eth_call", {"to": contract, "data": "0x" + data.hex()}, "latest")
    return bytes.fromhex(found[2:])


async def block_of(chain: ChainHandle, tx: str) -> int | None:
    """The height of the block that a transaction stands in; None while it stands in none."""
    found = await _control(chain, "eth_getTransactionReceipt", tx)
    return None if found is None else int(found["blockNumber"], 16)


async def time_of(chain: ChainHandle, tx: str) -> int:
    """The time of the block that a mined transaction stands in, Unix seconds."""
    found = await _control(chain, "eth_getTransactionReceipt", tx)
    return int((await _control(chain, "eth_getBlockByNumber", found["blockNumber"], False))["timestamp"], 16)


async def newest_time(chain: ChainHandle) -> int:
    """The time of the newest block, Unix seconds."""
    return int((await _control(chain, "eth_getBlockByNumber", "latest", False))["timestamp"], 16)


async def raw_tx(chain: ChainHandle, tx: str) -> bytes:
    """A transaction as its sender signed it."""
    return bytes.fromhex((await _control(chain, "eth_getRawTransactionByHash", tx))[2:])


async def reorganise(chain: ChainHandle, first: int, *again: bytes) -> int:
    """Replace every block from ``first`` on by empty ones, but for ``again``: those raw transactions stand in the last.

    Answers how many blocks were replaced. Afterwards one block a second is made. Raises ``ChainRefused``.
    """
    await hold_blocks(chain)  # a block made between the question and the order would leave the first one where it is
    try:
        depth = int(await _control(chain, "eth_blockNumber"), 16) - first + 1
        await _control(chain, "anvil_reorg", depth, [["0x" + raw.hex(), depth - 1] for raw in again])
    finally:
        await make_blocks(chain)
    return depth


async def hold_blocks(chain: ChainHandle) -> None:
    """No block is made from now on: transactions wait."""
    await _control(chain, "evm_setIntervalMining", 0)
    if chain.kind == "pyevm":  # it mines every transaction as it comes; anvil does so only when told
        await _control(chain, "evm_setAutomine", False)


async def make_blocks(chain: ChainHandle) -> None:
    """Blocks are made again, one a second."""
    if chain.kind == "pyevm":
        await _control(chain, "evm_setAutomine", True)
    await _control(chain, "evm_setIntervalMining", 1)


async def mine(chain: ChainHandle, blocks: int) -> None:
    """So many blocks at once."""
    await _control(chain, "anvil_mine", hex(blocks))


async def raise_base_fee(chain: ChainHandle, wei: int) -> None:
    """What gas costs in the next block; on anvil it falls by an eighth with each empty one after it."""
    await _control(chain, "anvil_setNextBlockBaseFeePerGas", hex(wei))


async def pass_time(chain: ChainHandle, seconds: int) -> None:
    """Move the chain's clock forward; the next block, mined at once, shows it. Nothing but deadlines notices."""
    await _control(chain, "evm_increaseTime", seconds)
    await _control(chain, "evm_mine")
