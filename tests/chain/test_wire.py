"""Is every impossible value in an RPC answer refused, and is the field named?"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.chain import wire
from mesh.chain.refusals import Refusal, classify
from mesh.chain.reverts import Reverts
from mesh.chain.wire import Malformed
from protocols.contracts import artifact

HASH = "0x" + "ab" * 32
ADDRESS = "0x" + "cd" * 20
BLOCK = {"number": "0x5", "hash": HASH, "parentHash": HASH, "timestamp": "0x6500", "baseFeePerGas": "0x7"}
LOG = {
    "address": ADDRESS,
    "topics": [HASH],
    "data": "0x01",
    "blockNumber": "0x5",
    "blockHash": HASH,
    "transactionHash": HASH,
    "logIndex": "0x0",
    "removed": False,
}
RECEIPT = {
    "transactionHash": HASH,
    "blockNumber": "0x5",
    "blockHash": HASH,
    "status": "0x1",
    "gasUsed": "0x5208",
    "contractAddress": None,
    "logs": [LOG],
}
TX = {"hash": HASH, "nonce": "0x1", "from": ADDRESS, "blockNumber": None}
WHOLE: dict[str, tuple[Callable[[object], object], dict[str, Any]]] = {
    "block": (wire.head, BLOCK),
    "log": (lambda value: wire.logs([value]), LOG),
    "receipt": (wire.receipt_or_none, RECEIPT),
    "transaction": (wire.seen_tx_or_none, TX),
}
FIELDS = [(name, field) for name, (_, sample) in WHOLE.items() for field in sample if field != "removed"]
OPTIONAL = {("block", "baseFeePerGas"), ("receipt", "contractAddress"), ("transaction", "blockNumber")}


@pytest.mark.parametrize("name", WHOLE)
def test_an_honest_answer_is_read(name: str) -> None:
    read, sample = WHOLE[name]
    assert read(sample) is not None


@pytest.mark.parametrize(("name", "field"), FIELDS)
@pytest.mark.parametrize("bad", [5, "-0x1", "0x", "0xzz", "0x" + "f" * 65, "", [], {}, True, "0x " + "1" * 30, "٣"])
def test_an_impossible_field_is_named(name: str, field: str, bad: object) -> None:
    read, sample = WHOLE[name]
    if (field, bad) in (("data", "0x"), ("topics", []), ("logs", [])):
        return
    with pytest.raises(Malformed, match=f"{name}.{field}|logs should|topics should"):
        read({**sample, field: bad})


@pytest.mark.parametrize(("name", "field"), [pair for pair in FIELDS if pair not in OPTIONAL])
def test_a_missing_field_is_named(name: str, field: str) -> None:
    read, sample = WHOLE[name]
    with pytest.raises(Malformed):
        read({key: value for key, value in sample.items() if key != field})


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s)
    )
)
def test_nothing_but_malformed_is_ever_raised(value: object) -> None:
    for read in (wire.head_or_none, wire.logs, wire.receipt_or_none, wire.seen_tx_or_none, wire.quantity, wire.data):
        try:
            read(value)
        except Malformed as error:
            assert len(str(error)) < 200  # noqa: PT017 - either outcome is fine, a long message is not


def test_logs_are_ordered_and_unique() -> None:
    second = {**LOG, "logIndex": "0x1"}
    assert [log.index for log in wire.logs([second, LOG])] == [0, 1]
    assert wire.logs([{**LOG, "removed": True}]) == ()
    with pytest.raises(Malformed, match="twice"):
        wire.logs([LOG, LOG])
    with pytest.raises(Malformed, match="at most"):
        wire.logs([{**LOG, "logIndex": hex(n)} for n in range(wire.MAX_LOGS + 1)])


@pytest.mark.parametrize(
    ("words", "meaning"),
    [
        ("already known", Refusal.KNOWN),
        ("nonce too low: next nonce 5, tx nonce 4", Refusal.NONCE_LOW),
        ("nonce too high: address 0x.., tx: 9 state: 7", Refusal.NONCE_HIGH),
        ("replacement transaction underpriced", Refusal.UNDERPRICED),
        ("transaction underpriced", Refusal.FEE_LOW),
        ("max fee per gas less than block base fee: address 0x..", Refusal.FEE_LOW),
        ("Insufficient funds for gas * price + value", Refusal.FUNDS),
        ("execution reverted: no", Refusal.REVERT),
        ("out of cheese", Refusal.OTHER),
    ],
)
def test_words_of_refusal(words: str, meaning: Refusal) -> None:
    assert classify(words) is meaning


@given(st.binary(max_size=200))
def test_any_revert_data_has_a_text(data: bytes) -> None:
    reverts = Reverts([artifact("MeshEscrow").abi])
    for given_data in (data, reverts_selector() + data):
        assert len(str(reverts.read(given_data))) < 1000


def reverts_selector() -> bytes:
    return bytes.fromhex("08c379a0")


def test_reasons_are_named_as_in_the_contract() -> None:
    reverts = Reverts([artifact("MeshEscrow").abi])
    message = reverts_selector() + (32).to_bytes(32) + (2).to_bytes(32) + b"no".ljust(32, b"\0")
    assert str(reverts.read(message)) == "Error(message=no)"
    assert str(reverts.read(bytes.fromhex("4e487b71") + (17).to_bytes(32))) == "Panic(code=17)"
    assert str(reverts.read(b"")) == "reverted without a reason"
    assert str(reverts.read(b"\x01\x02\x03\x04")) == "unknown error 0x01020304"
