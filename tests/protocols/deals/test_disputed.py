"""What does a party's deal do when a panel takes it, and what leads there?"""

from typing import Any

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from devnet.sim.samples import NOW, Samples
from protocols.deals import client, eip712, provider
from protocols.deals import states as st
from protocols.deals.disputed import UNAVAILABLE
from protocols.deals.inputs import ChainMoved, ChainRetracted, Ctx, FetchFailed, Rerun, ResultArrived, TimePassed
from protocols.deals.terms import OutcomeCode
from protocols.effects import Effect, OpenDispute, PostTx, ProveFraud
from protocols.reputation import evidence_of
from protocols.units import Address, Cid, Hash32, Tokens, UnixSeconds
from protocols.verify.audits import Reexecution, RunElsewhere, Second, Subject

SAMPLES = Samples()
TX = Hash32(b"\x55" * 32)
OTHER = Cid(SAMPLES.root[:-1] + bytes([SAMPLES.root[-1] ^ 1]))
THIRD = Address(b"\x33" * 20)


def at(seconds: int) -> Ctx:
    return Ctx(SAMPLES.env(SAMPLES.client), UnixSeconds(NOW + seconds))


def under_panel(state: Any) -> Any:
    price = SAMPLES.deal().price
    panel = {"enforcement": eip712.Enforcement.PANEL, "seat_fee": Tokens(2 * price), "collateral": Tokens(8 * price)}
    deal = replace(SAMPLES.deal(), **panel)
    return replace(state, terms=replace(state.terms, deal=deal))


STATES: dict[str, Any] = {name: under_panel(state) for name, state in SAMPLES.states().items() if name != "Disputed"}
CLAIM = under_panel(SAMPLES.claim())


def moved(to: str, **amounts: Any) -> ChainMoved:
    fields = {"paid": Tokens(0), "result_hash": CLAIM.result_hash, **amounts}
    return ChainMoved(to, TX, 30, UnixSeconds(NOW + 50), **fields)


def opened(effects: tuple[Effect, ...]) -> list[OpenDispute]:
    return [effect for effect in effects if isinstance(effect, OpenDispute)]


def checking(**changes: Any) -> Any:
    """A check whose first re-execution differs, and that waits for the second."""
    deal = STATES["Checking"].terms.deal
    subject = Subject.of(
        STATES["Checking"].terms.deal_id, deal, executor="wasm", owners=(deal.client, deal.provider), latest=4,
        budget=Tokens(10),
    )  # fmt: skip
    first = st.Ran(deal.client, 0, 0, 0, OTHER)
    waits = RunElsewhere(Hash32(bytes(32)), (deal.client, deal.provider), Tokens(10))
    audit = st.Audit(Second(subject, Tokens(10), Reexecution(deal.client, False), 2), waits, first)
    return replace(STATES["Checking"], audit=audit, **changes)


def test_a_claim_does_not_end_the_check() -> None:
    """A provider that claimed at once was never checked."""
    for name in ("Resulted", "Delivered", "Checking"):
        state, _ = client.advance(STATES[name], moved("claimed"), at(25))
        assert type(state) is type(STATES[name])
        assert state.claim == replace(CLAIM, tx=TX, at=NOW + 50)


@pytest.mark.parametrize("claim", [UNSET, CLAIM])
def test_two_reexecutions_against_a_result_open_a_dispute(claim: Any) -> None:
    deal = STATES["Checking"].terms.deal
    again = st.Ran(THIRD, 0, 0, 0, OTHER)
    state, effects = client.advance(checking(claim=claim), Rerun(again, THIRD, "", Tokens(1)), at(25))
    (dispute,) = opened(effects)
    assert not dispute.withheld
    assert dispute.result == SAMPLES.result_commit()
    assert dispute.bond == 3 * deal.seat_fee + deal.price // 2
    assert isinstance(state, st.Rejected if claim is UNSET else st.Claimed)
    assert state.confirmed if isinstance(state, st.Rejected) else state.rejected


def test_under_self_nobody_is_called() -> None:
    state = checking()
    terms = replace(state.terms, deal=replace(state.terms.deal, enforcement=eip712.Enforcement.SELF))
    again = st.Ran(THIRD, 0, 0, 0, OTHER)
    _, effects = client.advance(replace(state, terms=terms), Rerun(again, THIRD, "", Tokens(1)), at(25))
    assert opened(effects) == []


@pytest.mark.parametrize("claim", [UNSET, CLAIM])
def test_bytes_that_never_come_are_disputed_at_once(claim: Any) -> None:
    resulted = replace(STATES["Resulted"], claim=claim)
    state, effects = client.advance(resulted, FetchFailed("timeout", "nobody serves it"), at(25))
    (dispute,) = opened(effects)
    assert dispute.withheld
    assert state.code == UNAVAILABLE if isinstance(state, st.Rejected) else state.withheld


def test_a_claim_of_something_never_told_is_disputed_in_time() -> None:
    """The claim needs a hash alone; a client without the result could not dispute what it has never seen."""
    claim = replace(CLAIM, result=None)
    deal = claim.terms.deal
    due = client.deadline(claim, at(0))
    assert due == claim.at + deal.window_seconds // 2
    state, effects = client.advance(claim, TimePassed(), Ctx(at(0).env, UnixSeconds(due)))
    (dispute,) = opened(effects)
    assert (dispute.result, dispute.result_hash, dispute.withheld) == (None, claim.result_hash, True)
    assert client.deadline(state, at(0)) == claim.at + deal.window_seconds + at(0).env.params.deadline_margin + 1
    late, effects = client.advance(claim, TimePassed(), Ctx(at(0).env, UnixSeconds(claim.at + deal.window_seconds + 9)))
    assert late == claim
    assert [effect.purpose for effect in effects if isinstance(effect, PostTx)] == ["finalize"]


def test_what_comes_late_is_checked_like_any_other() -> None:
    state, _ = client.advance(replace(CLAIM, result=None), ResultArrived(SAMPLES.notice()), at(45))
    assert isinstance(state, st.Resulted)
    assert client.deadline(state, at(0)) == CLAIM.at + CLAIM.terms.deal.window_seconds // 2


def test_a_check_of_what_is_claimed_leaves_time_for_the_dispute() -> None:
    """Two margins of a devnet are gone while two transactions wait behind each other."""
    window = CLAIM.terms.deal.window_seconds
    due = client.deadline(replace(STATES["Checking"], claim=CLAIM), at(0))
    assert due is not None
    assert CLAIM.at + window - due >= max(window // 4, 2 * at(0).env.params.deadline_margin)


@pytest.mark.parametrize("half", [client, provider])
@pytest.mark.parametrize(
    ("to", "kind", "kept"),
    [("acquitted", st.Settled, True), ("convicted", st.Slashed, False), ("void", st.Voided, None)],
)
def test_the_ends_of_a_dispute(half: Any, to: str, kind: type, kept: bool | None) -> None:
    disputed, _ = half.advance(STATES["Rejected"], moved("disputed"), at(30))
    assert isinstance(disputed, st.Disputed)
    assert disputed.result == STATES["Rejected"].result
    end = moved(to, paid=Tokens(3), refund=Tokens(5), returned=Tokens(7))
    final, _ = half.advance(disputed, end, at(60))
    assert isinstance(final, kind)
    assert final.commitment == SAMPLES.commitment
    if isinstance(final, st.Settled):
        assert (final.paid, final.checked, final.how) == (3, "disputed", "acquitted")
    else:
        assert (final.refund, final.returned) == (5, 7)
        evidence = evidence_of(final)
        assert (evidence.kept if evidence else None) is kept
    back, _ = half.advance(final, ChainRetracted(to, TX), at(61))
    assert back == disputed


@pytest.mark.parametrize(
    ("outcome", "short", "slow"),
    [
        (OutcomeCode.OOM, 1, False),
        (OutcomeCode.TIMEOUT, 1, True),
        (OutcomeCode.OOM, 0, None),
        (OutcomeCode.EXITED, 1, None),
    ],
)
def test_who_met_a_limit_that_a_panel_did_not_meet_is_remembered(
    outcome: OutcomeCode, short: int, slow: bool | None
) -> None:
    """Nobody is to blame: the provider pays half of the seats. It counted as nothing, so the liar got the next deal."""
    notice = SAMPLES.notice()
    limited = replace(notice, commit=replace(notice.commit, outcome=outcome))
    disputed, _ = client.advance(replace(STATES["Rejected"], result=limited), moved("disputed"), at(30))
    left = Tokens(disputed.terms.deal.collateral - short)
    final, _ = client.advance(disputed, moved("void", refund=Tokens(5), returned=left), at(60))
    assert isinstance(final, st.Voided)
    evidence = evidence_of(final)
    assert (evidence.slow if evidence else None) is slow
    assert evidence is None or not evidence.kept


def test_two_signed_results_bring_the_price_and_the_bounty() -> None:
    final, _ = client.advance(CLAIM, moved("slashed", refund=Tokens(5)), at(60))
    assert isinstance(final, st.Slashed)
    assert final.refund == CLAIM.terms.deal.price + 5
    assert client.advance(final, ChainRetracted("slashed", TX), at(61))[0] == CLAIM


@pytest.mark.parametrize(
    ("was", "reopens"),
    [
        (replace(STATES["Rejected"], confirmed=True), True),
        (replace(STATES["Rejected"], code=UNAVAILABLE), True),
        (replace(CLAIM, rejected="another result"), True),
        (STATES["Rejected"], False),
        (CLAIM, False),
    ],
)
def test_a_dispute_that_a_reorganisation_took_is_opened_again(was: Any, reopens: bool) -> None:
    """With another key: the first one has been answered."""
    disputed, _ = client.advance(was, moved("disputed"), at(30))
    back, effects = client.advance(disputed, ChainRetracted("disputed", TX), at(31))
    assert back == was
    assert len(opened(effects)) == reopens
    assert all(TX.hex()[:16] in one.key for one in opened(effects))
    again = replace(STATES["Rejected"], code=UNAVAILABLE)
    disputed, _ = client.advance(again, moved("disputed"), at(30))
    assert opened(client.advance(disputed, ChainRetracted("disputed", TX), at(31))[1])[0].withheld


def test_a_claim_that_the_dispute_overtook_is_posted_again() -> None:
    ours = Ctx(SAMPLES.env(SAMPLES.provider), UnixSeconds(NOW + 25))
    disputed, _ = provider.advance(STATES["Rejected"], moved("disputed"), ours)
    _, effects = provider.advance(disputed, ChainRetracted("disputed", TX), ours)
    assert [effect.purpose for effect in effects if isinstance(effect, PostTx)] == ["claim"]


def test_a_dispute_that_nobody_ends_returns_everything_after_a_year() -> None:
    for half in (client, provider):
        disputed, _ = half.advance(CLAIM, moved("disputed"), at(30))
        assert half.deadline(disputed, at(0)) == NOW + 50 + 365 * 86_400 + 1
        _, effects = half.advance(disputed, TimePassed(), at(0))
        assert [effect.purpose for effect in effects if isinstance(effect, PostTx)] == ["void"]


def frauds(effects: tuple[Effect, ...]) -> list[ProveFraud]:
    return [effect for effect in effects if isinstance(effect, ProveFraud)]


@pytest.mark.parametrize("name", ["Resulted", "Delivered", "Checking", "Accepted", "Rejected", "Claimed", "Disputed"])
def test_another_signed_result_proves_itself(name: str) -> None:
    """It was taken for a straggler, and the collateral stayed where it was."""
    state: Any = CLAIM if name == "Claimed" else SAMPLES.states()[name]
    notice = SAMPLES.notice()
    assert frauds(client.advance(state, ResultArrived(notice), at(40))[1]) == []
    other = replace(notice, commit=replace(notice.commit, fuel=notice.commit.fuel - 1))
    same, effects = client.advance(state, ResultArrived(other), at(40))
    assert same == state
    (proof,) = frauds(effects)
    assert (proof.first, proof.second, proof.claimed) == (notice.commit, other.commit, Hash32(bytes(32)))


def test_a_claim_of_another_hash_proves_itself() -> None:
    for name in ("Resulted", "Checking", "Accepted", "Rejected"):
        assert frauds(client.advance(STATES[name], moved("claimed"), at(25))[1]) == []
        _, effects = client.advance(STATES[name], moved("claimed", result_hash=TX), at(25))
        (proof,) = frauds(effects)
        assert (proof.first, proof.second, proof.claimed) == (SAMPLES.result_commit(), None, TX)


def test_what_comes_after_a_claim_of_something_else_proves_itself() -> None:
    claim = replace(CLAIM, result=None, result_hash=TX)
    state, effects = client.advance(claim, ResultArrived(SAMPLES.notice()), at(45))
    assert state == claim
    assert [one.claimed for one in frauds(effects)] == [TX]
