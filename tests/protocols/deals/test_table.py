"""Do the two halves of the deal machine make exactly the moves that the one table lists? And does the documentation?"""

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from msgspec.structs import replace

from devnet.sim.documents import filled
from devnet.sim.samples import NOW, Samples
from protocols.deals import checking, client, eip712, provider
from protocols.deals import inputs as ins
from protocols.deals import states as st
from protocols.deals.table import CLIENT, EDGES, PROVIDER, STATES, Edge
from protocols.units import ZERO_HASH, Address, Cid, Hash32, Tokens, UnixSeconds
from protocols.verify.audits import AwaitRound, First, Reexecution, RunElsewhere, RunHere, Second, Subject, Waiting

DOCUMENT = Path(__file__).resolve().parents[3] / "docs" / "protocol" / "deal.md"
SAMPLES = Samples()
HALVES: dict[str, ModuleType] = {CLIENT: client, PROVIDER: provider}
KEYS = {CLIENT: SAMPLES.client, PROVIDER: SAMPLES.provider}


def context(role: str) -> ins.Ctx:
    return ins.Ctx(SAMPLES.env(KEYS[role]), UnixSeconds(NOW + 25))


def variants() -> Iterator[st.DealState]:
    """Every state, in each shape that could make a difference."""
    plain: dict[str, Any] = dict(SAMPLES.states())
    claim: Any = SAMPLES.claim()
    lost = replace(SAMPLES.commitment, lost=True)
    for state in plain.values():
        yield state
        if getattr(state, "commitment", None) is not None and not hasattr(state, "was"):
            yield replace(state, commitment=lost)
        for flag in ("claiming", "leaving", "burned"):
            if hasattr(state, flag):
                yield replace(state, **{flag: True})
    for changes in ({"sign_off": SAMPLES.sign_off()}, {"rejected": "x"}, {"result": None}):
        yield replace(claim, **changes)
    yield replace(claim, result=None, result_hash=ZERO_HASH)
    for how in ("settled", "finalized", "cancelled"):
        for changes in ({"claim": claim}, {"claim": claim, "sign_off": None}, {"result": None, "sign_off": None}, {}):
            yield replace(plain["Settled"], how=how, **changes)
    yield replace(plain["Abandoned"], code="cancelled")
    yield replace(plain["Signed"], early=SAMPLES.notice())
    yield replace(plain["Signed"], refund=SAMPLES.cancel(SAMPLES.provider))
    yield replace(plain["Proposed"], early=SAMPLES.notice())
    for name in ("Resulted", "Delivered", "Checking"):
        yield replace(plain[name], claim=claim)
    for name in ON_CHAIN:
        yield replace(plain["Disputed"], was=plain[name])
        yield replace(plain["Slashed"], was=plain[name])
    yield replace(plain["Settled"], how="acquitted", dispute=plain["Disputed"])
    for audit in audits():
        yield replace(plain["Checking"], audit=audit)
        yield replace(plain["Checking"], audit=audit, claim=claim)
        yield replace(plain["Checking"], audit=audit, commitment=lost)
        yield replace(plain["Checking"], audit=audit, overtime=True)


def audits() -> Iterator[st.Audit]:
    """Every place in which a check can stand, with money left and without."""
    deal = SAMPLES.deal()
    mine, theirs = deal.client, deal.provider
    for budget in (Tokens(0), Tokens(10)):
        subject = Subject.of(
            eip712.deal_id(SAMPLES.domain, deal), replace(deal, audit_ppm=1), executor="wasm", owners=(mine, theirs),
            latest=4, budget=budget
        )  # fmt: skip
        elsewhere = RunElsewhere(ZERO_HASH, (mine, theirs), Tokens(10))
        yield st.Audit(Waiting(subject), AwaitRound(7))
        yield st.Audit(First(subject, budget), RunHere())
        if budget:
            yield st.Audit(First(subject, budget, tries=2), elsewhere)
            first = ran(mine, root=OTHER)
            yield st.Audit(Second(subject, budget, Reexecution(mine, False), 2), elsewhere, first)
            looking = st.Comparing(ran(THIRD, root=OTHER), Tokens(1))
            yield st.Audit(First(subject, budget), RunHere(), comparing=looking)
            yield st.Audit(Second(subject, budget, Reexecution(mine, False), 2), elsewhere, first, looking)


ON_CHAIN = ("Committed", "Running", "Resulted", "Delivered", "Checking", "Accepted", "Rejected", "Claimed")
OF_CHANNELS = {"Sealed", "Unsealing"}
"""States of deals alone that a channel pays, which have no table: docs/protocol/channels.md."""
OTHER = Cid(SAMPLES.root[:-1] + bytes([SAMPLES.root[-1] ^ 1]))
THIRD = Address(b"\x33" * 20)


def ran(owner: Address, **changes: Any) -> st.Ran:
    commit = SAMPLES.result_commit()
    same = st.Ran(owner, commit.outcome, commit.exit_code, commit.fuel, SAMPLES.root)
    return replace(same, **changes)


def local_result(**changes: Any) -> st.LocalResult:
    commit = SAMPLES.result_commit()
    same = st.LocalResult(
        outcome=commit.outcome,
        exit_code=commit.exit_code,
        fuel=commit.fuel,
        wall_ms=1,
        root=SAMPLES.root,
        size=1,
        log_head=ZERO_HASH,
        detail="",
    )
    return replace(same, **changes)


def inputs(state: st.DealState) -> Iterator[tuple[str, ins.DealInput]]:
    """Everything that can happen to a deal, with the table's word for it."""
    signature = SAMPLES.terms().provider_signature
    assert signature is not None
    yield "countersigned", ins.Countersigned(signature)
    yield "declined", ins.DealDeclined("busy", "no")
    yield "fetched", ins.Fetched()
    yield "fetch failed", ins.FetchFailed("timeout", "no")
    yield "job finished", ins.JobFinished(local_result())
    yield "job failed", ins.JobFinished(local_result(outcome=eip712.OutcomeCode.INFRA_ERROR))
    yield "job failed", ins.JobFinished(local_result(outcome=eip712.OutcomeCode.CANCELLED))
    yield "audit agrees", ins.AuditFinished(local_result(), 30_000)
    yield "audit differs", ins.AuditFinished(local_result(fuel=1), 30_000)
    yield "audit useless", ins.AuditFinished(local_result(outcome=eip712.OutcomeCode.TIMEOUT), 30_000)
    yield "round", ins.RoundKnown(7, ZERO_HASH)
    for same in ((), (True,), (False,), (True, False), (False, True), (False, False)):
        yield "compared", ins.Compared(THIRD, same, "why")
    yield "replicas agree", ins.ReplicasCompared(True, "replicated", "why")
    yield "replicas differ", ins.ReplicasCompared(False, "bytes", "why")
    yield "rerun agrees", ins.Rerun(ran(THIRD), THIRD, "", Tokens(1))
    yield "rerun differs", ins.Rerun(ran(THIRD, root=OTHER), THIRD, "", Tokens(1))
    yield "rerun useless", ins.Rerun(None, THIRD, "why", Tokens(1))
    yield "rerun useless", ins.Rerun(None, None, "nobody", Tokens(0))
    yield "receipt", ins.ReceiptArrived(SAMPLES.named())
    yield "result", ins.ResultArrived(SAMPLES.notice())
    yield "delivered", ins.DeliveryConfirmed(SAMPLES.receipt())
    yield "signed off", ins.SignedOff(SAMPLES.sign_off())
    yield "disowned", ins.ResultDisowned("wrong-result", "no")
    yield "cancel wanted", ins.CancelWanted()
    yield "cancel offered", ins.CancelProposed(SAMPLES.cancel(SAMPLES.client, SAMPLES.paid))
    yield "refund offered", ins.CancelProposed(SAMPLES.cancel(SAMPLES.provider))
    yield "deadline", ins.TimePassed()
    for purpose in ("commit", "burn", "claim", "settle", "cancel", "expire", "finalize", "void"):
        yield f"{purpose} refused", ins.TxRefused(purpose, "why")
    ends = ("settled", "finalized", "cancelled", "expired", "burned", "slashed", "acquitted", "convicted", "void")
    for to in ("committed", "claimed", "disputed", *ends):
        yield f"chain: {to}", ins.ChainMoved(to, Hash32(b"\x55" * 32), 30, UnixSeconds(NOW + 50), Tokens(1))
        commitment = getattr(state, "commitment", None)
        for tx in (getattr(state, "tx", None), commitment.tx if commitment else None, Hash32(b"\x66" * 32)):
            if tx is not None:
                yield f"reorg: {to}", ins.ChainRetracted(to, tx)


def walked(role: str) -> set[Edge]:
    """The edges that the code takes, over every state and every input."""
    found = set()
    for state in variants():
        if role == CLIENT and isinstance(getattr(state, "was", None), st.Running):
            continue  # only the provider's half runs
        for word, event in inputs(state):
            new, _ = HALVES[role].advance(state, event, context(role))
            if type(new) is not type(state):
                found.add(Edge(role, type(state).__name__, word, type(new).__name__))
    return found


def from_the_node(role: str) -> set[Edge]:
    """The edges that the node takes itself, because they need more than the deal: a slot, a receipt."""
    states = SAMPLES.states()
    if role == PROVIDER:
        committed = states["Committed"]
        assert isinstance(committed, st.Committed)
        new, _ = provider.start(committed, b"job")
        return {Edge(role, "Committed", "slot free", type(new).__name__)}
    delivered = states["Delivered"]
    assert isinstance(delivered, st.Delivered)
    found = set()
    for word, audit_ppm in (("receipt signed", 1), ("nothing to compare", 0)):
        terms = replace(delivered.terms, deal=replace(SAMPLES.deal(), audit_ppm=audit_ppm))
        new, _ = checking.begin(replace(delivered, terms=terms), 7, "wasm", Tokens(0), context(role))
        found.add(Edge(role, "Delivered", word, type(new).__name__))
    return found


@pytest.mark.parametrize("role", [CLIENT, PROVIDER])
def test_the_code_takes_exactly_the_edges_of_the_table(role: str) -> None:
    listed = {replace(edge, usual=True) for edge in EDGES if edge.role == role}
    taken = walked(role) | from_the_node(role)
    assert taken - listed == set(), "the code moves where the table does not"
    assert listed - taken == set(), "the table moves where the code does not"


def test_every_state_has_a_row_and_every_final_one_has_no_deadline() -> None:
    rows = {row.name: row for row in STATES}
    assert set(rows) == set(SAMPLES.states()) - OF_CHANNELS
    final = {kind.__name__ for kind in st.FINAL_STATES}
    assert {name for name, row in rows.items() if row.who == "final"} == final
    for role, half in HALVES.items():
        for name, state in SAMPLES.states().items():
            if name in OF_CHANNELS:
                continue
            has_one = half.deadline(state, context(role)) is not None
            if rows[name].roles in ("both", role):
                assert has_one == (name not in final), (role, name)


@pytest.mark.parametrize("role", [CLIENT, PROVIDER])
def test_every_unfinished_state_leads_to_an_end(role: str) -> None:
    reached = {kind.__name__ for kind in st.FINAL_STATES}
    steps = {(edge.before, edge.after) for edge in EDGES if edge.role == role and not edge.on.startswith("reorg")}
    for _ in STATES:
        reached |= {before for before, after in steps if after in reached}
    assert {row.name for row in STATES if row.roles in ("both", role)} <= reached


def test_the_documentation_shows_this_table() -> None:
    text = DOCUMENT.read_text()
    assert filled(text) == text, "run: python -m devnet.sim.documents"
