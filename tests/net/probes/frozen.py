"""Is a peer that freezes noticed? ``frozen.py MODE`` observes a child of its own (``frozen.py peer``), prints JSON."""

import json
import os
import signal
import subprocess
import sys
from functools import partial

import trio
from libp2p import new_host
from libp2p.crypto.secp256k1 import create_new_key_pair
from libp2p.peer.peerinfo import info_from_p2p_addr
from multiaddr import Multiaddr

LISTEN = [Multiaddr("/ip4/127.0.0.1/tcp/0")]
PATIENCE_S = {"sturdy": 90.0, "stock": 11.0}
"""The stock library never notices, however long it is waited for."""


async def be_peer() -> None:
    host = new_host(key_pair=create_new_key_pair(), listen_addrs=LISTEN)
    async with host.run(LISTEN):
        print(host.get_addrs()[0], flush=True)
        await trio.to_thread.run_sync(sys.stdin.read)


async def main(mode: str) -> None:
    if mode == "sturdy":
        from mesh.net import libp2p_fixes
        from mesh.net.libp2p_host import build_host

        libp2p_fixes.apply()
        host = build_host(os.urandom(32), lambda _peer, _error: None)
    else:
        host = new_host(key_pair=create_new_key_pair(), listen_addrs=LISTEN)
    start = partial(trio.run_process, [sys.executable, __file__, "peer"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    async with trio.open_nursery() as nursery, host.run(LISTEN):
        child: trio.Process = await nursery.start(start)
        assert child.stdout is not None
        line = b""
        while not line.endswith(b"\n"):
            line += await child.stdout.receive_some()
        info = info_from_p2p_addr(Multiaddr(line.decode().strip()))
        await host.connect(info)
        os.kill(child.pid, signal.SIGSTOP)
        noticed_s = None
        begin = trio.current_time()
        with trio.move_on_after(PATIENCE_S[mode]):
            while host.get_network().get_connections(info.peer_id):
                await trio.sleep(0.05)
            noticed_s = trio.current_time() - begin
        os.kill(child.pid, signal.SIGCONT)
        print(json.dumps({"noticed_s": noticed_s}), flush=True)
        child.kill()
        os._exit(0)  # stock would wait for its peer


if __name__ == "__main__":
    trio.run(be_peer) if sys.argv[1] == "peer" else trio.run(main, sys.argv[1])
