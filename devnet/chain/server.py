"""How does the pip-only development chain serve JSON-RPC? ``python -m devnet.chain.server --port 0 --ready-file F``

h11 over trio on loopback. All EVM work runs in one worker thread at a time, so that a slow call delays other calls but
never the accepting of connections. Writes ``{"rpc_url", "chain_id", "pid", "kind"}`` to the ready file once it listens.
Ends on SIGTERM, SIGINT, or when its standard input closes (``--watch-stdin``), so that it cannot outlive its parent.
"""

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import h11
import trio

from devnet.chain.accounts import DEV_MNEMONIC, dev_accounts
from devnet.chain.evm import Evm
from devnet.chain.ledger import ChainFault, Ledger
from devnet.chain.methods import Methods
from devnet.chain.started import Started

__all__ = ["main", "serve_chain"]

MAX_BODY_BYTES: Final = 1 << 20
"""A request: the largest contract (24 kB, hex twice) and a batch of hundreds of calls fit in 1 MiB."""
MAX_BATCH: Final = 256
MAX_CONNECTIONS: Final = 512
"""Open sockets: 60 nodes with 8 pooled connections each."""
IDLE_S: Final = 120.0
"""A connection without a request for this long is closed."""
_TICK_S: Final = 0.05
"""How soon a block time that is changed counts."""
_BALANCE_WEI: Final = 10_000 * 10**18
"""What anvil gives each of its accounts."""


@dataclass(slots=True)
class _Server:
    methods: Methods
    ledger: Ledger
    thread: trio.CapacityLimiter
    slots: trio.CapacityLimiter

    async def work(self, job: Callable[[], object]) -> object:
        return await trio.to_thread.run_sync(job, limiter=self.thread)

    async def connection(self, stream: trio.SocketStream) -> None:
        try:
            self.slots.acquire_on_behalf_of_nowait(stream)
        except trio.WouldBlock:
            await stream.aclose()
            return
        try:
            async with stream:
                await self._requests(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return
        finally:
            self.slots.release_on_behalf_of(stream)

    async def _requests(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=64 * 1024)
        body = bytearray()
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                with trio.move_on_after(IDLE_S) as idle:
                    http.receive_data(await stream.receive_some(65536))
                if idle.cancelled_caught:
                    return
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > MAX_BODY_BYTES:
                    await _reply(http, stream, 413, b"request too large")
                    return
            elif isinstance(event, h11.EndOfMessage):
                answer = await self.work(partial(self._answer, bytes(body)))
                body.clear()
                assert isinstance(answer, bytes)
                await _reply(http, stream, 200, answer)
                if http.our_state is h11.MUST_CLOSE:
                    return
                http.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    def _answer(self, body: bytes) -> bytes:
        try:
            asked = json.loads(body)
        except (ValueError, RecursionError):
            return json.dumps(_error(None, -32700, "the request is not JSON")).encode()
        if isinstance(asked, list):
            if not 0 < len(asked) <= MAX_BATCH:
                return json.dumps(_error(None, -32600, f"a batch holds 1 to {MAX_BATCH} calls")).encode()
            return json.dumps([self._one(item) for item in asked]).encode()
        return json.dumps(self._one(asked)).encode()

    def _one(self, asked: Any) -> dict[str, object]:
        if not isinstance(asked, dict) or not isinstance(asked.get("method"), str):
            return _error(None, -32600, "a call is an object with a method")
        call_id = asked.get("id")
        params = asked.get("params") or []
        if not isinstance(params, list):
            return _error(call_id, -32602, "params must be a list")
        try:
            return {"jsonrpc": "2.0", "id": call_id, "result": self.methods.answer(asked["method"], params)}
        except ChainFault as fault:
            return _error(call_id, fault.code, str(fault), fault.data)
        except Exception as error:  # a development tool answers its own defects instead of taking the chain down
            return _error(call_id, -32603, f"internal error: {type(error).__name__}: {error}"[:500])

    async def tick(self) -> None:
        """Mine an empty block whenever the head is older than the block time, so that chain time follows the wall."""
        seen, since = self.ledger.head, trio.current_time()
        while True:
            await trio.sleep(_TICK_S)
            pause = self.methods.block_time_s
            if not pause or trio.current_time() - since < pause:
                continue
            if self.ledger.head is seen or not self.ledger.automine:
                await self.work(self.ledger.mine)
            seen, since = self.ledger.head, trio.current_time()


def _error(call_id: object, code: int, message: str, data: str | None = None) -> dict[str, object]:
    error: dict[str, object] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": call_id, "error": error}


async def _reply(http: h11.Connection, stream: trio.SocketStream, status: int, body: bytes) -> None:
    headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
    head = http.send(h11.Response(status_code=status, headers=headers)) or b""
    await stream.send_all(head + (http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b""))


async def serve_chain(
    *,
    port: int,
    chain_id: int,
    accounts: int,
    mnemonic: str,
    block_time_s: float,
    wall: Callable[[], float],
    epoch_blocks: int = 1,
    task_status: Started[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a fresh chain on loopback until cancelled; ``started`` with the port."""
    funded = dev_accounts(accounts, mnemonic)
    ledger = Ledger(Evm(chain_id), {account.address: _BALANCE_WEI for account in funded}, wall)
    addresses = tuple(account.address for account in funded)
    methods = Methods(ledger, addresses, epoch_blocks=epoch_blocks, block_time_s=block_time_s)
    server = _Server(methods, ledger, trio.CapacityLimiter(1), trio.CapacityLimiter(MAX_CONNECTIONS))
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(trio.serve_tcp, server.connection, port, host="127.0.0.1", handler_nursery=nursery)
        )
        nursery.start_soon(server.tick)
        task_status.started(listeners[0].socket.getsockname()[1])


async def _until_parent_ends() -> None:
    async with trio.lowlevel.FdStream(os.dup(sys.stdin.fileno())) as stdin:
        while await stdin.receive_some(4096):
            pass


async def _until_signalled() -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _ in signals:
            return


async def _run(args: argparse.Namespace) -> None:
    async with trio.open_nursery() as nursery:

        async def end_when(waiter: Callable[[], Any]) -> None:
            await waiter()
            nursery.cancel_scope.cancel()

        nursery.start_soon(end_when, _until_signalled)
        if args.watch_stdin:
            nursery.start_soon(end_when, _until_parent_ends)
        port = await nursery.start(
            partial(
                serve_chain,
                port=args.port,
                chain_id=args.chain_id,
                accounts=args.accounts,
                mnemonic=args.mnemonic,
                block_time_s=args.block_time,
                wall=time.time,
                epoch_blocks=args.epoch_blocks,
            )
        )
        url = f"http://127.0.0.1:{port}"
        ready = {"rpc_url": url, "chain_id": args.chain_id, "pid": os.getpid(), "kind": "pyevm"}
        if args.ready_file is not None:
            _write_whole(args.ready_file, json.dumps(ready))
        print(json.dumps(ready), flush=True)


def _write_whole(path: Path, text: str) -> None:
    partial_path = path.with_name(path.name + ".part")
    partial_path.write_text(text)
    partial_path.replace(path)


def main() -> None:
    """Parse the arguments and serve until told to end."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0, help="TCP port on 127.0.0.1; 0 lets the kernel choose")
    parser.add_argument("--ready-file", type=Path, default=None, help="written once the chain listens")
    parser.add_argument("--chain-id", type=int, default=31337)
    parser.add_argument("--accounts", type=int, default=10, help="accounts with 10,000 ether each")
    parser.add_argument("--mnemonic", default=DEV_MNEMONIC)
    parser.add_argument("--block-time", type=float, default=1.0, help="seconds between empty blocks; 0 mines none")
    parser.add_argument("--epoch-blocks", type=int, default=1, help="blocks from head to safe, and on to finalized")
    parser.add_argument("--watch-stdin", action="store_true", help="end when standard input closes")
    args = parser.parse_args()
    if not 0 < args.chain_id < 1 << 53:
        parser.error(f"--chain-id must lie in [1, 2**53), got {args.chain_id}")
    trio.run(_run, args)


if __name__ == "__main__":
    main()
