"""When the chain takes something back, is it posted again, and does the deal end even if it never returns?"""

from typing import Any

import pytest
from msgspec.structs import replace

from devnet.sim.samples import NOW, Samples
from protocols.deals import client, eip712, provider
from protocols.deals import states as st
from protocols.deals.inputs import ChainMoved, ChainRetracted, Ctx, ResultArrived, SignedOff, TimePassed, TxRefused
from protocols.effects import FetchBlobs, PostTx
from protocols.units import ZERO_HASH, Hash32, Tokens, UnixSeconds

SAMPLES = Samples()
STATES = SAMPLES.states()
ON = SAMPLES.commitment
MINE = Ctx(SAMPLES.env(SAMPLES.provider), UnixSeconds(NOW + 25))
THEIRS = Ctx(SAMPLES.env(SAMPLES.client), UnixSeconds(NOW + 25))
OTHER_TX = Hash32(b"\x77" * 32)
AGAIN = ChainMoved("committed", OTHER_TX, 19, UnixSeconds(NOW + 12), Tokens(0))
RESULT_HASH = eip712.digest(SAMPLES.domain, SAMPLES.result_commit())
ON_COMMITMENT = ("Committed", "Running", "Resulted", "Delivered", "Accepted", "Rejected")


def posted(effects: tuple[Any, ...]) -> list[PostTx]:
    return [effect for effect in effects if isinstance(effect, PostTx)]


def retracted(state: Any, was: str) -> ChainRetracted:
    return ChainRetracted(was, state.commitment.tx if was == "committed" else state.tx)


@pytest.mark.parametrize("name", ON_COMMITMENT)
def test_a_provider_posts_a_lost_commitment_again_and_goes_on(name: str) -> None:
    state: Any = STATES[name]
    lost, effects = provider.advance(state, retracted(state, "committed"), MINE)
    assert lost == replace(state, commitment=replace(ON, lost=True))
    (post,) = posted(effects)
    assert (post.purpose, post.signature) == ("commit", state.terms.client_signature)
    assert post.key != f"tx:{state.terms.deal_id.hex()}:commit", "the first one may still be on its way under that key"
    assert provider.deadline(lost, MINE) == state.terms.deal.commit_by + 1
    back, _ = provider.advance(lost, AGAIN, MINE)
    assert back == replace(state, commitment=st.Commitment(OTHER_TX, 19, AGAIN.at))
    same, effects = provider.advance(back, AGAIN, MINE)
    assert same is back
    assert effects == ()


@pytest.mark.parametrize("name", ON_COMMITMENT)
def test_a_commitment_that_never_returns_ends_the_deal(name: str) -> None:
    for half, ctx in ((provider, MINE), (client, THEIRS)):
        if (half is client) == (name == "Running"):
            continue
        state: Any = replace(STATES[name], commitment=replace(ON, lost=True))
        assert half.deadline(state, ctx) == state.terms.deal.commit_by + 1
        left, _ = half.advance(state, TimePassed(), ctx)
        assert isinstance(left, st.Abandoned)
        back, _ = half.advance(left, AGAIN, ctx)
        assert isinstance(back, st.Committed), "but if it does return, it counts"


def test_what_was_posted_on_top_of_a_lost_commitment_is_posted_again() -> None:
    """It was refused, because the commitment was not there yet; nobody would have tried again."""
    wanted = {"Accepted": "settle", "Rejected": "claim"}
    for name, purpose in wanted.items():
        lost = replace(STATES[name], commitment=replace(ON, lost=True))  # type: ignore[call-arg]
        _, effects = provider.advance(lost, AGAIN, MINE)
        assert [post.purpose for post in posted(effects)] == [purpose]
    for name in ("Resulted", "Delivered"):
        claiming: Any = replace(STATES[name], claiming=True, commitment=replace(ON, lost=True))  # type: ignore[call-arg]
        _, effects = provider.advance(claiming, AGAIN, MINE)
        assert [(post.purpose, post.result_hash) for post in posted(effects)] == [("claim", RESULT_HASH)]


def test_a_log_of_a_transaction_long_replaced_changes_nothing() -> None:
    for name in (*ON_COMMITMENT, "Claimed", "Settled", "Expired"):
        for was in ("committed", "claimed", "settled", "expired"):
            for half, ctx in ((provider, MINE), (client, THEIRS)):
                state = STATES[name]
                assert half.advance(state, ChainRetracted(was, OTHER_TX), ctx) == (state, ())


def test_a_claim_taken_back_is_made_again() -> None:
    claim = SAMPLES.claim()
    state, effects = provider.advance(claim, retracted(claim, "claimed"), MINE)
    assert isinstance(state, st.Resulted)
    assert state.claiming
    assert [(post.purpose, post.result_hash) for post in posted(effects)] == [("claim", RESULT_HASH)]


def test_the_client_goes_back_to_where_the_claim_found_it() -> None:
    claim = SAMPLES.claim()
    back = {
        st.Resulted: claim,
        st.Rejected: replace(claim, rejected="another result"),
        st.Accepted: replace(claim, sign_off=SAMPLES.sign_off(), checked="audited"),
        st.Committed: replace(claim, result=None),
    }
    for kind, before in back.items():
        state, effects = client.advance(before, retracted(before, "claimed"), THEIRS)
        assert type(state) is kind
        fetched = [effect for effect in effects if isinstance(effect, FetchBlobs)]
        assert len(fetched) == (kind is st.Resulted)


def test_a_settlement_taken_back_is_posted_again_with_what_was_claimed() -> None:
    plain: Any = STATES["Settled"]
    state, effects = provider.advance(plain, retracted(plain, "settled"), MINE)
    assert isinstance(state, st.Accepted)
    assert [(post.purpose, post.result_hash) for post in posted(effects)] == [("settle", ZERO_HASH)]
    claimed = replace(plain, claim=replace(SAMPLES.claim(), sign_off=SAMPLES.sign_off()))
    state, effects = provider.advance(claimed, retracted(claimed, "settled"), MINE)
    assert isinstance(state, st.Claimed)
    assert [(post.purpose, post.result_hash) for post in posted(effects)] == [("settle", RESULT_HASH)]


def test_a_sign_off_after_the_claim_settles_with_the_claimed_hash() -> None:
    """Without it the escrow does not know the deal, and the provider waits for the whole window."""
    state, effects = provider.advance(SAMPLES.claim(), SignedOff(SAMPLES.sign_off()), MINE)
    assert isinstance(state, st.Claimed)
    assert [(post.purpose, post.result_hash) for post in posted(effects)] == [("settle", RESULT_HASH)]
    assert provider.deadline(state, MINE) == state.at + state.terms.deal.window_seconds + 1


def test_a_cancellation_that_cannot_be_had_lets_the_job_run() -> None:
    """The provider waited for it, did nothing, and lost its collateral when the deal expired."""
    leaving: Any = replace(STATES["Committed"], leaving=True)  # type: ignore[call-arg]
    state, _ = provider.advance(leaving, TxRefused("cancel", "WrongState"), MINE)
    assert state == STATES["Committed"]
    assert provider.advance(leaving, TxRefused("commit", "x"), MINE) == (leaving, ())


@pytest.mark.parametrize("name", ["Committed", "Running", "Rejected"])
def test_a_provider_ends_what_nobody_else_will(name: str) -> None:
    """A client that is gone expires nothing: the collateral was locked for ever."""
    state: Any = STATES[name]
    due = provider.deadline(state, MINE)
    assert due == ON.at + state.terms.deal.exec_seconds + state.terms.deal.claim_seconds + 1
    same, effects = provider.advance(state, TimePassed(), MINE)
    assert same is state
    assert [post.purpose for post in posted(effects)] == ["expire"]


def test_a_client_ends_a_claim_whose_provider_is_gone() -> None:
    claim = replace(SAMPLES.claim(), result=None)
    assert client.deadline(claim, THEIRS) is not None
    _, effects = client.advance(claim, TimePassed(), THEIRS)
    assert [(post.purpose, post.result_hash) for post in posted(effects)] == [("finalize", RESULT_HASH)]
    assert client.advance(replace(claim, result_hash=ZERO_HASH), TimePassed(), THEIRS)[1] == ()


def test_a_client_expires_what_it_accepted_and_nobody_settled() -> None:
    accepted: Any = STATES["Accepted"]
    deal = accepted.terms.deal
    claim_by = ON.at + deal.exec_seconds + deal.claim_seconds
    assert client.deadline(accepted, THEIRS) == claim_by + deal.window_seconds + 1
    _, effects = client.advance(accepted, TimePassed(), THEIRS)
    assert [post.purpose for post in posted(effects)] == ["expire"]


def test_a_client_that_was_away_takes_the_result_that_was_claimed() -> None:
    """It was paid for and thrown away, and the run tried again."""
    claim = replace(SAMPLES.claim(), result=None)
    state, effects = client.advance(claim, ResultArrived(SAMPLES.notice()), THEIRS)
    assert isinstance(state, st.Resulted)
    assert state.result == SAMPLES.notice()
    assert isinstance(state.claim, st.Claimed)
    assert state.claim.tx == claim.tx
    assert any(isinstance(effect, FetchBlobs) for effect in effects)
    other = replace(claim, result_hash=Hash32(b"\x01" * 32))
    state, effects = client.advance(other, ResultArrived(SAMPLES.notice()), THEIRS)
    assert state == other
    assert not any(isinstance(effect, FetchBlobs) for effect in effects)
