"""Are the simulated escrow and its panel the real ones? Both get the same calldata, and must log the same bytes.

The world of the panel's contract tests makes the calls; each goes to the committed bytecode and to the simulator, and what
both have logged, or refused, is compared. Every call that succeeds is undone and done again, as a reorganisation would.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

from devnet.sim.escrow import Escrow, Reverted
from devnet.sim.panel import PanelResult, SimPanel
from devnet.sim.panel_logs import Log
from mesh.base.keys import NodeKey
from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, OnChainState, ResultCommit, deal_id, digest
from protocols.disputes import states as st
from protocols.effects import OpenDispute, PostTx
from protocols.hashing import keccak256
from protocols.units import ZERO_HASH, Address, DealId, Hash32, Signature, Tokens, UnixSeconds
from tests.contracts.conftest import Key, World
from tests.contracts.panel.court import PanelWorld
from tests.contracts.panel.test_panel_stateful import Machine

if TYPE_CHECKING:
    from collections.abc import Callable

WORD = 32
DEAL_WORDS, LOCK_WORDS, RESULT_WORDS = 26, 9, 8
FUNDS = 10**8
OPENINGS = 4 + WORD * (DEAL_WORDS + LOCK_WORDS + 3), 4 + WORD * (DEAL_WORDS + LOCK_WORDS + RESULT_WORDS + 2)
"""Bytes of `dispute` and of `disputeUnclaimed`."""


class Twin(PanelWorld):
    """The contract's world, with the simulator beside it."""

    def __init__(self, world: World, **options: Any) -> None:
        self.told: list[str] = []
        """Names of all logs that were compared."""
        super().__init__(world, **options)

    def _deploy(self) -> None:
        super()._deploy()
        names = ("client", "provider", "stranger", *(f"mediator {number}" for number in range(20)))
        keys = [NodeKey(keccak256(name.encode())) for name in names]
        self.peers = {key.peer_id: key.address for key in keys}
        self.escrow_twin = Escrow(self.domain, self.world.token, self.world.bounds, keys[2], panel=True)
        for key in keys:
            self.escrow_twin.fund(key.address, free=FUNDS, stake=0)
        self.escrow_twin.fund(self.provider.address, free=-(10**7), stake=10**7)
        self.twin = SimPanel(self.panel, self.bounds, self.escrow_twin)

    # --- the same on both sides -----------------------------------------------------------------------------------

    def fund(self, key: Key, amount: int) -> None:
        super().fund(key, amount)
        self._same(self.twin.fund(key.address, amount))

    def send(self, who: Key, data: bytes, *, to: Address | None = None) -> None:
        """To both; the real one's refusal goes on to whoever called, once the other has refused in the same words."""
        if to not in (None, self.panel):
            super().send(who, data, to=to)
            return
        self.world._logs = []
        try:
            super().send(who, data)
        except self.world.reverted as error:
            with pytest.raises(Reverted) as refused:
                self._twin_call(who, data)
            wanted = self._revert(partial(_again, error))
            assert self._revert_name(str(refused.value)) == wanted
            raise
        before = self._books()
        undo = self.twin.before(who.address, *self._about(data))
        self._twin_call(who, data)
        undo()
        assert self._books() == before, "undone, something is left"
        self._same(self._twin_call(who, data).logs)

    @staticmethod
    def _revert_name(name: str) -> str:
        return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).lstrip("_")

    def _books(self) -> Any:
        books, escrow = self.twin.books, self.escrow_twin
        classes = {number: tuple(seats) for number, seats in books.classes.items() if seats}
        of_panel = (dict(books.accounts), classes, dict(books.disputes), dict(books.scores), books.burnable)
        of_escrow = (dict(escrow.free), dict(escrow.stake), dict(escrow.slots), escrow.burned)
        return of_panel, of_escrow

    def _about(self, data: bytes) -> tuple[DealId, Deal | None]:
        """Which dispute a call is about, and of which deal, if it opens one."""
        if len(data) in OPENINGS:
            lock = data[4 + WORD * DEAL_WORDS :]
            return DealId(lock[:WORD]), self.deals[DealId(lock[:WORD])][0]
        return DealId(data[4 : 4 + WORD]), None

    def _twin_call(self, who: Key, data: bytes) -> PanelResult:
        now = UnixSeconds(self.now)
        if len(data) in OPENINGS:
            return self.twin.open(who.address, self._opening(data), now, self.peers)
        return self.twin.call(who.address, data, now, self.peers)

    def _opening(self, data: bytes) -> OpenDispute:
        """The effect of which a node would have made this calldata."""
        key, deal = self._about(data)
        assert deal is not None
        words = [Hash32(data[at : at + WORD]) for at in range(4, len(data), WORD)][DEAL_WORDS + LOCK_WORDS :]
        result = self.result(self.deals[key][1])
        signature = self.provider.sign(digest(self.domain, result))
        claimed = len(data) == OPENINGS[0]
        return OpenDispute(
            key="",
            deal_id=key,
            deal=deal,
            result_hash=words[0] if claimed else digest(self.domain, result),
            result=result,
            signature=signature,
            secret=words[1] if claimed else words[RESULT_WORDS],
            withheld=bool(words[-1][-1]),
            bond=Tokens(0),
        )

    def _same(self, ours: tuple[Log, ...]) -> None:
        """Panel, scores and escrow have logged what the simulator has. The token's own logs are not simulated."""
        places = {"panel": self.panel, "scores": self.scores_at, "escrow": self.escrow}
        found = [(log.address, [bytes(topic) for topic in log.data[0]], bytes(log.data[1])) for log in self.world._logs]
        wanted = [one for one in found if bytes.fromhex(one[0][2:]) in places.values()]
        mine = [("0x" + places[log.by].hex(), list(log.topics), log.data) for log in ours]
        assert [(one[0].lower(), *one[1:]) for one in wanted] == mine, [log.name for log in ours]
        self.told += [log.name for log in ours]

    @property
    def scores_at(self) -> Address:
        return getattr(self, "scores", Address(bytes(20)))

    # --- the deal's own calls ---------------------------------------------------------------------------------------

    def commit_deal(self, deal: Deal) -> Lock:
        lock = super().commit_deal(deal)
        self._post(lock, "commit", self.client.sign(deal_id(self.domain, deal)))
        return lock

    def claim(self, lock: Lock, outcome: Any = None) -> None:
        given = () if outcome is None else (outcome,)
        super().claim(lock, *given)
        self._post(lock, "claim", b"", self.result_hash(lock, *given))

    def _post(self, lock: Lock, purpose: str, signature: bytes, result: Hash32 = ZERO_HASH) -> None:
        deal = self.deals[lock.deal_id][0]
        tx = PostTx(
            key="",
            deal_id=lock.deal_id,
            purpose=purpose,
            deal=deal,
            amount=Tokens(0),
            signature=Signature(signature),
            result_hash=result,
        )
        self.escrow_twin.call(self.provider.address, tx, UnixSeconds(self.now), self.peers)

    def burn(self) -> None:
        super().burn()
        self.twin.books.burnable = 0


def _again(error: Exception) -> None:
    raise error


@pytest.fixture(scope="session")
def make_twin() -> "Callable[..., Twin]":
    return lambda **options: Twin(World(), **options)


def judged(court: Twin, **changes: Any) -> Lock:
    """One dispute from its opening to its verdict: all three seats match each other, and the provider nobody."""
    lock = court.disputed(**changes)
    court.matching(lock)
    for position in court.places(lock, st.Stage.REVEALED):
        court.publish(lock, position, 0b111)
    court.publish_provider(lock, 0)
    return lock


def test_a_whole_dispute_logs_the_same_bytes(make_twin: "Callable[..., Twin]") -> None:
    """A wrong result, silent seats, a conviction: every log of escrow and panel, from the opening to the end."""
    court = make_twin()
    lock = court.disputed()
    court.show_secret(lock)
    court.accept(lock, 1)
    court.pass_deadline(lock)
    court.poke(lock)  # two seats never came: others are called
    court.committing(lock)
    court.commit(lock, 0)
    court.pass_deadline(lock)
    court.poke(lock)  # two have accepted and not worked: their locks are burned
    court.matching(lock)
    for position in court.places(lock, st.Stage.REVEALED):
        court.publish(lock, position, 0b111)
    court.publish_provider(lock, 0)
    court.pass_deadline(lock)
    court.poke(lock)
    assert court.world.state(lock) is OnChainState.SLASHED
    assert court.twin.rows[lock.deal_id] is st.Row.CONVICTED
    assert {"DealDisputed", "SeatCalled", "LockLost", "SeatLeaving", "Found", "DisputeClosed"} <= set(court.told)
    money = court.escrow_twin.total() + court.twin.books.held()
    assert money == court.escrow_twin.deposited


def test_an_appeal_and_a_tolerance_level_log_the_same_bytes(make_twin: "Callable[..., Twin]") -> None:
    court = make_twin()
    lock = judged(court, level=3)
    court.deposit(lock, st.Side.PROVIDER)
    court.deposit(lock, st.Side.CLIENT)
    court.matching(lock)
    for position in court.places(lock, st.Stage.REVEALED):
        court.publish(lock, position, 0b1111111 | 0x700)
    court.publish_provider(lock, 0)
    assert court.twin.rows[lock.deal_id] is st.Row.LOST
    assert {"AppealDeposited", "ScoreChanged", "DisputeEnded"} <= set(court.told)


def test_hostile_calls_in_any_order_log_the_same_bytes(make_twin: "Callable[..., Twin]") -> None:
    """The search of the panel's own tests, with the simulator beside contract and machine."""
    machine = type("Bound", (Machine,), {"make": staticmethod(make_twin)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=max(3, settings().max_examples // 20),
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            print_blob=True,
            report_multiple_bugs=False,
        ),
    )


def test_a_result_that_nobody_has_signed_opens_nothing(make_twin: "Callable[..., Twin]") -> None:
    court = make_twin()
    lock = court.commit_deal(court.deal())
    other = ResultCommit(lock.deal_id, ZERO_HASH, court.result(lock).outcome, 0, 1, 2, ZERO_HASH)
    effect = OpenDispute(
        key="",
        deal_id=lock.deal_id,
        deal=court.deals[lock.deal_id][0],
        result_hash=digest(court.domain, other),
        result=other,
        signature=court.stranger.sign(digest(court.domain, other)),
        secret=court.secret(court.deals[lock.deal_id][0], st.Side.CLIENT),
        withheld=False,
        bond=Tokens(0),
    )
    with pytest.raises(Reverted, match="BadSignature"):
        court.twin.open(court.client.address, effect, UnixSeconds(court.now), court.peers)
    assert court.escrow_twin.entry(effect.deal).state is OnChainState.COMMITTED  # type: ignore[union-attr]
