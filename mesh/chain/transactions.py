"""What bytes is a transaction, and under which hash will it be found?

EIP-1559 (type 2) only: every chain of the presets takes it. The encoder is RLP's writing half, nothing more;
``tests/chain/test_transactions.py`` holds it against eth-account.
Source: EIP-1559, EIP-2718; RLP: Ethereum yellow paper, appendix B.
"""

from typing import Final, Protocol

import msgspec

from protocols.hashing import keccak256
from protocols.units import Address, Hash32, Signature

__all__ = ["MAX_TX_BYTES", "SignedTx", "TxSigner", "UnsignedTx", "sign"]

MAX_TX_BYTES: Final = 128 * 1024
"""What nodes accept (go-ethereum's ``txMaxSize``); the largest of ours, a deployment, has 23 kB."""
_TYPE: Final = b"\x02"


class TxSigner(Protocol):
    """The operator's key, or any other: signs digests, tells its address. ``protocols.signing.Signer`` is one."""

    @property
    def address(self) -> Address: ...

    def sign(self, digest: Hash32) -> Signature: ...


class UnsignedTx(msgspec.Struct, frozen=True):
    """A transaction before signing. Fees in wei per gas; ``to`` is None to create a contract."""

    chain_id: int
    nonce: int
    priority_fee: int
    max_fee: int
    gas: int
    to: Address | None
    value: int
    data: bytes


class SignedTx(msgspec.Struct, frozen=True):
    """A signed transaction: what is sent, what it is called, and what it may cost."""

    raw: bytes
    hash: Hash32
    nonce: int
    max_fee: int
    priority_fee: int
    gas: int


def sign(tx: UnsignedTx, signer: TxSigner) -> SignedTx:
    """Sign with a low-s recoverable signature. Raises ``ValueError`` for one that no node would relay for its size."""
    fields: list[_Item] = [
        _number(tx.chain_id),
        _number(tx.nonce),
        _number(tx.priority_fee),
        _number(tx.max_fee),
        _number(tx.gas),
        tx.to or b"",
        _number(tx.value),
        tx.data,
        [],
    ]
    signature = signer.sign(keccak256(_TYPE, _rlp(fields)))
    r, s, parity = signature[:32], signature[32:64], signature[64] - 27
    fields += [_number(parity), r.lstrip(b"\0"), s.lstrip(b"\0")]
    raw = _TYPE + _rlp(fields)
    if len(raw) > MAX_TX_BYTES:
        raise ValueError(f"a transaction of {len(raw)} bytes is larger than the {MAX_TX_BYTES} that nodes relay")
    return SignedTx(raw, keccak256(raw), tx.nonce, tx.max_fee, tx.priority_fee, tx.gas)


def fees_of(raw: bytes) -> tuple[int, int, int]:
    """``(max_fee, priority_fee, gas)`` of a transaction that ``sign`` made; for those read back from a journal."""
    items = _first_numbers(raw[1:], 5)
    return items[3], items[2], items[4]


_Item = bytes | list["_Item"]


def _number(value: int) -> bytes:
    if value < 0:
        raise ValueError(f"a transaction has no negative fields, got {value}")
    return value.to_bytes((value.bit_length() + 7) // 8)


def _rlp(item: _Item) -> bytes:
    if isinstance(item, bytes):
        if len(item) == 1 and item[0] < 0x80:
            return item
        return _length(len(item), 0x80) + item
    body = b"".join(map(_rlp, item))
    return _length(len(body), 0xC0) + body


def _length(size: int, offset: int) -> bytes:
    if size < 56:
        return bytes([offset + size])
    digits = _number(size)
    return bytes([offset + 55 + len(digits)]) + digits


def _first_numbers(encoded: bytes, count: int) -> list[int]:
    """The first integers of an RLP list; trusts that ``sign`` wrote it."""
    at = 1 if encoded[0] < 0xF8 else 2 + encoded[0] - 0xF8
    numbers: list[int] = []
    while len(numbers) < count:
        lead = encoded[at]
        size = 0 if lead < 0x80 else lead - 0x80
        at += 1
        numbers.append(lead if lead < 0x80 else int.from_bytes(encoded[at : at + size]))
        at += size
    return numbers
