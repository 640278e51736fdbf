"""How does a peer without manners reach a node? With a key and a real link of its own, a new one for each thing it tries."""

import contextlib
import hashlib
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import msgspec
import trio

from devnet.members import Member
from mesh.api.types import PeerInfo
from mesh.base.config import load_config
from mesh.base.keys import NodeKey
from mesh.ledger import network_params
from mesh.net.addresses import parse_address, peer_text
from mesh.net.libp2p_link import Libp2pLink, LinkConfig
from mesh.net.link import CallRefused, CallTimeout, LinkError
from protocols.deals.eip712 import Domain
from protocols.env import Env
from protocols.envelope import parse_envelope
from protocols.limits import MAX_MESSAGE_BYTES, NetworkParams
from protocols.messages.registry import DEAL_PROTOCOL, RFQ_PROTOCOL, decode_message
from protocols.units import PeerId

__all__ = [
    "CALL_S",
    "GARBAGE",
    "LOST_AT_LEAST",
    "NOTICED_S",
    "POLL_S",
    "Hostile",
    "Target",
    "hostile_key",
    "open_hostile",
    "open_hostile_as",
    "params_of",
]

CALL_S: Final = 10.0
"""One call: a loaded two-core machine answers within two seconds."""
NOTICED_S: Final = 20.0
"""Until a target must have taken score."""
POLL_S: Final = 0.05
ANSWERS: Final = 64
"""Messages from the target that wait to be read; further ones are dropped."""
GARBAGE: Final = b"\xc1 is no msgpack"
LOST_AT_LEAST: Final = 5
"""Points: a rejection costs 10 and a tenth of a point comes back each second."""


class Target:
    """A node under attack."""

    def __init__(self, member: Member) -> None:
        self.member = member
        address = parse_address(member.addresses[0])
        if address.peer is None:
            raise ValueError(f"{member.addresses[0]} names no peer")
        self.peer: PeerId = address.peer
        self.host, self.port = address.host, address.port

    async def seen(self, peer: PeerId) -> PeerInfo | None:
        """What the target knows of a connected peer."""
        async with self.member.api() as api:
            found = [one for one in await api.peers() if one.peer == peer_text(peer)]
        return found[0] if found else None

    def penalised(self, peer: PeerId) -> list[str]:
        """The codes for which its rules took score from a peer, as its log says."""
        line = re.compile(rf"peer\.penalised.*{peer.hex()[-8:]}")
        lines = [text for text in self.member.log.read_text(errors="replace").splitlines() if line.search(text)]
        return [found.group(1) for text in lines if (found := re.search(r"code[\"']?[=:] ?[\"']?([\w-]+)", text))]


class Hostile:
    """One identity of the attacker, connected to its target."""

    def __init__(self, key: NodeKey, link: Libp2pLink, params: NetworkParams, target: Target) -> None:
        self.key = key
        self.link = link
        self.target = target
        self.env = Env(params=params, signer=key, domain=Domain(params.chain_id, params.escrow))
        self._send, self._answers = trio.open_memory_channel[msgspec.Struct](ANSWERS)
        for protocol in (RFQ_PROTOCOL, DEAL_PROTOCOL):
            link.serve(protocol, self._take, MAX_MESSAGE_BYTES)

    async def _take(self, peer: PeerId, data: bytes) -> bytes:
        message = decode_message(parse_envelope(data, max_bytes=MAX_MESSAGE_BYTES))
        with contextlib.suppress(trio.WouldBlock):
            self._send.send_nowait(message)
        return b""

    async def answer(self) -> msgspec.Struct:
        """The next message from the target. Raises ``trio.TooSlowError``."""
        with trio.fail_after(NOTICED_S):
            return await self._answers.receive()

    async def say(self, message: msgspec.Struct) -> str:
        """Send a message in an honest envelope; see ``call``."""
        return await self.call(*self.env.seal(message))

    async def call(self, protocol: str, data: bytes) -> str:
        """Send a request; the text of the refusal, empty when it was answered or the stream ended."""
        try:
            await self.link.call(self.target.peer, protocol, data, CALL_S)
        except CallTimeout as error:
            return str(error)
        except CallRefused as error:
            return str(error)
        except LinkError:
            return ""
        return ""

    async def raw(self, protocol: str, data: bytes) -> None:
        """Write bytes on a stream of a protocol, end it, and read until the other side has had enough."""
        stream = await self.link.open(self.target.peer, protocol)
        try:
            await stream.send_all(data)
            await stream.send_eof()
            with trio.move_on_after(CALL_S):
                while await stream.receive_some():
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return
        finally:
            await trio.aclose_forcefully(stream)

    async def score(self) -> int | None:
        """What the target thinks of this identity; None once it is not connected."""
        found = await self.target.seen(self.link.me)
        return None if found is None else found.score

    async def until_penalised(self) -> int | None:
        """Wait until score or the connection was lost, but not for ever; the score then."""
        score = await self.score()
        with trio.move_on_after(NOTICED_S):
            while score is not None and score > -LOST_AT_LEAST:
                await trio.sleep(POLL_S)
                score = await self.score()
        return score

    async def costs_of_garbage(self) -> int | None:
        """The score after one more message that certainly costs ten points: what it showed before cost the rest."""
        await self.call(DEAL_PROTOCOL, GARBAGE)
        return await self.until_penalised()


def hostile_key(seed: int, name: str) -> NodeKey:
    """The key of an identity, the same for seed and name."""
    return NodeKey(hashlib.sha256(f"hostile {seed} {name}".encode()).digest())


@asynccontextmanager
async def open_hostile(target: Target, params: NetworkParams, key: NodeKey) -> AsyncIterator[Hostile]:
    """An identity that is connected to its target for as long as the block runs. It dials nobody else."""
    async with open_hostile_as(key, target) as link:
        await link.connect(target.peer)
        hostile = Hostile(key, link, params, target)
        with trio.fail_after(NOTICED_S):
            while await hostile.score() is None:
                await trio.sleep(POLL_S)
        yield hostile


@asynccontextmanager
async def open_hostile_as(key: NodeKey, target: Target) -> AsyncIterator[Libp2pLink]:
    """A link of its own that knows where the target is."""
    config = LinkConfig(
        listen=("/ip4/127.0.0.1/tcp/0",), bootstrap=target.member.addresses[:1], mdns=False, keep_connected=0
    )
    link = Libp2pLink(key.expose_secret(), config, jitter=lambda: 0.5)
    async with trio.open_nursery() as nursery:
        await nursery.start(link.run)
        yield link
        nursery.cancel_scope.cancel()


def params_of(member: Member) -> NetworkParams:
    """The parameters of the network that a node lives on."""
    loaded = load_config(flags={}, env=member.environment, cwd=member.home, file=member.home / "mesh.toml")
    return network_params(loaded.config)
