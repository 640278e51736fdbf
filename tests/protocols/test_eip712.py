"""Do our hand-packed digests equal those of a general EIP-712 encoder, for every struct and every value that fits?"""

from typing import Any

import msgspec
import pytest
from eth_account.messages import encode_typed_data
from hypothesis import given
from hypothesis import strategies as st

from protocols.canonical import decode_strict, encode
from protocols.deals import eip712
from protocols.deals.eip712 import (
    DEVNET_BOUNDS,
    MAX_DEAL_GPUS,
    PUBLIC_BOUNDS,
    Cancellation,
    Deal,
    DeliveryReceipt,
    Domain,
    Enforcement,
    Level,
    Metering,
    OperatorConsent,
    OutcomeCode,
    ResultCommit,
    ResultReceipt,
    Settlement,
    SettlementMode,
    SignedStruct,
    check_terms,
    deal_id,
    deal_words,
    digest,
    gpus_hash,
)
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, DealId, Hash32, JobId, Seconds, Tokens, UnixSeconds

STRUCTS: tuple[type[SignedStruct], ...] = (
    Deal,
    Settlement,
    Cancellation,
    ResultCommit,
    DeliveryReceipt,
    ResultReceipt,
    OperatorConsent,
)
NOW = UnixSeconds(1_800_000_000)
TOKEN = Address(b"\x70" * 20)


def uint(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, (1 << bits) - 1)


hashes = st.binary(min_size=32, max_size=32).map(Hash32)
addresses = st.binary(min_size=20, max_size=20).map(Address)
deal_ids = hashes.map(DealId)
amounts = uint(128).map(Tokens)
domains = st.builds(Domain, chain_id=uint(256), escrow=addresses)
values: st.SearchStrategy[SignedStruct] = st.one_of(
    st.builds(
        Deal,
        client=addresses,
        provider=addresses,
        token=addresses,
        run_nonce=uint(64),
        index=uint(32),
        job_id=hashes.map(JobId),
        image=hashes,
        gpus=st.lists(hashes, max_size=4).map(tuple),
        price=amounts,
        metering=st.sampled_from(Metering),
        collateral=amounts,
        level=st.sampled_from(Level),
        level_params=hashes,
        numeric_class=hashes,
        enforcement=st.sampled_from(Enforcement),
        audit_ppm=uint(32),
        seat_fee=amounts,
        seat_class=uint(32),
        seat_snapshot=uint(64),
        client_secret_hash=hashes,
        provider_secret_hash=hashes,
        commit_by=uint(64),
        exec_seconds=uint(32),
        claim_seconds=uint(32),
        window_seconds=uint(32),
        settlement=st.sampled_from(SettlementMode),
    ),
    st.builds(Settlement, deal_id=deal_ids, paid=amounts),
    st.builds(Cancellation, deal_id=deal_ids, paid=amounts),
    st.builds(
        ResultCommit,
        deal_id=deal_ids,
        salted_root=hashes,
        outcome=st.sampled_from(OutcomeCode),
        exit_code=st.integers(-(1 << 31), (1 << 31) - 1),
        fuel=uint(64),
        wall_ms=uint(64),
        log_head=hashes,
    ),
    st.builds(DeliveryReceipt, deal_id=deal_ids, result_hash=hashes),
    st.builds(ResultReceipt, deal_id=deal_ids, result_hash=hashes, beacon_round=uint(64)),
    st.builds(OperatorConsent, owner=addresses, operator=addresses, nonce=uint(64)),
)


def members(type_string: str) -> list[dict[str, str]]:
    inside = type_string[type_string.index("(") + 1 : -1]
    return [dict(zip(("type", "name"), member.split(), strict=True)) for member in inside.split(",")]


def by_eth_account(domain: Domain, value: SignedStruct) -> bytes:
    name = type(value).__name__
    fields = members(value.TYPE)
    message = dict(zip((field["name"] for field in fields), msgspec.structs.astuple(value), strict=True))
    for key, item in message.items():
        message[key] = int(item) if isinstance(item, int) else list(item) if isinstance(item, tuple) else item
    signable = encode_typed_data(
        full_message={
            "types": {"EIP712Domain": members(Domain.TYPE), name: fields},
            "primaryType": name,
            "domain": {
                "name": "MeshEscrow",
                "version": "1",
                "chainId": domain.chain_id,
                "verifyingContract": domain.escrow,
            },
            "message": message,
        }
    )
    return keccak256(b"\x19", signable.version, signable.header, signable.body)


@given(domains, values)
def test_digest_equals_a_general_encoders(domain: Domain, value: SignedStruct) -> None:
    assert digest(domain, value) == by_eth_account(domain, value)


@given(values)
def test_every_struct_survives_the_wire_in_one_form(value: SignedStruct) -> None:
    data = encode(value)
    assert decode_strict(type(value), data, max_bytes=1 << 16) == value


@given(domains, domains, values)
def test_another_chain_or_contract_is_another_digest(one: Domain, other: Domain, value: SignedStruct) -> None:
    assert (digest(one, value) == digest(other, value)) == (one == other)


@pytest.mark.parametrize("kind", STRUCTS, ids=lambda kind: kind.__name__)
def test_fields_are_those_of_the_type_string(kind: type[SignedStruct]) -> None:
    wanted = [
        "".join("_" + char.lower() if char.isupper() else char for char in field["name"])
        for field in members(kind.TYPE)
    ]
    assert [field.name for field in msgspec.structs.fields(kind)] == wanted
    assert kind.TYPE.startswith(kind.__name__ + "(")
    assert kind.__name__ in eip712.__all__


def deal(**changes: Any) -> Deal:
    """A deal that every network's bounds accept."""
    word = Hash32(b"\x01" * 32)
    terms: dict[str, Any] = {
        "client": Address(b"\xc1" * 20),
        "provider": Address(b"\xb0" * 20),
        "token": TOKEN,
        "run_nonce": 7,
        "index": 0,
        "job_id": JobId(word),
        "image": word,
        "gpus": (),
        "price": Tokens(10**18),
        "metering": Metering.FIXED,
        "collateral": Tokens(2 * 10**18),
        "level": Level.EXACT,
        "level_params": word,
        "numeric_class": word,
        "enforcement": Enforcement.SELF,
        "audit_ppm": 20_000,
        "seat_fee": Tokens(0),
        "seat_class": 0,
        "seat_snapshot": 0,
        "client_secret_hash": word,
        "provider_secret_hash": word,
        "commit_by": UnixSeconds(NOW + 600),
        "exec_seconds": Seconds(3_600),
        "claim_seconds": Seconds(48 * 3_600),
        "window_seconds": Seconds(32 * 3_600),
        "settlement": SettlementMode.COMMIT,
    }
    return Deal(**(terms | changes))


def test_words_are_the_calldata() -> None:
    one = deal(gpus=(Hash32(b"\x02" * 32), Hash32(b"\x03" * 32)))
    assert len(deal_words(one)) == 26 * 32
    assert deal_words(one)[7 * 32 : 8 * 32] == gpus_hash(one.gpus) == keccak256(b"\x02" * 32 + b"\x03" * 32)
    assert deal_words(one)[:32] == bytes(12) + one.client


def test_deal_id_golden() -> None:
    # Frozen: a change here orphans every signed deal.
    domain = Domain(chain_id=31337, escrow=Address(b"\xe5" * 20))
    assert deal_id(domain, deal()).hex() == "76ed7682aa62a44ee1b7428b11417f57079c313faefbb1d6de805e4b5b948989"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("client", b"\x01" * 19),
        ("job_id", b"\x01" * 33),
        ("price", Tokens(1 << 128)),
        ("run_nonce", 1 << 64),
        ("index", -1),
        ("commit_by", 1 << 64),
        ("window_seconds", 1 << 32),
        ("gpus", (b"\x01" * 31,)),
        ("gpus", (b"\x01" * 32,) * (MAX_DEAL_GPUS + 1)),
    ],
)
def test_a_value_outside_its_type_is_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=field):
        deal(**{field: value})


@pytest.mark.parametrize("field", ["metering", "level", "enforcement", "settlement"])
def test_an_unknown_enum_value_is_malformed(field: str) -> None:
    at = [entry.name for entry in msgspec.structs.fields(Deal)].index(field)
    raw = msgspec.msgpack.decode(encode(deal()))
    raw[at] = 77
    with pytest.raises(RemoteProtocolError) as caught:
        decode_strict(Deal, msgspec.msgpack.encode(raw), max_bytes=4096)
    assert caught.value.code == "malformed"


def test_a_too_large_amount_from_a_peer_is_malformed() -> None:
    raw = msgspec.msgpack.decode(encode(Settlement(DealId(b"\x01" * 32), Tokens(1))))
    raw[1] = (1 << 128).to_bytes(32)
    with pytest.raises(RemoteProtocolError, match="paid") as caught:
        decode_strict(Settlement, msgspec.msgpack.encode(raw), max_bytes=4096)
    assert caught.value.code == "malformed"


def test_a_domain_needs_an_address() -> None:
    with pytest.raises(LocalProtocolError, match="20 bytes"):
        Domain(chain_id=1, escrow=Address(b""))


def test_fair_terms_pass() -> None:
    for bounds in (DEVNET_BOUNDS, PUBLIC_BOUNDS):
        check_terms(deal(), bounds, token=TOKEN, now=NOW)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("token", Address(b"\x71" * 20)),
        ("client", Address(b"\xb0" * 20)),
        ("settlement", SettlementMode.CHANNEL),
        ("metering", Metering.PER_SECOND),
        ("enforcement", Enforcement.PANEL),
        ("price", Tokens(0)),
        ("price", Tokens((1 << 128) - 1)),
        ("collateral", Tokens(100 * 10**18 + 1)),
        ("audit_ppm", 1_000_001),
        ("seat_fee", Tokens(1)),
        ("seat_class", 1),
        ("seat_snapshot", 1),
        ("commit_by", NOW - 1),
        ("commit_by", NOW + 7 * 86_400 + 1),
        ("exec_seconds", 0),
        ("exec_seconds", (1 << 32) - 1),
        ("claim_seconds", 48 * 3_600 - 1),
        ("claim_seconds", (1 << 32) - 1),
        ("window_seconds", 32 * 3_600 - 1),
        ("window_seconds", (1 << 32) - 1),
    ],
)
def test_hostile_terms_are_refused_by_name(field: str, value: object) -> None:
    with pytest.raises(RemoteProtocolError, match=field) as caught:
        check_terms(deal(**{field: value}), PUBLIC_BOUNDS, token=TOKEN, now=NOW)
    assert caught.value.code == "bad_terms"
