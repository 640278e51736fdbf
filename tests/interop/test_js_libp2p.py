"""Can a node that is not ours join? js-libp2p dials, is in the topic mesh, hears, is heard, and calls."""

import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio

from mesh.base.keys import NodeKey
from mesh.net.addresses import peer_text
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.net.link import Verdict
from protocols.envelope import open_, parse_envelope, seal
from protocols.units import PeerId

JS = Path(__file__).parents[2] / "devnet" / "interop" / "js"
TOPIC, CALL = "/mesh/interop/offers/cpu/1", "/interop/echo/1"
SECRET = b"interop key of the Python node!!"
LIMIT_S = 90.0

pytestmark = [pytest.mark.interop, pytest.mark.timeout(240)]


def npm_install() -> None:
    """Installs js-libp2p as locked, once."""
    if not (JS / "node_modules" / "libp2p").is_dir():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--silent"], cwd=JS, check=True, timeout=180)


def require_node() -> None:
    """Without Node this cannot be checked; in CI that is a failure, elsewhere it is said."""
    if shutil.which("node") and shutil.which("npm"):
        return
    message = "Node.js >= 20 with npm is needed; `make interop` brings it"
    if os.environ.get("MESH_CI"):
        pytest.fail(message)
    pytest.skip(message)


async def lines(process: trio.Process) -> AsyncIterator[dict[str, Any]]:
    assert process.stdout is not None
    buffer = b""
    async for chunk in process.stdout:
        buffer += chunk
        *complete, buffer = buffer.split(b"\n")
        for line in complete:
            yield json.loads(line)


async def test_js_libp2p_joins(nursery: trio.Nursery) -> None:
    require_node()
    await trio.to_thread.run_sync(npm_install)
    link = Libp2pLink(SECRET, LinkConfig(listen=("/ip4/127.0.0.1/tcp/0",), mdns=False))
    signer = NodeKey(SECRET)
    heard: dict[bytes, PeerId] = {}
    callers: list[PeerId] = []

    async def listen(records: AsyncIterator[tuple[PeerId, bytes]]) -> None:
        async for forwarder, record in records:
            heard.setdefault(record, forwarder)

    async def echo(caller: PeerId, request: bytes) -> bytes:
        callers.append(caller)
        return request.upper()

    async def offer_now_and_then() -> None:
        number = 0
        while True:
            number += 1
            await link.publish(TOPIC, seal(signer, "interop", "offer/1", b"offer %d" % number))
            await trio.sleep(0.3)

    link.serve(CALL, echo, max_bytes=100)
    nursery.start_soon(listen, link.subscribe(TOPIC, lambda _peer, _record: Verdict.ACCEPT))
    await nursery.start(link.run)
    nursery.start_soon(offer_now_and_then)
    command = ["node", "join.mjs", link.addresses[0], TOPIC, CALL]
    start = partial(trio.run_process, command, cwd=JS, stdout=subprocess.PIPE, check=False)
    process: trio.Process = await nursery.start(start)
    told: dict[str, dict[str, Any]] = {}
    with trio.fail_after(LIMIT_S):
        async for line in lines(process):
            told[line["what"]] = line
        await process.wait()
    assert process.returncode == 0, told

    assert (told["connected"]["encryption"], told["connected"]["muxer"]) == ("/noise", "/yamux/1.0.0")
    assert told["record"]["type"] == "signed"
    assert told["record"]["from"] == peer_text(link.me)
    envelope = parse_envelope(bytes.fromhex(told["record"]["data"]), max_bytes=2048)
    assert open_(signer, "interop", envelope) == link.me
    assert envelope.payload.startswith(b"offer ")
    assert told["mesh"]["peers"] == [peer_text(link.me)]
    assert told["answer"] == {"what": "answer", "number": 7, "kind": 1, "body": "HELLO"}
    (record,) = heard
    assert record == b"record of " + told["connected"]["me"].encode()
    assert peer_text(heard[record]) == told["connected"]["me"]
    assert [peer_text(caller) for caller in callers] == [told["connected"]["me"]]
