"""What do a provider's deals say about it? Counted once, whatever order they came in, and in integers."""

from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from devnet.sim.samples import Samples
from protocols import events as ev
from protocols.deals import states
from protocols.env import Env
from protocols.handlers import deals
from protocols.reputation import Record, lower_bound
from protocols.state import CLIENT, PROVIDER, Half, NodeState
from protocols.units import PPM, Hash32, Millis, UnixSeconds

SAMPLES = Samples()
PEER = SAMPLES.provider.peer_id


def record_after(*path: states.DealState, role: str = CLIENT) -> Record:
    """What a node says when a deal has gone through these states."""
    state, env = NodeState("devnet"), SAMPLES.env(SAMPLES.client)
    for one in path:
        deals.place(state, role, (one, ()), env)
    again = restarted(state, env)
    assert again == state.records.get(PEER, Record()), "a restart counts the same"
    return again


def restarted(state: NodeState, env: Env) -> Record:
    fresh = NodeState("devnet")
    for deal_id, half in state.durable.deals.items():
        fresh.durable.put_deal(deal_id, Half(half.role, half.state))
    started = ev.NodeStarted(at=Millis(0), wall=UnixSeconds(0), incarnation=Hash32(bytes(32)))
    deals.started(fresh, started, env)
    return fresh.records.get(PEER, Record())


def settled(**changes: object) -> states.DealState:
    return replace(SAMPLES.states()["Settled"], **changes)  # type: ignore[arg-type]


def test_a_kept_deal_counts_once() -> None:
    found = SAMPLES.states()
    assert record_after(found["Committed"], found["Accepted"], settled()) == Record(1, 0, 1)
    assert record_after(settled(checked="bytes")) == Record(1, 0, 0)
    assert record_after(settled(how="cancelled")) == Record()


def test_a_liar_that_is_paid_in_the_end_is_still_a_liar() -> None:
    """Its deal counted as broken when it was rejected, and as kept when its claim was finalized."""
    found = SAMPLES.states()
    claim = replace(SAMPLES.claim(), rejected="another result")
    paid = settled(how="finalized", sign_off=None, claim=claim)
    assert record_after(found["Rejected"], claim, paid) == Record(0, 1, 0)


def test_an_expired_deal_is_broken_and_a_reorganised_one_is_not() -> None:
    found = SAMPLES.states()
    assert record_after(found["Committed"], found["Expired"]) == Record(0, 1, 0)
    assert record_after(found["Expired"], found["Committed"]) == Record()
    assert record_after(settled(), found["Accepted"], settled()) == Record(1, 0, 1)


def test_a_deal_paid_without_a_word_of_its_client_says_nothing() -> None:
    assert record_after(settled(how="finalized", sign_off=None, claim=SAMPLES.claim())) == Record()


def test_only_a_client_keeps_records() -> None:
    assert record_after(SAMPLES.states()["Expired"], role=PROVIDER) == Record()


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_the_bound_is_wilsons(kept: int, broken: int) -> None:
    n = kept + broken
    bound = lower_bound(Record(kept, broken))
    if n == 0:
        assert bound is None
        return
    assert bound is not None
    p, z = kept / n, 1.645
    exact = (p + z * z / (2 * n) - z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)
    assert abs(bound - exact * PPM) <= 5
    assert 0 <= bound <= PPM


@pytest.mark.parametrize("n", [1, 10, 100])
def test_more_of_the_same_is_more_trust(n: int) -> None:
    one, more = lower_bound(Record(n, 0)), lower_bound(Record(n + 1, 0))
    worse = lower_bound(Record(n, 1))
    assert one is not None
    assert more is not None
    assert worse is not None
    assert worse < one < more
