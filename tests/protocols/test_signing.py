"""Who signed this? Only the key that did, in only one form, for only one network and one type."""

import pytest
from coincurve import PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from devnet.sim.samples import Samples
from devnet.sim.signer import KeyRing
from mesh.base.keys import NodeKey
from protocols.canonical import decode_strict, encode
from protocols.deals import eip712
from protocols.envelope import ENVELOPE_OVERHEAD, Envelope, envelope_digest, open_, parse_envelope, seal
from protocols.errors import LocalProtocolError, RemoteProtocolError
from protocols.hashing import keccak256
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages.registry import MESSAGE_TYPES, UnknownType, decode_message, protocol_of, tag_of
from protocols.signing import (
    PEER_ID_BYTES,
    address_of_key,
    address_of_peer,
    peer_id_of_key,
    recover_key,
    require_signed_by,
)
from protocols.units import Hash32, PeerId, Signature

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
KEY, OTHER = NodeKey(bytes(31) + b"\x01"), NodeKey(bytes(31) + b"\x02")
DIGEST = keccak256(b"something")
SAMPLES = Samples()


def code_of(error: "pytest.ExceptionInfo[RemoteProtocolError]") -> tuple[str, int]:
    return error.value.code, error.value.penalty


def refused(signature: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        recover_key(DIGEST, signature)
    assert code_of(caught) == ("bad_signature", 50)


def test_a_signature_has_one_form() -> None:
    good = KEY.sign(DIGEST)
    assert peer_id_of_key(recover_key(DIGEST, good)) == KEY.peer_id
    s = int.from_bytes(good[32:64], "big")
    high = good[:32] + (ORDER - s).to_bytes(32, "big") + bytes([55 - good[64]])
    refused(high)
    for v in (0, 1, 26, 29, 30, 35, 255):
        refused(good[:64] + bytes([v]))
    for wrong in (good[:64], good + b"\x00", b"", good[1:], bytes(64) + b"\x1b", good[:32] + bytes(32) + b"\x1b"):
        refused(wrong)
    refused(b"\xff" * 32 + good[32:])


def test_another_digest_or_bit_is_another_signer() -> None:
    good = KEY.sign(DIGEST)
    assert recover_key(keccak256(b"else"), good) != recover_key(DIGEST, good)
    with pytest.raises(RemoteProtocolError) as caught:
        require_signed_by(KEY, OTHER.peer_id, DIGEST, good)
    assert code_of(caught) == ("bad_signature", 50)
    require_signed_by(OTHER, KEY.peer_id, DIGEST, good)


@given(st.integers(1, ORDER - 1), st.binary(min_size=32, max_size=32))
def test_signing_is_deterministic_and_recovers(secret: int, digest: bytes) -> None:
    key = NodeKey(secret.to_bytes(32, "big"))
    signature = key.sign(Hash32(digest))
    assert signature == key.sign(Hash32(digest))
    assert key.recover(Hash32(digest), signature) == key.peer_id
    assert address_of_peer(key.peer_id) == key.address


@given(st.binary(min_size=65, max_size=65))
def test_noise_recovers_to_nothing_or_to_a_stranger(signature: bytes) -> None:
    try:
        found = recover_key(DIGEST, signature)
    except RemoteProtocolError:
        return
    assert found != KEY.peer_id[-33:]


def test_a_peer_id_is_that_of_a_key_on_the_curve() -> None:
    known = PrivateKey(bytes(31) + b"\x01").public_key.format(compressed=True)
    # The address of the key 1 is in every Ethereum client's tests.
    assert address_of_key(known).hex() == "7e5f4552091a69125d5dfcb7b8c2659029395bdf"
    prefix = KEY.peer_id[:-33]
    off_curve = PeerId(prefix + b"\x02" + b"\xff" * 32)
    ed25519 = PeerId(bytes.fromhex("002408011220") + bytes(32))
    sha256_form = PeerId(b"\x12\x20" + bytes(32))
    for wrong in (off_curve, ed25519, sha256_form, PeerId(b""), KEY.peer_id[:-1], PeerId(KEY.peer_id + b"\x00")):
        with pytest.raises(RemoteProtocolError) as caught:
            address_of_peer(PeerId(wrong))
        assert caught.value.code == "bad_peer_id"
    assert len(KEY.peer_id) == PEER_ID_BYTES
    for length in (32, 34, 65):
        with pytest.raises(ValueError, match="33 bytes"):
            peer_id_of_key(bytes(length))


def test_the_simulated_key_is_as_unforgeable_in_its_world() -> None:
    ring = KeyRing(1)
    one, other = ring.signer(), ring.signer()
    signature = one.sign(DIGEST)
    assert one.recover(DIGEST, signature) == one.peer_id == other.recover(DIGEST, signature)
    forged = other.sign(DIGEST)[:4] + signature[4:]
    for wrong in (forged, signature[:-1], bytes(65), Signature(b"\xff" * 65)):
        with pytest.raises(RemoteProtocolError):
            one.recover(DIGEST, Signature(wrong))
    with pytest.raises(RemoteProtocolError):
        one.recover(keccak256(b"else"), signature)
    assert address_of_peer(one.peer_id) == one.address
    assert one.derive("a", b"x") != other.derive("a", b"x") != one.derive("b", b"x")


# --- envelopes -------------------------------------------------------------------------------------------------------


def envelope(tag: str = "quote/1", network: str = "devnet") -> Envelope:
    return parse_envelope(seal(KEY, network, tag, encode(SAMPLES.messages()[tag])), max_bytes=MAX_MESSAGE_BYTES)


def opened(one: Envelope, network: str = "devnet") -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        open_(OTHER, network, one)
    assert code_of(caught) == ("bad_signature", 50)


def test_an_envelope_counts_on_one_network_for_one_type_and_one_payload() -> None:
    one = envelope()
    assert open_(OTHER, "devnet", one) == KEY.peer_id
    opened(one, "arbitrum-one")
    opened(envelope(network="arbitrum-one"))
    for tag in MESSAGE_TYPES:
        if tag != one.type:
            opened(Envelope(tag, one.payload, one.signer, one.signature))
    opened(Envelope(one.type, one.payload + b"\x00", one.signer, one.signature))
    opened(Envelope(one.type, one.payload, OTHER.peer_id, one.signature))


def test_an_envelope_is_no_signature_of_anything_on_chain() -> None:
    """The digest is domain-separated: no envelope's signature is one of a deal, and no deal's one of an envelope."""
    digest = envelope_digest("devnet", "x/1", b"")
    deal = eip712.digest(SAMPLES.domain, SAMPLES.deal())
    assert digest != deal
    opened(Envelope("x/1", b"", KEY.peer_id, KEY.sign(deal)))


def test_parts_of_an_envelope_do_not_run_into_each_other() -> None:
    assert envelope_digest("devnet", "a/1", b"x") != envelope_digest("devneta", "/1", b"x")
    assert envelope_digest("devnet", "a/1", b"x") != envelope_digest("devnet", "a/", b"1x")


@pytest.mark.parametrize(
    "wrong",
    [
        Envelope("x" * 41, b"", KEY.peer_id, Signature(bytes(65))),
        Envelope("x/1", b"", PeerId(KEY.peer_id[1:]), Signature(bytes(65))),
        Envelope("x/1", b"", KEY.peer_id, Signature(bytes(64))),
    ],
)
def test_parts_of_an_envelope_have_their_sizes(wrong: Envelope) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        parse_envelope(encode(wrong), max_bytes=MAX_MESSAGE_BYTES)
    assert caught.value.code == "malformed"


def test_an_unknown_type_or_version_costs_nothing() -> None:
    for tag in ("quote/2", "unheard-of/1", ""):
        with pytest.raises(UnknownType) as caught:
            decode_message(Envelope(tag, b"", KEY.peer_id, Signature(bytes(65))))
        assert caught.value.penalty == 0


def test_the_overhead_is_what_it_is_said_to_be() -> None:
    assert len(seal(KEY, "devnet", "x" * 40, b"")) <= ENVELOPE_OVERHEAD
    assert len(seal(KEY, "devnet", "x" * 40, bytes(1 << 16))) <= ENVELOPE_OVERHEAD + (1 << 16)


def test_every_message_travels_on_a_protocol_and_knows_its_tag() -> None:
    for tag, message in SAMPLES.messages().items():
        assert tag_of(message) == tag
        assert protocol_of(tag) in ("/mesh/rfq/1", "/mesh/deal/1", "/mesh/case/1")
        again = decode_strict(MESSAGE_TYPES[tag], encode(message), max_bytes=MAX_MESSAGE_BYTES)
        assert again == message
    with pytest.raises(LocalProtocolError):
        tag_of(envelope())
