"""How is a development chain set back, and its clock moved? The control methods that anvil and the pip-only chain share."""

from typing import Any, Final

import httpx

from devnet.chain.launch import ChainHandle
from protocols.units import Address

__all__ = ["ChainRefused", "pass_time", "revert_to", "sent_by", "take_snapshot"]

LIMIT_S: Final = 30.0
"""A control call takes milliseconds; behind a queue of calls on a loaded machine, seconds."""


class ChainRefused(Exception):
    """A development chain did not do what it was told; its words follow."""


async def _control(chain: ChainHandle, method: str, *params: object) -> Any:
    async with httpx.AsyncClient(trust_env=False, timeout=LIMIT_S) as client:
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


async def pass_time(chain: ChainHandle, seconds: int) -> None:
    """Move the chain's clock forward; the next block, mined at once, shows it. Nothing but deadlines notices."""
    await _control(chain, "evm_increaseTime", seconds)
    await _control(chain, "evm_mine")
