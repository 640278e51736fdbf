"""Which messages are malformed, signed by the wrong key, or about deals of others? One attack each, with its price."""

import time
from collections.abc import Callable
from typing import Final

import msgspec

from devnet.scenarios.hostile.attack import Act, Attack, Stage
from devnet.scenarios.hostile.peer import GARBAGE, Hostile, hostile_key
from protocols.canonical import encode
from protocols.deals import eip712
from protocols.deals.salting import salted_root
from protocols.envelope import Envelope, envelope_digest, seal
from protocols.limits import MAX_MESSAGE_BYTES
from protocols.messages import deal as dm
from protocols.messages import negotiation as nm
from protocols.messages.registry import DEAL_PROTOCOL, RFQ_PROTOCOL, seal_message
from protocols.units import ZERO_HASH, Cid, DealId, Hash32, RunId, Seconds, Signature, Tokens, UnixSeconds

__all__ = ["ENVELOPES"]

Build = Callable[[Hostile, Stage], bytes]
CURVE_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
ID: Final = Hash32(b"\x07" * 32)
STRANGER: Final = DealId(b"\x09" * 32)
ROOT: Final = Cid(bytes.fromhex("01701220") + b"\x05" * 32)


def _sends(build: Build, protocol: str = DEAL_PROTOCOL) -> Act:
    async def act(hostile: Hostile, stage: Stage) -> str:
        return await hostile.call(protocol, build(hostile, stage))

    return act


def _bytes(data: bytes) -> Act:
    return _sends(lambda _hostile, _stage: data)


def _honest(hostile: Hostile) -> bytes:
    """A message that nobody could take offence at."""
    return hostile.env.seal(nm.HoldRelease(rfq_id=ID))[1]


def _envelope(hostile: Hostile) -> Envelope:
    return msgspec.msgpack.decode(_honest(hostile), type=Envelope)


def _with(**changes: object) -> Build:
    return lambda hostile, _stage: encode(msgspec.structs.replace(_envelope(hostile), **changes))


def _long_form(hostile: Hostile, _stage: Stage) -> bytes:
    """The type's text with a longer header than it needs: another form of the same value."""
    data = _honest(hostile)
    return data[:1] + bytes([0xD9, data[1] & 0x1F]) + data[2:]


def _as_map(hostile: Hostile, _stage: Stage) -> bytes:
    found = _envelope(hostile)
    return msgspec.msgpack.encode({name: getattr(found, name) for name in found.__struct_fields__})


def _relayed(hostile: Hostile, stage: Stage) -> bytes:
    return seal_message(hostile_key(0, "somebody else"), stage.params.name, nm.HoldRelease(rfq_id=ID))


def _forged(hostile: Hostile, stage: Stage) -> bytes:
    found = _envelope(hostile)
    digest = envelope_digest(stage.params.name, found.type, found.payload)
    return encode(msgspec.structs.replace(found, signature=hostile_key(0, "somebody else").sign(digest)))


def _malleable(hostile: Hostile, _stage: Stage) -> bytes:
    """The same signature with the other s, which only a broken verifier takes (EIP-2)."""
    found = _envelope(hostile)
    high = CURVE_ORDER - int.from_bytes(found.signature[32:64], "big")
    twisted = found.signature[:32] + high.to_bytes(32, "big") + bytes([55 - found.signature[64]])
    return encode(msgspec.structs.replace(found, signature=Signature(twisted)))


def _replayed(hostile: Hostile, _stage: Stage) -> bytes:
    return seal_message(hostile.key, "arbitrum-sepolia", nm.HoldRelease(rfq_id=ID))


def _sealed(kind: str, payload: bytes) -> Build:
    return lambda hostile, stage: seal(hostile.key, stage.params.name, kind, payload)


def _says(build: Callable[[Hostile, Stage], msgspec.Struct]) -> Act:
    async def act(hostile: Hostile, stage: Stage) -> str:
        return await hostile.say(build(hostile, stage))

    return act


def _answered(build: Callable[[Hostile, Stage], msgspec.Struct]) -> Act:
    """The same, and what the target then says of its own accord."""

    async def act(hostile: Hostile, stage: Stage) -> str:
        await hostile.say(build(hostile, stage))
        answer = await hostile.answer()
        if not isinstance(answer, nm.Refusal | nm.DealRefusal):
            return repr(answer)
        return f"{answer.code}: {answer.detail}"

    return act


def _rfq(hostile: Hostile, stage: Stage, job: bytes) -> nm.Rfq:
    return nm.Rfq(
        rfq_id=ID,
        run_id=RunId(ID),
        run_nonce=1,
        index=0,
        job=job,
        inputs=(),
        max_price=Tokens(10**18),
        token=stage.params.token,
        enforcement=0,
        deadline=UnixSeconds(0),
    )


def _proposal(hostile: Hostile, stage: Stage) -> nm.DealProposal:
    deal = eip712.Deal(
        client=hostile.key.address,
        provider=hostile.key.address,
        token=stage.params.token,
        run_nonce=1,
        index=0,
        job_id=ID,  # type: ignore[arg-type]  # any 32 bytes
        image=ID,
        gpus=(),
        price=Tokens(1),
        metering=eip712.Metering.FIXED,
        collateral=Tokens(0),
        level=eip712.Level.EXACT,
        level_params=ID,
        numeric_class=ZERO_HASH,
        enforcement=eip712.Enforcement.SELF,
        audit_ppm=0,
        seat_fee=Tokens(0),
        seat_class=0,
        seat_snapshot=0,
        client_secret_hash=ID,
        provider_secret_hash=ID,
        commit_by=UnixSeconds(int(time.time()) + 20),
        exec_seconds=Seconds(10),
        claim_seconds=stage.params.claim_seconds,
        window_seconds=stage.params.window_seconds(10),
        settlement=eip712.SettlementMode.COMMIT,
    )
    signature = hostile.key.sign(Hash32(eip712.deal_id(hostile.env.domain, deal)))
    return nm.DealProposal(rfq_id=ID, deal=deal, signature=signature)


def _commit(deal_id: DealId) -> eip712.ResultCommit:
    return eip712.ResultCommit(
        deal_id=deal_id,
        salted_root=salted_root(ID, ROOT),
        outcome=eip712.OutcomeCode.EXITED,
        exit_code=0,
        fuel=1,
        wall_ms=1,
        log_head=ID,
    )


def _notice(hostile: Hostile, deal_id: DealId) -> dm.ResultNotice:
    commit = _commit(deal_id)
    signature = hostile.key.sign(eip712.digest(hostile.env.domain, commit))
    return dm.ResultNotice(commit=commit, signature=signature, root=ROOT, salt=ID, size=1)


def _impossible_outcome(hostile: Hostile, stage: Stage) -> bytes:
    """A result whose outcome is number 200: no struct can hold it, so the payload is edited."""
    fields = msgspec.msgpack.decode(encode(_notice(hostile, stage.deal_id)))
    fields[0][2] = 200
    return seal(hostile.key, stage.params.name, "result/1", msgspec.msgpack.encode(fields))


def _delivered(hostile: Hostile, stage: Stage) -> dm.Delivered:
    receipt = eip712.DeliveryReceipt(deal_id=stage.deal_id, result_hash=ID)
    return dm.Delivered(receipt=receipt, signature=hostile.key.sign(eip712.digest(hostile.env.domain, receipt)))


def _sign_off(hostile: Hostile, stage: Stage) -> dm.SignOff:
    receipt = eip712.ResultReceipt(deal_id=stage.deal_id, result_hash=ID, beacon_round=0)
    settlement = eip712.Settlement(deal_id=stage.deal_id, paid=Tokens(0))
    sign = hostile.key.sign
    return dm.SignOff(
        receipt=receipt,
        receipt_signature=sign(eip712.digest(hostile.env.domain, receipt)),
        settlement=settlement,
        signature=sign(eip712.digest(hostile.env.domain, settlement)),
    )


def _cancel(hostile: Hostile, stage: Stage) -> dm.CancelConsent:
    cancellation = eip712.Cancellation(deal_id=stage.deal_id, paid=Tokens(0))
    signature = hostile.key.sign(eip712.digest(hostile.env.domain, cancellation))
    return dm.CancelConsent(cancellation=cancellation, signature=signature)


def _quote(_hostile: Hostile, stage: Stage) -> nm.Quote:
    return nm.Quote(
        rfq_id=ID,
        firm=True,
        hold_ms=10_000,
        price=Tokens(1),
        collateral=Tokens(0),
        provider_secret_hash=ID,
        exec_seconds=10,
        claim_seconds=stage.params.claim_seconds,
        window_seconds=stage.params.window_seconds(10),
        starts_in_s=0,
        gpus=(),
        numeric_class=ZERO_HASH,
        detail="",
    )


_RELEASE: Final = encode(nm.HoldRelease(rfq_id=ID))
_SIGNED: Final = Signature(b"\x01" * 64 + b"\x1b")

ENVELOPES: Final = (
    Attack("garbage", _bytes(GARBAGE), "malformed"),
    Attack("nothing", _bytes(b""), "malformed"),
    Attack("truncated envelope", _sends(lambda hostile, _: _honest(hostile)[:-10]), "malformed"),
    Attack("bytes after the end", _sends(lambda hostile, _: _honest(hostile) + b"\x00"), "malformed"),
    Attack("a longer form of the same value", _sends(_long_form), "not_canonical"),
    Attack("a map instead of an array", _sends(_as_map), "malformed"),
    Attack("60,000 arrays in each other", _bytes(b"\x91" * 60_000), "malformed"),
    Attack("an array that claims 4 billion items", _bytes(b"\xdd\xff\xff\xff\xff"), "malformed"),
    Attack("a type of 41 characters", _sends(_with(type="x" * 41)), "malformed"),
    Attack("a signature of 64 bytes", _sends(_with(signature=bytes(64))), "malformed"),
    Attack("signed by another node", _sends(_relayed), "relayed"),
    Attack("a stranger's signature", _sends(_forged), "bad_signature"),
    Attack("the malleable twin of a signature", _sends(_malleable), "bad_signature"),
    Attack("a signature of no point", _sends(_with(signature=b"\xff" * 32 + bytes(31) + b"\x01\x1b")), "bad_signature"),
    Attack("replayed from another network", _sends(_replayed), "bad_signature"),
    Attack("a release that says it is progress", _sends(_sealed("progress/1", _RELEASE)), "malformed"),
    Attack("a field too many", _sends(_sealed("release/1", b"\x92" + _RELEASE[1:] + b"\x00")), "malformed"),
    Attack("a type of the future", _sends(_sealed("rfq/9", _RELEASE), RFQ_PROTOCOL), costs=False),
    Attack("oversized", _bytes(bytes(MAX_MESSAGE_BYTES + 1))),
    Attack("an outcome that is none", _sends(_impossible_outcome), "malformed"),
    Attack("an RFQ whose job is noise", _says(lambda h, s: _rfq(h, s, b"\x90noise")), "malformed", only="provider"),
    Attack(
        "an RFQ to a node that sells nothing",
        _answered(lambda h, s: _rfq(h, s, b"\x90noise")),
        costs=False,
        says="not-a-provider",
        only="client",
    ),
    Attack("a proposal without a hold", _answered(_proposal), costs=False, says="hold-lapsed: no hold of yours"),
    Attack("a quote nobody asked for", _says(_quote), costs=False),
    Attack("a result for a deal of others", _says(lambda h, s: _notice(h, s.deal_id)), "not_a_party"),
    Attack("a result for no deal", _says(lambda h, _: _notice(h, STRANGER)), costs=False),
    Attack("a receipt for a deal of others", _says(_delivered), "not_a_party"),
    Attack("a sign-off for a deal of others", _says(_sign_off), "not_a_party"),
    Attack("a cancellation of a deal of others", _says(_cancel), "not_a_party"),
    Attack(
        "a rejection in a deal of others",
        _says(lambda _, s: dm.Rejection(deal_id=s.deal_id, code="no", detail="no")),
        "not_a_party",
    ),
    Attack(
        "a countersignature under a deal of others",
        _says(lambda _, s: nm.DealAcceptance(deal_id=s.deal_id, signature=_SIGNED)),
        "not_a_party",
    ),
    Attack(
        "a refusal of a deal of others",
        _says(lambda _, s: nm.DealRefusal(deal_id=s.deal_id, code="no", detail="no")),
        "not_a_party",
    ),
    Attack(
        "progress of a deal of others",
        _says(lambda _, s: dm.Progress(deal_id=s.deal_id, phase="running", done=1, total=1)),
        costs=False,
    ),
)
