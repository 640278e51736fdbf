"""What do the rules do with rounds: pass on, tell who waits, ask for what was missed, notice silence?"""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from devnet.sim.signer import KeyRing
from protocols import effects as fx
from protocols import events as ev
from protocols import node
from protocols.beacon.tracker import SILENT_ROUNDS
from protocols.canonical import encode
from protocols.deals.eip712 import Domain
from protocols.effects import Effect
from protocols.env import Env
from protocols.errors import LocalProtocolError
from protocols.handlers import beacon
from protocols.handlers.beacon import FETCHES, wait_for
from protocols.limits import DEVNET
from protocols.messages.beacon import BeaconRound
from protocols.state import NodeState
from protocols.units import Hash32, Millis, UnixSeconds

N = 1_000
CHAIN = DEVNET.beacon
SILENCE_MS = SILENT_ROUNDS * CHAIN.period_s * 1000
ENV = Env(params=DEVNET, signer=KeyRing(1).signer(), domain=Domain(DEVNET.chain_id, DEVNET.escrow))


def one(number: int) -> BeaconRound:
    return BeaconRound(number, number.to_bytes(48, "big"))


class Rules:
    """The rules of one node, and who was told what."""

    def __init__(self) -> None:
        self.state = NodeState("devnet")
        self.told: list[tuple[bytes, int]] = []
        began = ev.NodeStarted(at=Millis(0), wall=UnixSeconds(CHAIN.genesis), incarnation=Hash32(bytes(32)))
        node.handle(self.state, began, ENV)

    def _tell(self, state: NodeState, rest: bytes, one: BeaconRound, env: Env) -> list[Effect]:
        self.told.append((rest, one.number))
        return [fx.Notify(subject=rest, name="told", fields={})]

    def hear(self, number: int, *, gossiped: bool = False, at: int = 0) -> list[Effect]:
        wall = UnixSeconds(CHAIN.genesis + at // 1000)
        arrived = ev.RoundArrived(at=Millis(at), beacon_round=one(number), gossiped=gossiped, wall=wall)
        return beacon.round_arrived(self.state, arrived, ENV, {"test": self._tell})

    def wait(self, number: int, who: str) -> list[Effect]:
        return wait_for(self.state, number, f"test:{who}", ENV)

    def sweep(self, at: int) -> list[Effect]:
        return beacon.swept(self.state, ev.Ticked(at=Millis(at), wall=UnixSeconds(0)), ENV)


@pytest.fixture
def rules() -> Rules:
    return Rules()


def asked(effects: list[Effect]) -> list[int]:
    return [effect.number for effect in effects if isinstance(effect, fx.FetchRound)]


def named(effects: list[Effect]) -> list[str]:
    return [effect.name for effect in effects if isinstance(effect, fx.Notify)]


def test_news_from_a_relay_is_gossiped_once(rules: Rules) -> None:
    assert rules.hear(N) == [fx.Publish(topic="/mesh/devnet/beacon/1", data=encode(one(N)))]
    assert rules.hear(N) == []
    assert rules.hear(N - 1) == []


def test_what_gossip_brought_is_not_published_again(rules: Rules) -> None:
    assert rules.hear(N, gossiped=True) == []
    assert rules.state.beacon.newest == N


def test_whoever_waits_is_told(rules: Rules) -> None:
    rules.hear(N)
    assert rules.wait(N + 3, "aa") == []
    assert rules.wait(N + 3, "bb") == []
    rules.hear(N + 2)
    assert rules.told == []
    assert named(rules.hear(N + 3)) == ["told", "told"]
    assert rules.told == [(b"\xaa", N + 3), (b"\xbb", N + 3)]
    rules.hear(N + 3)
    assert len(rules.told) == 2


def test_a_round_that_has_passed_is_asked_for_at_once_and_again(rules: Rules) -> None:
    rules.hear(N)
    assert asked(rules.wait(N - 5, "aa")) == [N - 5]
    assert asked(rules.sweep(1)) == [N - 5]
    rules.hear(N - 5)
    assert rules.told == [(b"\xaa", N - 5)]
    assert asked(rules.sweep(2)) == []


def test_a_jump_over_an_awaited_round_asks_for_it(rules: Rules) -> None:
    rules.hear(N)
    rules.wait(N + 1, "aa")
    rules.wait(N + 2, "bb")
    rules.wait(N + 9, "cc")
    assert asked(rules.hear(N + 2)) == [N + 1]
    assert rules.told == [(b"\xbb", N + 2)]


def test_a_known_round_is_not_waited_for(rules: Rules) -> None:
    rules.hear(N)
    with pytest.raises(LocalProtocolError, match="is here"):
        rules.wait(N, "aa")


def test_many_missed_rounds_are_asked_for_in_turn(rules: Rules) -> None:
    for number in range(FETCHES + 10):
        rules.wait(N + number, "aa")
    assert asked(rules.hear(N + 1_000)) == list(range(N, N + FETCHES))
    for number in range(N, N + FETCHES):
        rules.hear(number)
    assert asked(rules.sweep(1)) == list(range(N + FETCHES, N + FETCHES + 10))


def test_silence_is_known_and_ends(rules: Rules) -> None:
    rules.hear(N, at=5_000)
    assert rules.sweep(5_000 + SILENCE_MS) == []
    assert named(rules.sweep(5_001 + SILENCE_MS)) == ["beacon.silent"]
    assert rules.state.beacon.silent_since == CHAIN.genesis + 5
    assert rules.sweep(5_002 + SILENCE_MS) == [], "said once"
    assert rules.hear(N - 1, at=90_000) == [], "an old round ends no silence"
    assert rules.state.beacon.silent_since is not None
    heard = rules.hear(N + 1, at=95_000)
    assert named(heard) == ["beacon.heard"]
    assert heard[0] == fx.Notify(
        subject=CHAIN.chain_hash, name="beacon.heard", fields={"round": str(N + 1), "silent_s": "90"}
    )
    assert rules.state.beacon.silent_since is None


def test_a_beacon_never_heard_is_silent_since_the_start(rules: Rules) -> None:
    assert named(rules.sweep(SILENCE_MS + 1)) == ["beacon.silent"]
    assert rules.state.beacon.silent_since == CHAIN.genesis


def test_the_nodes_own_sweep_notices_silence(rules: Rules) -> None:
    """Through the whole table, by the timer that a start sets."""
    effects: list[Effect] = []
    while (due := node.next_wakeup(rules.state)) is not None and due <= SILENCE_MS + 10_000:
        effects += node.handle(rules.state, ev.Ticked(at=Millis(due), wall=UnixSeconds(CHAIN.genesis)), ENV)
    assert named(effects) == ["beacon.silent"]


def test_a_round_is_handled_by_the_nodes_table(rules: Rules) -> None:
    wall = UnixSeconds(CHAIN.genesis + 7)
    arrived = ev.RoundArrived(at=Millis(7), beacon_round=one(N), gossiped=False, wall=wall)
    assert isinstance(node.handle(rules.state, arrived, ENV)[0], fx.Publish)
    assert (rules.state.beacon.newest, rules.state.wall) == (N, wall)


@given(st.lists(st.tuples(st.sampled_from(["hear", "wait", "sweep"]), st.integers(1, 40)), max_size=80))
def test_nobody_waits_in_vain_and_nobody_is_told_twice(steps: list[tuple[str, int]]) -> None:
    """Any order of rounds, waits and sweeps; whatever is asked for arrives in the end."""
    rules = Rules()
    waits: list[int] = []
    do: dict[str, Callable[[int], Any]] = {"hear": rules.hear, "sweep": rules.sweep}
    for what, number in steps:
        if what != "wait":
            do[what](number)
        elif rules.state.beacon.known(number) is None:
            rules.wait(number, f"{len(waits):04x}")
            waits.append(number)
    rules.hear(1_000)
    for number in asked(rules.sweep(0)):
        rules.hear(number)
    assert sorted(rules.told) == [(count.to_bytes(2, "big"), number) for count, number in enumerate(waits)]
    assert rules.state.beacon.waiters == 0
