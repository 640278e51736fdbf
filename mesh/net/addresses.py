"""How are peers and their addresses written? PeerIds in base58, addresses as the TCP subset of multiaddrs.

Light on purpose (no libp2p): the command line prints peers without loading a network.
"""

import ipaddress
import re
from collections.abc import Iterable
from typing import Final

import coincurve
import msgspec

from protocols.signing import peer_id_of_key
from protocols.units import PeerId

__all__ = [
    "Address",
    "is_loopback",
    "parse_address",
    "parse_addresses",
    "parse_peer",
    "peer_id_of_secret",
    "peer_text",
]

_ALPHABET: Final = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_PEER_TEXT_MAX: Final = 64
"""Characters; ours have 53. Base58 costs quadratic time, so longer ones are refused unread."""
_NAME: Final = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63}){0,8}\.?")
_ADDRESS_MAX: Final = 512
"""Characters of a multiaddr we read: a DNS name is at most 253."""


class Address(msgspec.Struct, frozen=True):
    """A TCP endpoint and, when it is known, whose it is."""

    kind: str
    """``ip4``, ``ip6``, ``dns``, ``dns4`` or ``dns6``."""
    host: str
    port: int
    peer: PeerId | None = None

    @property
    def transport(self) -> str:
        """The multiaddr without its ``/p2p`` part."""
        return f"/{self.kind}/{self.host}/tcp/{self.port}"

    def __str__(self) -> str:
        return self.transport if self.peer is None else f"{self.transport}/p2p/{peer_text(self.peer)}"


def peer_id_of_secret(secret: bytes) -> PeerId:
    """The PeerId of a raw 32-byte secp256k1 key. Raises ``ValueError``."""
    return peer_id_of_key(coincurve.PrivateKey(secret).public_key.format())


def peer_text(peer: PeerId) -> str:
    """Base58, as libp2p prints it: ``16Uiu2HA...`` for a secp256k1 key."""
    number, text = int.from_bytes(peer, "big"), ""
    while number:
        number, digit = divmod(number, 58)
        text = _ALPHABET[digit] + text
    return "1" * (len(peer) - len(peer.lstrip(b"\0"))) + text


def parse_peer(text: str) -> PeerId:
    """The PeerId behind its base58 text. Raises ``ValueError`` that says what is wrong."""
    if not text or len(text) > _PEER_TEXT_MAX:
        raise ValueError(f"a peer id has 1 to {_PEER_TEXT_MAX} characters; a node's begins with 16Uiu2HA")
    number = 0
    for character in text:
        digit = _ALPHABET.find(character)
        if digit < 0:
            raise ValueError(f"{character!r} does not occur in a peer id (base58); copy it again from `mesh peers`")
        number = number * 58 + digit
    zeros = len(text) - len(text.lstrip("1"))
    return PeerId(bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big"))


def parse_address(text: str) -> Address:
    """A multiaddr of the form ``/ip4/1.2.3.4/tcp/4001[/p2p/16Uiu2HA...]``, also with ``ip6`` and ``dns*``.

    Raises ``ValueError`` that names the part which is wrong.
    """
    if len(text) > _ADDRESS_MAX:
        raise ValueError(f"an address has at most {_ADDRESS_MAX} characters, this one has {len(text)}")
    parts = text.strip().split("/")
    if len(parts) not in (5, 7) or parts[0] or parts[3] != "tcp" or (len(parts) == 7 and parts[5] != "p2p"):
        raise ValueError(f"{text!r} is not an address; it looks like /ip4/203.0.113.7/tcp/4001/p2p/16Uiu2HA...")
    kind, host, port_text = parts[1], parts[2], parts[4]
    if kind == "ip4":
        host = str(ipaddress.IPv4Address(host))
    elif kind == "ip6":
        host = str(ipaddress.IPv6Address(host))
    elif kind not in ("dns", "dns4", "dns6") or not _NAME.fullmatch(host):
        raise ValueError(f"{kind}/{host} in {text!r} is neither ip4, ip6 nor a DNS name")
    if not (port_text.isascii() and port_text.isdigit() and int(port_text) <= 65535):
        raise ValueError(f"{port_text!r} in {text!r} is not a TCP port")
    return Address(kind, host, int(port_text), parse_peer(parts[6]) if len(parts) == 7 else None)


def is_loopback(host: str | None) -> bool:
    """Whether a host is this machine itself. False for names and for None."""
    try:
        return host is not None and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def parse_addresses(texts: Iterable[str]) -> list[Address]:
    """Those that can be read, in order; the others are left out."""
    found: list[Address] = []
    for text in texts:
        try:
            found.append(parse_address(text))
        except ValueError:
            continue
    return found
