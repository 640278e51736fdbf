"""What does the dossier of a channel's deal prove, whose result was sealed? Real signatures, and forged ones."""

from typing import Any

import pytest
from msgspec.structs import replace

from devnet.sim.samples import NOW, Samples
from protocols.channels.merkle import Frontier
from protocols.deals import channel_client, eip712, in_channel
from protocols.deals import inputs as ins
from protocols.deals.dossier import Dossier, dossier_of, read_dossier, with_parts
from protocols.deals.evidence import actions, examine, gaps
from protocols.deals.salting import salted_root
from protocols.deals.sealing import KEYLESS, release_of, seal_notice
from protocols.deals.states import Checking, DealState, DealTerms, PaidBy, Settled, Signed, Unsealing
from protocols.hashing import keccak256
from protocols.messages.channel import VoucherNotice
from protocols.messages.deal import KeyRelease, ResultNotice
from protocols.units import DealId, Hash32, Signature, Tokens, UnixSeconds

SAMPLES = Samples(10**15)
CTX = ins.Ctx(SAMPLES.env(SAMPLES.client), UnixSeconds(NOW + 25))


def terms_of(audit_ppm: int) -> DealTerms:
    deal = replace(
        SAMPLES.deal(),
        settlement=eip712.SettlementMode.CHANNEL,
        enforcement=eip712.Enforcement.SELF,
        audit_ppm=audit_ppm,
    )
    deal_id = eip712.deal_id(SAMPLES.domain, deal)
    return replace(
        SAMPLES.terms(),
        deal_id=deal_id,
        deal=deal,
        client_signature=SAMPLES.client.sign(Hash32(deal_id)),
        provider_signature=SAMPLES.provider.sign(Hash32(deal_id)),
    )


def result_of(terms: DealTerms) -> ResultNotice:
    salt = SAMPLES.provider.derive("result-salt", terms.deal_id)
    commit = replace(SAMPLES.result_commit(), deal_id=terms.deal_id, salted_root=salted_root(salt, SAMPLES.root))
    signature = SAMPLES.provider.sign(eip712.digest(SAMPLES.domain, commit))
    return ResultNotice(commit, signature, SAMPLES.root, salt, 4_096)


def paid_by(terms: DealTerms, earlier: int) -> PaidBy:
    before = Frontier()
    for number in range(earlier):
        before = before.append(DealId(keccak256(b"earlier", bytes([number]))))
    after = before.append(terms.deal_id)
    voucher = replace(SAMPLES.voucher(), cumulative=Tokens(77), count=after.count, deals_root=after.root)
    signature = SAMPLES.client.sign(eip712.digest(SAMPLES.domain, voucher))
    return PaidBy(VoucherNotice(terms.deal_id, voucher, signature), before)


def after(*events: ins.DealInput, earlier: int = 0, audit_ppm: int = 0) -> DealState:
    """The client's deal, its sealed bytes here and paid for, after these."""
    terms = terms_of(audit_ppm)
    notice = seal_notice(SAMPLES.provider, SAMPLES.domain, result_of(terms), SAMPLES.root, 5_000)
    state: DealState = Signed(terms)
    for event in (ins.SealedArrived(notice), ins.Fetched(), in_channel.Paid(paid_by(terms, earlier)), *events):
        state, _ = channel_client.advance(state, event, CTX)
    return state


def release(**changes: Any) -> KeyRelease:
    return replace(release_of(SAMPLES.provider, terms_of(0).deal_id), **changes)


def written(state: DealState) -> Dossier:
    return read_dossier(dossier_of(state, SAMPLES.job.encode(), SAMPLES.domain))


def told(found: Dossier) -> dict[str, bool]:
    return {one.name: one.ok for one in examine(found)}


def left_open(found: Dossier) -> dict[str, str]:
    return {one.name: one.open for one in gaps(found)}


@pytest.mark.parametrize("earlier", range(5))
def test_of_a_key_that_was_kept_it_proves_promise_and_payment_and_says_what_it_cannot(earlier: int) -> None:
    lost = after(ins.TimePassed(), earlier=earlier)
    assert isinstance(lost, Settled)
    assert lost.how == KEYLESS
    found = written(lost)
    checks = told(found)
    assert all(checks.values()), checks
    assert {"sealed result", "sealed result deal", "sealed promise", "voucher", "voucher deal"} <= set(checks)
    assert "key" not in checks
    assert found.end is not None
    assert found.end.how == KEYLESS
    assert found.refused is not None
    assert "released no key" in found.refused.detail
    missing = left_open(found)
    assert "that nothing was sent cannot be proved" in missing["key"]
    assert "chain: committed" not in missing, "no chain was ever to know of this deal"
    assert "chain: redeemed" in missing
    assert actions(found) == (), "and none takes a call about it"


def test_of_bytes_that_held_something_else_it_has_the_key_that_shows_it() -> None:
    junk = after(ins.KeyArrived(release()), ins.Opened(SAMPLES.root[:-1] + b"\x07", 9))  # type: ignore[arg-type]
    assert isinstance(junk, Settled)
    assert junk.how == KEYLESS
    found = written(junk)
    checks = told(found)
    assert checks["key"]
    assert all(checks.values())
    assert found.refused is not None
    assert "another result" in found.refused.detail
    assert "in no signature of its own" in left_open(found)["result"]


def test_while_the_key_is_awaited_it_proves_as_much() -> None:
    waiting = after()
    assert isinstance(waiting, Unsealing)
    checks = told(written(waiting))
    assert {"sealed promise", "voucher deal"} <= set(checks)
    assert all(checks.values())


def test_of_a_wrong_result_it_proves_that_the_key_opened_what_was_committed_to() -> None:
    """Paid for sealed, computed again, another: both the promise and the result are the provider's own word."""
    state = after(
        ins.KeyArrived(release_of(SAMPLES.provider, terms_of(1_000_000).deal_id)),
        ins.Opened(SAMPLES.root, 4_096),
        audit_ppm=1_000_000,
    )
    assert isinstance(state, Checking)
    refused, _ = in_channel.refuse(state, "wrong-result", "two others agree", CTX)
    found = written(refused)
    checks = told(found)
    assert all(checks.values()), checks
    assert {"result signature", "result root", "key result", "voucher deal"} <= set(checks)
    assert (found.refused.code, found.refused.detail) == ("wrong-result", "two others agree")  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("part", "change", "breaks"),
    [
        ("sealed", {"size": 7}, {"sealed promise"}),
        ("sealed", {"key_hash": Hash32(bytes(32))}, {"sealed promise", "key"}),
        ("sealed", {"signature": Signature(bytes(65))}, {"sealed result"}),
        ("release", {"key": Hash32(bytes(32))}, {"key"}),
    ],
)
def test_a_forged_promise_or_key_is_seen(part: str, change: dict[str, Any], breaks: set[str]) -> None:
    found = written(after(ins.KeyArrived(release())))
    forged = replace(found, **{part: replace(getattr(found, part), **change)})
    assert {name for name, ok in told(forged).items() if not ok} == breaks


@pytest.mark.parametrize("count", [-1, 1, 3, 1 << 70])
def test_a_frontier_that_is_no_tree_is_seen(count: int) -> None:
    """A count below zero would be halved for ever, and one with too few peaks takes from an empty list."""
    found = written(after(ins.TimePassed()))
    assert found.paid_by is not None
    forged = replace(found, paid_by=PaidBy(found.paid_by.notice, Frontier(count, ())))
    assert not told(forged)["voucher deal"]


def test_a_voucher_for_other_deals_is_seen() -> None:
    found = written(after(ins.TimePassed(), earlier=2))
    assert found.paid_by is not None
    voucher = replace(found.paid_by.notice.voucher, count=9)
    notice = replace(found.paid_by.notice, voucher=voucher)
    checks = told(replace(found, paid_by=replace(found.paid_by, notice=notice)))
    assert (checks["voucher"], checks["voucher deal"]) == (False, False)
    assert read_dossier(with_parts(found)) == found
