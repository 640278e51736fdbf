"""Where does a devnet get its randomness? From a beacon of drand's scheme on loopback, with a key that everybody knows.

It speaks the part of drand's HTTP API that nodes use: ``/chains``, ``/{hash}/info``, ``/{hash}/public/latest`` and
``/{hash}/public/{round}``. Rounds are signed one by one, so any past round can be made when it is asked for, and a round is
the same whichever devnet, process or restart makes it. A `BeaconServer` can also be told to misbehave.
"""

import json
import math
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Final, Literal

import h11
import trio
from py_arkworks_bls12381 import G1Point, G2Point, Scalar

from mesh.base.tasks import Started
from protocols.beacon.chain import DEVNET_BEACON, SCHEME, BeaconChain
from protocols.beacon.scheme import DST, round_message
from protocols.hashing import sha256
from protocols.messages.beacon import BeaconRound
from protocols.units import Hash32, UnixSeconds

__all__ = ["DEVNET_GROUP", "DEVNET_ID", "BeaconKey", "BeaconServer", "Habit", "chain_hash_of", "devnet_key"]

Habit = Literal["honest", "dead", "busy", "hangs", "stale", "lies", "forges", "mislabels", "babbles", "floods"]
"""How it answers: as drand would; cuts the connection; 503; never; a day behind; with a wrong randomness; with another key's
signature; another round than asked for; no JSON; without end."""
DEVNET_ID: Final = "mesh-devnet"
DEVNET_GROUP: Final = Hash32(sha256(b"mesh devnet beacon group"))
"""What stands for the group file of drand's signers in the chain's hash."""
_DAY_S: Final = 86_400
_MAX_REQUEST: Final = 8_192
_MAX_CONNECTIONS: Final = 256
_IDLE_S: Final = 120.0


class BeaconKey:
    """The secret of a beacon that has one signer. ``secret`` is taken modulo the order of the group."""

    def __init__(self, secret: int) -> None:
        self._scalar = Scalar.from_be_bytes_mod_order(secret.to_bytes(math.ceil(secret.bit_length() / 8) or 1, "big"))

    @property
    def public_key(self) -> bytes:
        """Compressed, on G2."""
        return (G2Point() * self._scalar).to_compressed_bytes()

    def sign(self, number: int) -> BeaconRound:
        """The round of that number."""
        point = G1Point.hash_to_curve(round_message(number), DST) * self._scalar
        return BeaconRound(number, point.to_compressed_bytes())


@cache
def devnet_key() -> BeaconKey:
    """The key behind ``DEVNET_BEACON``."""
    return BeaconKey(int.from_bytes(sha256(b"mesh devnet beacon"), "big"))


def chain_hash_of(chain: BeaconChain, group: Hash32, beacon_id: str) -> Hash32:
    """The hash that names a chain, as drand computes it: period, genesis, key, group and, unless it is ``default``, the id."""
    named = b"" if beacon_id == "default" else beacon_id.encode()
    return sha256(chain.period_s.to_bytes(4, "big"), chain.genesis.to_bytes(8, "big"), chain.public_key, group, named)


class BeaconServer:
    """One relay. ``habit`` may be changed while it runs; ``asked`` counts requests for rounds."""

    def __init__(
        self,
        chain: BeaconChain = DEVNET_BEACON,
        key: BeaconKey | None = None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.chain = chain
        self.habit: Habit = "honest"
        self.asked = 0
        self.url = ""
        self._key = key or devnet_key()
        self._wall = wall
        self._slots = trio.CapacityLimiter(_MAX_CONNECTIONS)

    async def run(self, *, port: int = 0, task_status: Started = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on loopback until cancelled; ``url`` is known once it has started."""
        async with trio.open_nursery() as nursery:
            listeners = await nursery.start(
                partial(trio.serve_tcp, self._connection, port, host="127.0.0.1", handler_nursery=nursery)
            )
            self.url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
            task_status.started()

    async def _connection(self, stream: trio.SocketStream) -> None:
        if self._slots.available_tokens < 1:
            await stream.aclose()
            return
        try:
            async with stream, self._slots:
                await self._requests(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError, h11.ProtocolError):
            return

    async def _requests(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=_MAX_REQUEST)
        target = ""
        while True:
            event = http.next_event()
            if event is h11.NEED_DATA:
                with trio.move_on_after(_IDLE_S) as idle:
                    http.receive_data(await stream.receive_some(_MAX_REQUEST))
                if idle.cancelled_caught:
                    return
            elif isinstance(event, h11.Request):
                target = event.target.decode("ascii")
            elif isinstance(event, h11.EndOfMessage):
                if not await self._reply(http, stream, target) or http.our_state is h11.MUST_CLOSE:
                    return
                http.start_next_cycle()
            elif isinstance(event, h11.ConnectionClosed):
                return

    async def _reply(self, http: h11.Connection, stream: trio.SocketStream, target: str) -> bool:
        """Answer one request; False when the connection must end."""
        if self.habit == "dead":
            return False
        if self.habit == "hangs":
            await trio.sleep_forever()
        status, body = self._answer(target)
        headers = [("content-type", "application/json"), ("content-length", str(len(body)))]
        await stream.send_all(http.send(h11.Response(status_code=status, headers=headers)) or b"")
        await stream.send_all((http.send(h11.Data(data=body)) or b"") + (http.send(h11.EndOfMessage()) or b""))
        return True

    def _answer(self, target: str) -> tuple[int, bytes]:
        path = target.partition("?")[0].strip("/").split("/")
        if self.habit == "busy":
            return 503, b""
        if self.habit == "babbles":
            return 200, b"<html>please log in</html>"
        if self.habit == "floods":
            return 200, b"[" * (1 << 20)
        if path == ["chains"]:
            return 200, json.dumps([self.chain.chain_hash.hex()]).encode()
        if path[:1] != [self.chain.chain_hash.hex()]:
            return 404, b"{}"
        if path[1:] == ["info"]:
            return 200, self._info()
        if len(path) == 3 and path[1] == "public" and (path[2] == "latest" or path[2].isdecimal()):
            return self._round(path[2])
        return 404, b"{}"

    def _round(self, which: str) -> tuple[int, bytes]:
        self.asked += 1
        newest = self.chain.round_at(UnixSeconds(int(self._wall())))
        number = newest if which == "latest" else int(which)
        if not 0 < number <= newest:
            return 425, b"{}"
        if self.habit == "stale":
            number = max(1, number - _DAY_S // self.chain.period_s) if which == "latest" else number
        if self.habit == "mislabels":
            number = max(1, number - 1) if which != "latest" else number
        one = (BeaconKey(2) if self.habit == "forges" else self._key).sign(number)
        randomness = sha256(b"lie") if self.habit == "lies" else one.randomness
        return 200, json.dumps(
            {"round": number, "randomness": randomness.hex(), "signature": one.signature.hex()}
        ).encode()

    def _info(self) -> bytes:
        return json.dumps(
            {
                "public_key": self.chain.public_key.hex(),
                "period": self.chain.period_s,
                "genesis_time": self.chain.genesis,
                "hash": self.chain.chain_hash.hex(),
                "groupHash": DEVNET_GROUP.hex(),
                "schemeID": SCHEME,
                "metadata": {"beaconID": DEVNET_ID},
            }
        ).encode()
