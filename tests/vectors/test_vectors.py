"""Do the bytes stay what they were? Golden vectors, with msgpack-python as a second opinion about every one of them."""

import json
from enum import IntEnum
from pathlib import Path
from types import ModuleType
from typing import Any

import msgpack
import msgspec
import pytest

from protocols.canonical import decode_strict, encode
from protocols.channels.states import ChannelState
from protocols.deals import eip712
from protocols.deals.states import DealState
from protocols.disputes.file import DisputeFile
from protocols.effects import OutboxItem
from protocols.envelope import Envelope, open_, parse_envelope
from protocols.mediation.case import Case
from protocols.messages.registry import MESSAGE_TYPES, decode_message
from protocols.runs import Run, RunStatus
from protocols.state import ChannelHalf, Counters, Half, JobBody
from protocols.units import Tokens

FOLDER = Path(__file__).resolve().parent
KEPT: dict[str, dict[str, str]] = {
    name: json.loads((FOLDER / f"{name}.json").read_text()) for name in ("messages", "envelopes", "eip712", "rows")
}
BIG = 1 << 20
ROW_TYPES: dict[str, type[msgspec.Struct]] = {
    "deal": Half,
    "run": Run,
    "outbox": OutboxItem,
    "job": JobBody,
    "counters": Counters,
    "dispute": DisputeFile,
    "case": Case,
    "channel": ChannelHalf,
}


def plain(value: Any) -> Any:
    """What a value is in plain msgpack, written from the documentation of the format and from nothing else."""
    match value:
        case Tokens():
            return int(value).to_bytes(32, "big")
        case IntEnum():
            return int(value)
        case msgspec.Struct():
            config = value.__struct_config__
            fields = [plain(getattr(value, name)) for name in value.__struct_fields__]
            if config.array_like:
                return [*([config.tag] if config.tag is not None else []), *fields]
            named = dict(zip(value.__struct_encode_fields__, fields, strict=True))
            named = {name: one for name, one in named.items() if one is not msgspec.UNSET}
            if config.omit_defaults:
                usual = {one.encode_name: one.default for one in msgspec.structs.fields(value)}
                named = {
                    name: one
                    for name, one in named.items()
                    if usual[name] is msgspec.NODEFAULT or one != plain(usual[name])
                }
            return {config.tag_field: config.tag, **named} if config.tag is not None else named
        case tuple() | list():
            return [plain(item) for item in value]
        case dict():
            return {plain(key): plain(item) for key, item in value.items()}
        case _:
            return value


def is_the_same_to_msgpack(value: msgspec.Struct, data: bytes) -> bool:
    same: bool = msgpack.packb(plain(value), use_bin_type=True) == data
    return same and msgpack.unpackb(data, strict_map_key=False) == plain(value)


def structs(name: str) -> list[tuple[str, str]]:
    """The vectors that are a struct's bytes, not a digest, calldata or signature."""
    return [(k, v) for k, v in KEPT[name].items() if k.rpartition(" ")[2] not in ("digest", "words", "signature")]


@pytest.mark.parametrize("name", list(KEPT))
def test_the_code_still_makes_every_vector(name: str, generator: ModuleType) -> None:
    assert generator.current(name) == KEPT[name], "run tests/vectors/generate.py: it says what changed"


@pytest.mark.parametrize(("label", "data"), structs("messages"))
def test_messages_decode_to_themselves(label: str, data: str) -> None:
    raw = bytes.fromhex(data)
    message = decode_strict(MESSAGE_TYPES[label.split()[0]], raw, max_bytes=BIG)
    assert encode(message) == raw
    assert is_the_same_to_msgpack(message, raw)


@pytest.mark.parametrize(("label", "data"), structs("envelopes"))
def test_envelopes_open(label: str, data: str, generator: ModuleType) -> None:
    raw = bytes.fromhex(data)
    envelope = parse_envelope(raw, max_bytes=BIG)
    key = generator.Samples().client
    assert open_(key, "devnet", envelope) == key.peer_id
    assert envelope.type == label.split()[0]
    assert isinstance(decode_message(envelope), MESSAGE_TYPES[envelope.type])
    assert is_the_same_to_msgpack(envelope, raw)


@pytest.mark.parametrize(("label", "data"), structs("eip712"))
def test_signed_structs_decode_to_themselves(label: str, data: str) -> None:
    raw = bytes.fromhex(data)
    value = decode_strict(getattr(eip712, label.split()[0]), raw, max_bytes=BIG)
    assert is_the_same_to_msgpack(value, raw)
    assert value.words().hex() == KEPT["eip712"][f"{label} words"]


@pytest.mark.parametrize(("label", "data"), structs("rows"))
def test_rows_restore(label: str, data: str) -> None:
    raw = bytes.fromhex(data)
    row = decode_strict(ROW_TYPES[label.split()[0]], raw, max_bytes=BIG)
    assert encode(row) == raw
    assert is_the_same_to_msgpack(row, raw)


def test_nothing_is_without_a_vector() -> None:
    """A message, signed struct, state or status that is added must be pinned before it leaves the house."""
    tags = {label.split()[0] for label in KEPT["messages"]}
    assert tags == set(MESSAGE_TYPES)
    assert {label.split()[0] for label in KEPT["envelopes"]} == set(MESSAGE_TYPES)
    signed = {one.__name__ for one in eip712.SignedStruct.__subclasses__() if one.__module__ == eip712.__name__}
    assert {label.split()[0] for label in KEPT["eip712"]} == signed
    rows = [label.split() for label in KEPT["rows"]]
    assert {one[2] for one in rows if one[0] == "deal"} == {kind.__name__ for kind in DealState.__args__}
    assert {one[1] for one in rows if one[0] == "channel"} == {kind.__name__ for kind in ChannelState.__args__}
    assert {one[1] for one in rows if one[0] == "run"} == {kind.__name__ for kind in RunStatus.__args__}
    listed = OutboxItem.__annotations__["effect"].__args__
    assert {one[1] for one in rows if one[0] == "outbox"} == {kind.__name__ for kind in listed}


def test_amounts_stand_at_both_ends() -> None:
    for tag in ("rfq/1", "quote/1"):
        amounts = {label.split("=")[1] for label in KEPT["messages"] if label.startswith(tag)}
        assert amounts == {"0", str(1 << 64), str((1 << 256) - 1)}


def test_an_envelope_is_bytes_in_bytes() -> None:
    """What is signed is what travels: the payload stands in the envelope unchanged."""
    for label, data in structs("envelopes"):
        envelope = decode_strict(Envelope, bytes.fromhex(data), max_bytes=BIG)
        assert envelope.payload.hex() == KEPT["messages"][label]


def test_the_generator_refuses_to_change_a_vector(generator: ModuleType, tmp_path: Path) -> None:
    for name, vectors in KEPT.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(vectors))
    first = next(iter(KEPT["rows"]))
    (tmp_path / "rows.json").write_text(json.dumps({**KEPT["rows"], first: "00"}))
    generator.FOLDER = tmp_path
    assert generator.main() == 1
    assert json.loads((tmp_path / "rows.json").read_text())[first] == "00"
    (tmp_path / "rows.json").write_text(json.dumps({k: v for k, v in KEPT["rows"].items() if k != first}))
    assert generator.main() == 0
    assert json.loads((tmp_path / "rows.json").read_text())[first] == KEPT["rows"][first]
