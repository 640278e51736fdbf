"""Is the contract the deal machine's projection on chain? Every call in every state, beside the table of `protocols/deals`.

The table (`protocols.deals.table`) is what both halves of the machine run by: ``tests/protocols/deals/test_table.py`` finds
exactly its edges in them. Here every call is made in every state of the escrow, with the arguments and at the time at which it
may succeed, and what the escrow then does must be what the table says, no more and no less.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import pytest

from protocols.contracts import calls
from protocols.deals.eip712 import OnChainState as On
from protocols.deals.table import CLIENT, EDGES, PROVIDER, STATES
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Hash32

if TYPE_CHECKING:
    from tests.contracts.conftest import World

LONG: Final = 2 * 365 * 86_400
"""After so many seconds everything that time ends has come to its time."""
RESULT: Final = Hash32(keccak256(b"result"))
ROWS: Final = {row.name: row for row in STATES}
MOVES: Final = [edge for edge in EDGES if edge.on.startswith("chain: ")]
WORDS: Final = {edge.on.removeprefix("chain: ") for edge in MOVES}
OUTSIDE: Final = {
    (PROVIDER, "Signed", "burned"): "its commit is refused, which abandons the deal",
    (PROVIDER, "Ready", "burned"): "its commit is refused, which abandons the deal",
    (PROVIDER, "Committed", "claimed"): "only it claims, and only what it has signed",
    (PROVIDER, "Running", "claimed"): "only it claims, and only what it has signed",
}
"""Moves of the escrow that a half does not take as such."""


class Scene:
    """A deal in a state of the escrow, and every call about it."""

    def __init__(self, world: "World", state: On) -> None:
        self.world, self.deal, self.result = world, world.deal(), ZERO_HASH
        self.lock = world.lock_of(self.deal)
        if state is On.BURNED:
            self.burn()
        elif state is not On.NONE:
            self.commit()
            self._reach(state)
        assert world.state(self.lock) is state

    def _reach(self, state: On) -> None:
        if state in (On.CLAIMED, On.DISPUTED, On.VOID):
            self.claim()
        if state in (On.DISPUTED, On.VOID):
            self.dispute()
        ends = {
            On.SETTLED: self.settle,
            On.CANCELLED: self.cancel,
            On.EXPIRED: self.expire,
            On.SLASHED: self.slash,
            On.VOID: self.void,
        }
        ends.get(state, lambda: None)()

    def commit(self) -> None:
        self.world.commit(self.deal)

    def burn(self) -> None:
        self.world.send(self.world.client, calls.burn_run(self.deal.run_nonce, self.deal.index))

    def claim(self) -> None:
        self.world.send(self.world.provider, calls.claim(self.lock, RESULT))
        self.result = RESULT

    def settle(self) -> None:
        self.world.settle(self.lock, 700, result_hash=self.result)

    def cancel(self) -> None:
        self.world.cancel(self.lock, 7, sender=self.world.client, other=self.world.provider)

    def finalize(self) -> None:
        self.world.warp(LONG)
        self.world.send(self.world.stranger, calls.finalize(self.lock, self.result))

    def expire(self) -> None:
        self.world.warp(LONG)
        self.world.send(self.world.stranger, calls.expire(self.lock))

    def void(self) -> None:
        self.world.warp(LONG)
        self.world.send(self.world.stranger, calls.poke(self.lock, self.result))

    def dispute(self) -> None:
        self.result = self.result if self.result != ZERO_HASH else RESULT
        self.world.dispute(self.lock, self.result)

    def slash(self) -> None:
        one, other = self.world.result(self.lock, b"one"), self.world.result(self.lock, b"other")
        call = calls.prove_equivocation(self.lock, one[:2], other[:2], result_hash=self.result)
        self.world.send(self.world.stranger, call)

    def judge(self, end: On) -> None:
        price, collateral = self.lock.price, self.lock.collateral
        payouts = {
            On.SETTLED: (0, price, collateral, 0, 0),
            On.SLASHED: (price, 0, 0, 0, collateral),
            On.VOID: (price, 0, collateral, 0, 0),
        }
        self.world.close_dispute(self.lock, self.result, end, payouts[end])


CALLS: Final[dict[str, tuple[Callable[[Scene], None], ...]]] = {
    "committed": (Scene.commit,),
    "burned": (Scene.burn,),
    "claimed": (Scene.claim,),
    "settled": (Scene.settle,),
    "cancelled": (Scene.cancel,),
    "finalized": (Scene.finalize,),
    "expired": (Scene.expire,),
    "disputed": (Scene.dispute,),
    "slashed": (Scene.slash,),
    "acquitted": (lambda scene: scene.judge(On.SETTLED),),
    "convicted": (lambda scene: scene.judge(On.SLASHED),),
    "void": (lambda scene: scene.judge(On.VOID), Scene.void),
}
"""The calls behind each word of the table. A poke of a disputed deal voids it; elsewhere it is ``finalized`` or ``expired``."""


@pytest.fixture(scope="module")
def moves(make_world: "Callable[[], World]") -> dict[tuple[On, str], On]:
    """What each call does in each state; those that the escrow refuses are not in it."""
    found = {}
    for state in On:
        for word, attempts in CALLS.items():
            for attempt in attempts:
                world = make_world()
                world.fund(free=2_000, stake=200_000)
                fresh = Scene(world, state)
                try:
                    attempt(fresh)
                except world.reverted:
                    continue
                after = fresh.world.state(fresh.lock)
                if not (word == "void" and after is not On.VOID):
                    found[state, word] = after
    return found


def test_the_escrow_knows_the_words_of_the_table_and_no_others(moves: dict[tuple[On, str], On]) -> None:
    assert set(CALLS) == WORDS
    assert {word for _, word in moves} == WORDS


def test_a_call_of_the_escrow_is_a_move_of_every_half_that_could_see_it(moves: dict[tuple[On, str], On]) -> None:
    taken = {(edge.role, edge.before, edge.on.removeprefix("chain: "), edge.after) for edge in MOVES}
    missing = []
    for (before, word), after in moves.items():
        for role in (CLIENT, PROVIDER):
            for row in STATES:
                if row.roles not in ("both", role) or before not in row.on_chain or (role, row.name, word) in OUTSIDE:
                    continue
                stays = after in row.on_chain
                leads = [to for who, at, on, to in taken if (who, at, on) == (role, row.name, word)]
                if not stays and not any(after in ROWS[to].on_chain for to in leads):
                    missing.append((role, row.name, word, after.name, leads))
    assert missing == []


def test_a_move_of_the_table_is_a_call_that_the_escrow_grants(moves: dict[tuple[On, str], On]) -> None:
    """Also where a half has missed what came before: then the state in which the escrow is, is a later one."""
    for edge in MOVES:
        word = edge.on.removeprefix("chain: ")
        ends = {after for (_, on), after in moves.items() if on == word}
        assert ends <= set(ROWS[edge.after].on_chain), edge


def test_final_on_chain_is_final_in_the_table(moves: dict[tuple[On, str], On]) -> None:
    left = {before for before, _ in moves}
    final = {state for row in STATES if row.who == "final" and row.name != "Abandoned" for state in row.on_chain}
    assert final == set(On) - left - {On.BURNED}
