"""How does a bad RPC endpoint behave? A server that can play every kind of one, in front of a real chain or alone.

For tests and for the ``bad-inputs`` scenario. It answers from ``canned``, which holds results, or functions from parameters
to them, and where one that is nothing but an ``error`` is one; with an ``upstream`` it relays what is not canned, and ``mode``
says what it does to the answer. ``mode`` may change at any time and counts from the next call.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from functools import partial
from typing import Any, Final, Literal

import h11
import httpx
import trio

from protocols.hashing import keccak256

__all__ = ["MODES", "HostileEndpoint", "Mode", "hostile_endpoint"]

Mode = Literal[
    "honest",
    "wrong-chain",
    "lagging",
    "future",
    "garbage",
    "wrong-id",
    "no-result",
    "negative",
    "absurd",
    "null",
    "deep",
    "huge",
    "compressed",
    "throttled",
    "overloaded",
    "redirect",
    "hang",
    "drip",
    "cut",
    "mute",
    "narrow",
    "blind",
    "denying",
    "ignorant",
    "frozen",
    "crawling",
    "swallowing",
    "forging",
    "withholding",
]
MODES: Final[tuple[Mode, ...]] = Mode.__args__  # type: ignore[attr-defined]

LAG_S: Final = 3600
"""How old the head of a ``lagging`` endpoint without upstream is, in seconds."""
LAG_BLOCKS: Final = 5
"""How many blocks a ``lagging`` endpoint before a real chain misses. A ``frozen`` one misses all that came since, a ``crawling``
one too but for one block more each time that it is asked for its newest, to which it gives a later time than it has."""
CRAWL_S: Final = 30
NARROW_BLOCKS: Final = 2
"""The widest ``eth_getLogs`` that a ``narrow`` endpoint answers."""
FUTURE_S: Final = 10 * 365 * 86400
HUGE_BYTES: Final = 40 << 20
"""More than any client should read; sent in pieces."""
_PIECE: Final = b" " * 65536


class HostileEndpoint:
    """One server. ``asked`` counts the calls by method; ``url`` is set once it listens."""

    def __init__(self, mode: Mode, upstream: str | None, canned: Mapping[str, object]) -> None:
        self.mode: Mode = mode
        self.asked: dict[str, int] = {}
        self.url = ""
        self.canned = dict(canned)
        self.sent_bytes = 0
        self._upstream = upstream
        self._client = httpx.AsyncClient(trust_env=False)
        self._frozen_at = -1
        self._taken: set[str] = set()
        self._call_came = trio.lowlevel.ParkingLot()

    async def until_asked(self, method: str, times: int) -> None:
        """Wait until ``method`` has been called that often."""
        while self.asked.get(method, 0) < times:
            await self._call_came.park()

    async def connection(self, stream: trio.SocketStream) -> None:
        """Serve one connection until either side has had enough."""
        http = h11.Connection(h11.SERVER)
        body = bytearray()
        try:
            async with stream:
                while True:
                    event = http.next_event()
                    if event is h11.NEED_DATA:
                        http.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Data):
                        body += event.data
                    elif isinstance(event, h11.EndOfMessage):
                        await self._answer(http, stream, json.loads(body))
                        body.clear()
                        http.start_next_cycle()
                    else:
                        if isinstance(event, h11.ConnectionClosed):
                            return
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return

    async def _answer(self, http: h11.Connection, stream: trio.SocketStream, call: dict[str, Any]) -> None:
        method = call["method"]
        self.asked[method] = self.asked.get(method, 0) + 1
        self._call_came.unpark_all()
        mode = self.mode
        if mode == "hang":
            await trio.sleep_forever()
        if mode in _STATUS:
            status, headers = _STATUS[mode]
            await self._send(http, stream, status, headers, b"no")
        elif mode == "huge":
            await self._send_huge(http, stream)
        elif mode in ("drip", "cut", "mute"):
            if mode == "mute":
                await self._honest(call)  # the chain has heard it, the caller hears nothing
            await self._send_slowly(http, stream, forever=mode == "drip")
        elif mode == "compressed":
            await self._send(http, stream, 200, [("content-encoding", "gzip")], b"\x1f\x8b\x08\x00")
        else:
            await self._send(http, stream, 200, [], await self._body(call, mode))

    async def _body(self, call: dict[str, Any], mode: Mode) -> bytes:
        shapes: dict[str, bytes] = {
            "garbage": b"<html>not json</html>",
            "deep": b"[" * 100_000,
            "no-result": json.dumps({"jsonrpc": "2.0", "id": call["id"]}).encode(),
        }
        if mode in shapes:
            return shapes[mode]
        method = call["method"]
        if mode in ("blind", "ignorant") and method == "eth_getTransactionReceipt":
            return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": None}).encode()
        if mode in ("denying", "ignorant") and method == "eth_getBlockByNumber" and call["params"][0] != "latest":
            return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": None}).encode()
        if mode == "narrow" and method == "eth_getLogs" and _width(call) > NARROW_BLOCKS:
            declined = {"code": -32005, "message": f"query exceeds {NARROW_BLOCKS} blocks"}
            return json.dumps({"jsonrpc": "2.0", "id": call["id"], "error": declined}).encode()
        if mode in ("lagging", "frozen", "crawling") and self._upstream is not None and method in _ABOUT_BLOCKS:
            return json.dumps(await self._late(call, mode)).encode()
        if mode == "swallowing" and method in _ABOUT_WAITING:
            result = "0x" + keccak256(bytes.fromhex(call["params"][0][2:])).hex() if method == _SENDS else None
            return json.dumps({"jsonrpc": "2.0", "id": call["id"], "result": result}).encode()
        if mode == "forging" and method in _ABOUT_OURS:
            return json.dumps(await self._forged(call)).encode()
        answer = await self._honest(call)
        if mode in ("forging", "withholding") and method == "eth_getLogs":
            kept = [] if mode == "withholding" else answer.get("result", [])
            answer["result"] = [{**log, "data": _flipped(log["data"])} for log in kept]
        if mode == "wrong-id":
            answer["id"] = 10**9
        elif mode == "null":
            answer = {"jsonrpc": "2.0", "id": call["id"], "result": None}
        elif mode == "wrong-chain" and method == "eth_chainId":
            answer["result"] = "0x1"
        elif method == "eth_getBlockByNumber" and isinstance(answer.get("result"), dict):
            _distort(answer["result"], mode)
        elif method != "eth_chainId" and mode in ("negative", "absurd"):
            answer = {"jsonrpc": "2.0", "id": call["id"], "result": "-0x1" if mode == "negative" else "0x" + "f" * 64}
        return json.dumps(answer).encode()

    async def _late(self, call: dict[str, Any], mode: Mode) -> dict[str, Any]:
        """Blocks, receipts and logs as they were ``LAG_BLOCKS`` ago, or when it froze."""
        newest = await self._honest({"jsonrpc": "2.0", "id": 0, "method": "eth_blockNumber", "params": []})
        top = max(0, int(newest["result"], 16) - LAG_BLOCKS)
        asks_newest = call["method"] == "eth_getBlockByNumber" and call["params"][0] == "latest"
        if mode in ("frozen", "crawling"):
            self._frozen_at = int(newest["result"], 16) if self._frozen_at < 0 else self._frozen_at
            self._frozen_at += mode == "crawling" and asks_newest
            top = min(self._frozen_at, int(newest["result"], 16))
        if call["method"] != "eth_getBlockByNumber":
            answer = await self._honest(call)
            found = answer.get("result")
            if isinstance(found, list):
                answer["result"] = [log for log in found if int(log["blockNumber"], 16) <= top]
            elif found is not None and int(found["blockNumber"], 16) > top:
                answer["result"] = None
            return answer
        tag = call["params"][0]
        number = int(tag, 16) if tag.startswith("0x") else top
        if number > top:
            return {"jsonrpc": "2.0", "id": call["id"], "result": None}
        answer = await self._honest({**call, "params": [hex(number), False]})
        if mode == "crawling" and asks_newest:
            answer["result"]["timestamp"] = hex(int(answer["result"]["timestamp"], 16) + CRAWL_S)
        return answer

    async def _forged(self, call: dict[str, Any]) -> dict[str, Any]:
        """A transaction that it has taken and handed to nobody, and the receipt of its success in the newest block."""
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": call["id"]}
        method, given = call["method"], call["params"][0]
        if method == _SENDS:
            answer["result"] = "0x" + keccak256(bytes.fromhex(given[2:])).hex()
            self._taken.add(answer["result"])
            return answer
        if given not in self._taken:
            return await self._honest(call)
        if method == "eth_getTransactionByHash":
            return {**answer, "result": None}
        newest = {"jsonrpc": "2.0", "id": 0, "method": "eth_getBlockByNumber", "params": ["latest", False]}
        block = (await self._honest(newest))["result"]
        forged = {"transactionHash": given, "blockNumber": block["number"], "blockHash": block["hash"]}
        forged |= {"status": "0x1", "gasUsed": "0x5208", "contractAddress": None, "logs": []}
        return {**answer, "result": forged}

    async def _honest(self, call: dict[str, Any]) -> dict[str, Any]:
        if call["method"] in self.canned:
            given = self.canned[call["method"]]
            told = given(call["params"]) if callable(given) else deepcopy(given)
            body = told if isinstance(told, dict) and set(told) == {"error"} else {"result": told}
            return {"jsonrpc": "2.0", "id": call["id"], **body}
        if self._upstream is None:
            return {"jsonrpc": "2.0", "id": call["id"], "error": {"code": -32601, "message": "not canned"}}
        relayed = await self._client.post(self._upstream, json=call)
        answer: dict[str, Any] = relayed.json()
        return answer

    async def _send(
        self, http: h11.Connection, stream: trio.SocketStream, status: int, extra: list[tuple[str, str]], body: bytes
    ) -> None:
        headers = [("content-type", "application/json"), ("content-length", str(len(body))), *extra]
        head = http.send(h11.Response(status_code=status, headers=headers)) or b""
        await stream.send_all(head + (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b""))

    async def _send_huge(self, http: h11.Connection, stream: trio.SocketStream) -> None:
        headers = [("content-type", "application/json"), ("content-length", str(HUGE_BYTES))]
        await stream.send_all(http.send(h11.Response(status_code=200, headers=headers)) or b"")
        for _ in range(HUGE_BYTES // len(_PIECE)):
            await stream.send_all(http.send(h11.Data(data=_PIECE)) or b"")
            self.sent_bytes += len(_PIECE)

    async def _send_slowly(self, http: h11.Connection, stream: trio.SocketStream, *, forever: bool) -> None:
        """A byte now and then, for ever, or the connection cut after the first one."""
        headers = [("content-type", "application/json"), ("content-length", "1000000")]
        await stream.send_all(http.send(h11.Response(status_code=200, headers=headers)) or b"")
        await stream.send_all(http.send(h11.Data(data=b"{")) or b"")
        while forever:
            await trio.sleep(0.05)
            await stream.send_all(http.send(h11.Data(data=b" ")) or b"")
        await stream.aclose()

    async def aclose(self) -> None:
        """Drop the connections to the real chain."""
        await self._client.aclose()


_ABOUT_BLOCKS: Final = frozenset({"eth_getBlockByNumber", "eth_getTransactionReceipt", "eth_getLogs"})
_SENDS: Final = "eth_sendRawTransaction"
_ABOUT_WAITING: Final = frozenset({_SENDS, "eth_getTransactionByHash"})
"""What a ``swallowing`` endpoint keeps to itself: it says that it has taken a transaction, and hands it to nobody."""
_ABOUT_OURS: Final = frozenset({_SENDS, "eth_getTransactionReceipt", "eth_getTransactionByHash"})
"""What a ``forging`` endpoint invents. It also changes the data of every log."""
_STATUS: Final[dict[Mode, tuple[int, list[tuple[str, str]]]]] = {
    "throttled": (429, [("retry-after", "1")]),
    "overloaded": (503, []),
    "redirect": (302, [("location", "http://127.0.0.1:1/")]),
}


def _flipped(data: str) -> str:
    """Other bytes of the same length."""
    return data[:-1] + ("0" if data[-1:] != "0" else "1") if len(data) > 2 else "0x" + "01" * 32


def _width(call: dict[str, Any]) -> int:
    wanted = call["params"][0]
    return int(wanted["toBlock"], 16) - int(wanted["fromBlock"], 16) + 1


def _distort(block: dict[str, Any], mode: Mode) -> None:
    if mode == "lagging":
        block["timestamp"] = hex(int(block["timestamp"], 16) - LAG_S)
    elif mode == "future":
        block["timestamp"] = hex(int(block["timestamp"], 16) + FUTURE_S)
    elif mode == "negative":
        block["number"] = "-0x5"
    elif mode == "absurd":
        block["number"] = "0x" + "f" * 64


@asynccontextmanager
async def hostile_endpoint(
    mode: Mode = "honest", *, upstream: str | None = None, canned: Mapping[str, object] | None = None
) -> AsyncIterator[HostileEndpoint]:
    """Serve on loopback while the block runs."""
    server = HostileEndpoint(mode, upstream, canned or {})
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(partial(trio.serve_tcp, server.connection, 0, host="127.0.0.1"))
        server.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        try:
            yield server
        finally:
            nursery.cancel_scope.cancel()
            with trio.CancelScope(shield=True):
                await server.aclose()
