"""What do the offer tests share: peers, offers and jobs that a test changes in one respect?"""

from typing import Any

import msgspec
import pytest

from protocols.job import parse_job
from protocols.job.canonical import CanonicalGpus, CanonicalJob, Resolved, canonical_job
from protocols.offers.records import Ask, ExecutorOffer, GpuOffer, JobOffer, OfferWithdrawn, ResourceOffer
from protocols.units import Address, Cid, Hash32, JobId, PeerId, Tokens, UnixSeconds

TOKEN, ESCROW = Address(b"\x11" * 20), Address(b"\x22" * 20)
ASK = Ask(Tokens(1000), Tokens(10), Tokens(100_000), Tokens(5))


def _peer(number: int) -> PeerId:
    return PeerId(bytes.fromhex("002508021221") + b"\x02" + number.to_bytes(32, "big"))


def _offer(**changes: Any) -> ResourceOffer:
    fields: dict[str, Any] = {
        "provider": _peer(1),
        "sequence": 1,
        "expires": UnixSeconds(1000),
        "cpus_milli": 4000,
        "memory_mib": 8192,
        "disk_mib": 10_240,
        "executors": (ExecutorOffer("wasm", 3),),
        "ask": ASK,
        "token": TOKEN,
        "escrow": ESCROW,
        "max_wall_s": 3600,
        "free_slots": 2,
    }
    return ResourceOffer(**(fields | changes))


def _job_offer(**changes: Any) -> JobOffer:
    fields: dict[str, Any] = {
        "client": _peer(1),
        "sequence": 1,
        "expires": UnixSeconds(1000),
        "job_id": JobId(b"\x33" * 32),
        "capability": "cpu",
        "executor": "wasm",
        "cpus_milli": 1000,
        "memory_mib": 512,
        "disk_mib": 1024,
        "gpu_count": 0,
        "gpu_memory_mib": 0,
        "wall_s": 300,
        "max_price": Tokens(10**18),
        "token": TOKEN,
    }
    return JobOffer(**(fields | changes))


def _withdrawn(**changes: Any) -> OfferWithdrawn:
    fields: dict[str, Any] = {"owner": _peer(1), "kind": "offer", "sequence": 2, "expires": UnixSeconds(1000)}
    return OfferWithdrawn(**(fields | changes))


def _job(gpus: tuple[Any, ...] | None = None, **changes: Any) -> CanonicalJob:
    """A canonical job; ``gpus`` are the fields of ``CanonicalGpus``, which no job file may ask for yet."""
    spec = parse_job({"version": 1, "module": "./m.wasm"} | changes, {}, {})
    job = canonical_job(spec, Resolved(Cid(bytes.fromhex("01551220") + bytes(32)), 1))
    if gpus is None:
        return job
    resources = msgspec.structs.replace(job.resources, gpus=CanonicalGpus(*gpus))
    return msgspec.structs.replace(job, resources=resources)


def _card(model: str = "H100 80GB HBM3", vram_mib: int = 81_559, tenths: int = 90, mig: bool = False) -> GpuOffer:
    return GpuOffer(model, vram_mib, tenths, Hash32(bytes(32)), mig)


@pytest.fixture
def peer():
    return _peer


@pytest.fixture
def offer():
    return _offer


@pytest.fixture
def job_offer():
    return _job_offer


@pytest.fixture
def withdrawn():
    return _withdrawn


@pytest.fixture
def job():
    return _job


@pytest.fixture
def card():
    return _card
