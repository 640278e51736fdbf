"""How does web3 run on trio? As a provider that hands every request to ``Rpc``.

The only module that imports web3, which takes a second: import it where a contract is built, never at the top of a
command. web3's own HTTP providers need an asyncio loop; this one needs none (docs/adr/0005-chain-without-asyncio.md).
"""

from collections.abc import Mapping
from typing import Any, cast

from web3 import AsyncWeb3
from web3.providers.async_base import AsyncJSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

from mesh.chain.errors import ChainError, RpcError
from mesh.chain.rpc import Rpc

__all__ = ["TrioProvider", "open_web3"]


class TrioProvider(AsyncJSONBaseProvider):
    """Requests go over ``rpc``: its endpoints, its checks, its failover. Owns nothing, so it need not be closed.

    What the chain's node declines comes back as a JSON-RPC error, which web3 turns into its exceptions; ``ChainError``
    of the transport passes through web3 untouched.
    """

    def __init__(self, rpc: Rpc) -> None:
        super().__init__()
        self._rpc = rpc

    async def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """One call."""
        answer: dict[str, object] = {"jsonrpc": "2.0", "id": 0}
        try:
            answer["result"] = await self._rpc.call(method, [_plain(param) for param in params], lambda value: value)
        except RpcError as error:
            answer["error"] = {"code": error.code, "message": error.why, "data": "0x" + error.data.hex()}
        return cast(RPCResponse, answer)

    async def make_batch_request(self, requests: list[tuple[RPCEndpoint, Any]]) -> list[RPCResponse]:
        """The calls one after the other: public endpoints differ on batches, and nothing here is in a hurry."""
        return [await self.make_request(method, params) for method, params in requests]

    async def is_connected(self, show_traceback: bool = False) -> bool:
        """Whether any endpoint answers."""
        try:
            await self.make_request(RPCEndpoint("eth_chainId"), [])
        except ChainError:
            if show_traceback:
                raise
            return False
        return True


def open_web3(rpc: Rpc) -> AsyncWeb3[TrioProvider]:
    """web3 over ``rpc``, without its middleware: fees, nonces and retries are the submitter's business."""
    return AsyncWeb3(TrioProvider(rpc), middleware=[])


def _plain(value: object) -> object:
    """What JSON can write: web3 passes HexBytes, AttributeDicts and tuples."""
    if isinstance(value, (bytes, bytearray)):
        return "0x" + bytes(value).hex()
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
