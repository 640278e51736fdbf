"""Which keys does the development chain fund?

The mnemonic that anvil and hardhat print at start ("test test ... junk", path m/44'/60'/0'/0/i), so that a config
written for one local chain works on every other. These keys are public knowledge: never use them for value.
"""

import hashlib
import hmac
from dataclasses import dataclass, field
from typing import Final

from coincurve import PrivateKey

from protocols.hashing import keccak256
from protocols.units import Address, Hash32, Signature

__all__ = ["DEV_MNEMONIC", "MAX_ACCOUNTS", "DevAccount", "dev_accounts"]

DEV_MNEMONIC: Final = "test test test test test test test test test test test junk"
MAX_ACCOUNTS: Final = 1000
"""Accounts funded at genesis, at most: 10 us of derivation and one trie leaf each."""

_HARDENED: Final = 1 << 31
_ACCOUNT_PATH: Final = (44 + _HARDENED, 60 + _HARDENED, _HARDENED, 0)


@dataclass(frozen=True, slots=True)
class DevAccount:
    """One pre-funded account: its index on the path, its address and its raw 32-byte key."""

    index: int
    address: Address
    private_key: bytes = field(repr=False)

    def sign(self, digest: Hash32) -> Signature:
        """``r || s || v`` of a digest; deterministic (RFC 6979)."""
        signature = PrivateKey(self.private_key).sign_recoverable(digest, hasher=None)
        return Signature(signature[:64] + bytes([27 + signature[64]]))


def dev_accounts(count: int, mnemonic: str = DEV_MNEMONIC) -> tuple[DevAccount, ...]:
    """The first ``count`` accounts of the mnemonic (BIP-39 seed without passphrase, BIP-32, BIP-44)."""
    if not 0 <= count <= MAX_ACCOUNTS:
        raise ValueError(f"a development chain funds 0 to {MAX_ACCOUNTS} accounts, not {count}")
    seed = hashlib.pbkdf2_hmac("sha512", mnemonic.encode(), b"mnemonic", 2048)
    node = hmac.digest(b"Bitcoin seed", seed, "sha512")
    for index in _ACCOUNT_PATH:
        node = _child(node, index)
    return tuple(_account(index, _child(node, index)[:32]) for index in range(count))


def _child(node: bytes, index: int) -> bytes:
    """BIP-32 CKDpriv over ``key || chain code`` (64 bytes)."""
    key = PrivateKey(node[:32])
    public = b"\0" + node[:32] if index >= _HARDENED else key.public_key.format()
    digest = hmac.digest(node[32:], public + index.to_bytes(4, "big"), "sha512")
    return key.add(digest[:32]).secret + digest[32:]


def _account(index: int, secret: bytes) -> DevAccount:
    public = PrivateKey(secret).public_key.format(compressed=False)
    return DevAccount(index, Address(bytes(keccak256(public[1:])[12:])), secret)
