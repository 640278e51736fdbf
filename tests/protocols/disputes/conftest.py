"""A panel in plain Python: seats with money, a deal in dispute, and every call with its books checked."""

import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from protocols.contracts.lock import Lock
from protocols.deals.eip712 import Deal, Domain, Enforcement, Level, OutcomeCode, ResultCommit, digest
from protocols.deals.terms import Metering, SettlementMode
from protocols.disputes import inputs as ins
from protocols.disputes import states as st
from protocols.disputes.draw import commitment_of
from protocols.disputes.machine import deadline
from protocols.disputes.panel import Panel
from protocols.disputes.params import DEVNET_PANEL
from protocols.errors import RemoteProtocolError
from protocols.hashing import keccak256
from protocols.units import Address, JobId, Seconds, Tokens, UnixSeconds

P, C, F = 1_000, 30_000, 1_501
CLASS = 1
FUNDS = 10**7


def address(name: str) -> Address:
    return Address(keccak256(name.encode())[12:])


CLIENT, PROVIDER = address("client"), address("provider")


class Bench:
    """One panel, one dispute at a time."""

    def __init__(self, seats: int = 14, **terms: Any) -> None:
        self.domain = Domain(31_337, address("escrow"))
        self.panel = Panel(replace(DEVNET_PANEL, seat_bond=Tokens(10_000)), self.domain)
        self.now = UnixSeconds(1_000)
        self.operators = [address(f"seat {number}") for number in range(seats)]
        for owner in (CLIENT, PROVIDER, *self.operators):
            self.panel.fund(owner, FUNDS)
        for operator in self.operators:
            self.panel.join(operator, operator, CLASS, self.now)
        self.now = UnixSeconds(self.now + 10)
        self.nonce = 0
        self.terms = terms
        self.reason = st.Reason.WRONG
        self.outcome = OutcomeCode.EXITED
        self.lock: Lock | None = None
        self.fed, self.served = (7, 7), 0.8
        self.masks = [0b1111111, 0b11111111, 0b11, 0, 0x77F, 0x7FF]

    def deal(self) -> Deal:
        self.nonce += 1
        word = keccak256(b"word")
        terms: dict[str, Any] = {
            "client": CLIENT,
            "provider": PROVIDER,
            "token": address("token"),
            "run_nonce": self.nonce,
            "index": 0,
            "job_id": JobId(word),
            "image": word,
            "gpus": (),
            "price": Tokens(P),
            "metering": Metering.FIXED,
            "collateral": Tokens(C),
            "level": Level.EXACT,
            "level_params": word,
            "numeric_class": word,
            "enforcement": Enforcement.PANEL,
            "audit_ppm": 20_000,
            "seat_fee": Tokens(F),
            "seat_class": CLASS,
            "seat_snapshot": len(self.panel.classes.get(CLASS, [])),
            "client_secret_hash": keccak256(keccak256(b"c")),
            "provider_secret_hash": keccak256(keccak256(b"p")),
            "commit_by": UnixSeconds(self.now + 100),
            "exec_seconds": Seconds(5),
            "claim_seconds": Seconds(5),
            "window_seconds": Seconds(500),
            "settlement": SettlementMode.COMMIT,
        }
        return Deal(**(terms | self.terms))

    def open(self) -> st.DisputeState:
        deal = self.deal()
        self.lock = Lock.of(self.domain, deal, client_owner=CLIENT, provider_owner=PROVIDER)
        return self.panel.dispute(
            deal,
            self.lock,
            digest(self.domain, self.result()),
            secret=keccak256(b"c"),
            reason=self.reason,
            funder=CLIENT,
            now=self.now,
        )

    def result(self) -> ResultCommit:
        assert self.lock is not None
        salted = keccak256(keccak256(b"salt"), keccak256(b"root"))
        return ResultCommit(self.lock.deal_id, salted, self.outcome, 0, 1, 2, keccak256(b"log"))

    @property
    def state(self) -> st.DisputeState:
        assert self.lock is not None
        return self.panel.disputes[self.lock.deal_id]

    def act(self, input_: ins.DisputeInput) -> ins.Close | None:
        """One call; what comes in and goes out of the panel must add up."""
        assert self.lock is not None
        before = self.panel.held()
        close = self.panel.act(self.lock.deal_id, input_, self.now)
        came = 0 if close is None else close.payout.to_panel
        assert self.panel.held() == before + came
        return close

    def pass_deadline(self) -> None:
        until = deadline(self.state)
        assert until is not None
        self.now = UnixSeconds(max(self.now, until + 1))

    def natural(self, rng: random.Random) -> list[ins.DisputeInput]:
        """Everything that could be called now with success, as far as the phase goes."""
        state = self.state
        poked: list[ins.DisputeInput] = [ins.Poked()]
        if isinstance(state, (st.Settled, st.Slashed, st.Voided)):
            return []
        if isinstance(state, st.Disputed):
            return [ins.SecretShown(keccak256(b"p"))]
        if isinstance(state, (st.Verdict, st.Appealed)):
            return [*(ins.Deposited(CLIENT if side is st.Side.CLIENT else PROVIDER, side) for side in st.Side), *poked]
        if isinstance(state, st.Opening):
            return [ins.Opened(PROVIDER, keccak256(b"salt"), keccak256(b"root"), self.result())]
        found: list[ins.DisputeInput] = []
        if isinstance(state, st.Matching) and not state.rounds[-1].provider_matched:
            found.append(ins.ProviderMatched(PROVIDER, rng.choice(self.masks) & 0x7F))
        for place, turn in enumerate(state.rounds[-1].turns):
            found += self._of_seat(state, place, turn, rng)
        return found or poked

    def _of_seat(self, state: st.Working, place: int, turn: st.Turn, rng: random.Random) -> list[ins.DisputeInput]:
        assert self.lock is not None
        who = self.panel.classes[CLASS][turn.seat].operator if self.panel.classes.get(CLASS) else PROVIDER
        mark, salt = keccak256(bytes([place])), keccak256(b"salt", bytes([place]))
        rounds = len(state.rounds) - 1
        if turn.stage is st.Stage.CALLED:
            return [ins.Accepted(who, place)]
        if turn.stage is st.Stage.ACCEPTED and isinstance(state, st.Committing):
            made = commitment_of(self.lock.deal_id, rounds, turn.seat, mark, salt)
            return [ins.Committed(who, place, made)] * self.fed[rounds] + [ins.InputsMissing(who, place)]
        if turn.stage is st.Stage.COMMITTED and isinstance(state, st.Revealing):
            return [ins.Revealed(who, place, mark, salt, rng.random() < self.served)]
        if turn.stage is st.Stage.REVEALED and isinstance(state, st.Matching):
            return [ins.Matched(who, place, rng.choice(self.masks))]
        return []

    def refused(self, code: str, act: Callable[[], object]) -> None:
        with pytest.raises(RemoteProtocolError) as caught:
            act()
        assert caught.value.code == code


@pytest.fixture(scope="session")
def make_bench() -> Callable[..., Bench]:
    return Bench


@pytest.fixture
def bench() -> Bench:
    return Bench()
