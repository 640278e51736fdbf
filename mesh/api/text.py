"""How do bytes become text and back, at the edge of the API?"""

from mesh.api.types import CandidateInfo, DealInfo, OfferInfo, RunInfo
from protocols.deals.eip712 import OutcomeCode
from protocols.job.peers import peer_to_text
from protocols.offers.records import ResourceOffer
from protocols.runs import Candidate
from protocols.transfer.cid import cid_text
from protocols.views import DealView, RunView

__all__ = ["candidate_info", "deal_info", "hex0x", "offer_info", "prefix_of", "run_info"]


def hex0x(data: bytes) -> str:
    """``0x`` and lower-case hexadecimal."""
    return "0x" + data.hex()


def _maybe(data: bytes | None) -> str | None:
    return hex0x(data) if data is not None else None


def prefix_of(text: str) -> tuple[bytes, int | None] | None:
    """An id or its prefix as bytes and, for an odd number of digits, the last half byte; None when it is no such text."""
    digits = text.lower().removeprefix("0x")
    if not 4 <= len(digits) <= 64 or any(one not in "0123456789abcdef" for one in digits):
        return None
    whole = len(digits) // 2 * 2
    return bytes.fromhex(digits[:whole]), int(digits[-1], 16) if len(digits) % 2 else None


def outcome_word(outcome: int | None) -> str | None:
    """The outcome's name."""
    return None if outcome is None else OutcomeCode(outcome).name.lower()


def candidate_info(one: Candidate) -> CandidateInfo:
    """A candidate as text."""
    price = None if one.price is None else str(one.price)
    return CandidateInfo(
        provider=peer_to_text(one.provider),
        round=one.round,
        verdict=one.verdict,
        price=price,
        code=one.code,
        detail=one.detail,
        attempt=one.attempt,
    )


def _hint(hint: tuple[str, int, int] | None) -> str:
    if hint is None:
        return ""
    phase, done, total = hint
    return f"{phase} {100 * done // total} %" if total else phase


def deal_info(view: DealView) -> DealInfo:
    """A deal as text."""
    return DealInfo(
        deal_id=hex0x(view.deal_id),
        role=view.role,
        phase=view.phase,
        run_id=hex0x(view.run_id),
        job_id=hex0x(view.job_id),
        client=peer_to_text(view.client),
        provider=peer_to_text(view.provider),
        client_operator=hex0x(view.client_operator),
        provider_operator=hex0x(view.provider_operator),
        price=str(view.price),
        collateral=str(view.collateral),
        paid=None if view.paid is None else str(view.paid),
        audit_ppm=view.audit_ppm,
        enforcement=view.enforcement,
        seat_fee=str(view.seat_fee),
        commit_by=view.commit_by,
        commit_tx=_maybe(view.commit_tx),
        committed_at=view.committed_at,
        final_tx=_maybe(view.final_tx),
        final_how=view.final_how,
        checked=view.checked,
        outcome=outcome_word(view.outcome),
        exit_code=view.exit_code,
        fuel=view.fuel,
        wall_ms=view.wall_ms,
        root=None if view.root is None else cid_text(view.root),
        size=view.size,
        detail=view.detail,
        hint=_hint(view.hint),
        checks=_maybe(view.checks) or "",
    )


def run_info(view: RunView) -> RunInfo:
    """A run as text."""
    return RunInfo(
        run_id=hex0x(view.run_id),
        job_id=hex0x(view.job_id),
        name=view.name,
        status=view.status,
        code=view.code,
        detail=view.detail,
        submitted=view.submitted,
        root=None if view.root is None else cid_text(view.root),
        outcome=outcome_word(view.outcome),
        exit_code=view.exit_code,
        checked=view.checked,
        settled=view.settled,
        spent=str(view.spent),
        max_price=str(view.max_price),
        budget=str(view.budget),
        deals=tuple(deal_info(one) for one in view.deals),
        rechecks=tuple(deal_info(one) for one in view.rechecks),
        candidates=tuple(candidate_info(one) for one in view.candidates),
        search_until=view.search_until,
        replicas=view.replicas,
    )


def offer_info(offer: ResourceOffer, reliability: int | None, age_s: int = 0) -> OfferInfo:
    """An offer as text."""
    return OfferInfo(
        provider=peer_to_text(offer.provider),
        slot=offer.slot,
        sequence=offer.sequence,
        expires=offer.expires,
        capability=offer.capability,
        cpus_milli=offer.cpus_milli,
        memory_mib=offer.memory_mib,
        disk_mib=offer.disk_mib,
        gpus=tuple(f"{card.model} {card.vram_mib} MiB" for card in offer.gpus),
        executors=tuple(f"{one.kind} D{one.determinism}" for one in offer.executors),
        cpu_second=str(offer.ask.cpu_second),
        gib_second=str(offer.ask.gib_second),
        gpu_second=str(offer.ask.gpu_second),
        minimum=str(offer.ask.minimum),
        token=hex0x(offer.token),
        region=offer.region,
        labels=dict(offer.labels),
        max_wall_s=offer.max_wall_s,
        free_slots=offer.free_slots,
        reliability_ppm=reliability,
        age_s=age_s,
    )
