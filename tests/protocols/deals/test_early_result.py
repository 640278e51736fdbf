"""What if a provider's last word comes before the client has seen the commitment? It is kept: it is said only once."""

from typing import Any

import pytest

from mesh.base.keys import NodeKey
from protocols.canonical import decode_strict, encode
from protocols.deals import client, eip712
from protocols.deals.eip712 import Deal, Domain
from protocols.deals.inputs import CancelProposed, ChainMoved, Countersigned, Ctx, DealInput, ResultArrived
from protocols.deals.salting import salted_root
from protocols.deals.states import Committed, DealState, DealTerms, Proposed, Resulted, Signed
from protocols.effects import FetchBlobs, PostTx
from protocols.env import Env
from protocols.limits import DEVNET
from protocols.messages.deal import CancelConsent, ResultNotice
from protocols.state import Half
from protocols.units import ZERO_HASH, Cid, Hash32, JobId, RunId, Seconds, Signature, Tokens, UnixSeconds

CLIENT, PROVIDER = NodeKey(bytes(31) + b"\x01"), NodeKey(bytes(31) + b"\x02")
DOMAIN = Domain(31337, PROVIDER.address)
CTX = Ctx(Env(params=DEVNET, signer=CLIENT, domain=DOMAIN), UnixSeconds(1_000))
ROOT = Cid(bytes.fromhex("01701220") + b"\x05" * 32)
MOVED = ChainMoved("committed", Hash32(b"\x06" * 32), 7, UnixSeconds(1_001), Tokens(0))


def terms() -> DealTerms:
    deal = Deal(
        client=CLIENT.address,
        provider=PROVIDER.address,
        token=CLIENT.address,
        run_nonce=1,
        index=0,
        job_id=JobId(ZERO_HASH),
        image=ZERO_HASH,
        gpus=(),
        price=Tokens(1_000),
        metering=eip712.Metering.FIXED,
        collateral=Tokens(0),
        level=eip712.Level.EXACT,
        level_params=ZERO_HASH,
        numeric_class=ZERO_HASH,
        enforcement=eip712.Enforcement.SELF,
        audit_ppm=0,
        seat_fee=Tokens(0),
        seat_class=0,
        seat_snapshot=0,
        client_secret_hash=ZERO_HASH,
        provider_secret_hash=ZERO_HASH,
        commit_by=UnixSeconds(1_030),
        exec_seconds=Seconds(60),
        claim_seconds=Seconds(15),
        window_seconds=Seconds(126),
        settlement=eip712.SettlementMode.COMMIT,
    )
    return DealTerms(
        deal_id=eip712.deal_id(DOMAIN, deal),
        deal=deal,
        client=CLIENT.peer_id,
        provider=PROVIDER.peer_id,
        run_id=RunId(b"\x07" * 32),
        rfq_id=ZERO_HASH,
        inputs=(),
        client_signature=Signature(bytes(65)),
        provider_signature=None,
    )


def notice() -> ResultNotice:
    salt = Hash32(b"\x08" * 32)
    commit = eip712.ResultCommit(
        deal_id=terms().deal_id,
        salted_root=salted_root(salt, ROOT),
        outcome=eip712.OutcomeCode.EXITED,
        exit_code=0,
        fuel=1,
        wall_ms=1,
        log_head=ZERO_HASH,
    )
    signature = PROVIDER.sign(eip712.digest(DOMAIN, commit))
    return ResultNotice(commit=commit, signature=signature, root=ROOT, salt=salt, size=10)


def consent() -> CancelConsent:
    cancellation = eip712.Cancellation(deal_id=terms().deal_id, paid=Tokens(0))
    return CancelConsent(cancellation=cancellation, signature=PROVIDER.sign(eip712.digest(DOMAIN, cancellation)))


def through(state: DealState, *events: DealInput) -> tuple[DealState, tuple[Any, ...]]:
    """The last step's state and effects; every state on the way survives a restart."""
    effects: tuple[Any, ...] = ()
    for event in events:
        state, effects = client.advance(state, event, CTX)
        stored = encode(Half("client", state))
        assert decode_strict(Half, stored, max_bytes=1 << 20).state == state
    return state, effects


COUNTERSIGNED = Countersigned(Signature(b"\x09" * 65))


@pytest.mark.parametrize("before", [(COUNTERSIGNED, ResultArrived(notice())), (ResultArrived(notice()), COUNTERSIGNED)])
def test_an_early_result_is_fetched_once_the_commitment_is_seen(before: tuple[DealInput, ...]) -> None:
    state, effects = through(Proposed(terms()), *before)
    assert isinstance(state, Signed)
    assert not any(isinstance(effect, FetchBlobs) for effect in effects)
    state, effects = through(state, MOVED)
    assert isinstance(state, Resulted)
    assert state.result == notice()
    assert state.commitment.tx == MOVED.tx
    assert [effect.roots[0].root for effect in effects if isinstance(effect, FetchBlobs)] == [ROOT]


def test_a_result_before_the_countersignature_is_kept_too() -> None:
    state, _ = through(Proposed(terms()), ResultArrived(notice()), MOVED)
    assert isinstance(state, Resulted)


def test_an_early_refund_is_posted_once_the_commitment_is_seen() -> None:
    state, effects = through(Proposed(terms()), COUNTERSIGNED, CancelProposed(consent()), MOVED)
    assert isinstance(state, Committed)
    assert [effect.purpose for effect in effects if isinstance(effect, PostTx)] == ["cancel"]


def test_without_either_the_client_waits() -> None:
    state, effects = through(Proposed(terms()), COUNTERSIGNED, MOVED)
    assert isinstance(state, Committed)
    assert not any(isinstance(effect, FetchBlobs | PostTx) for effect in effects)
