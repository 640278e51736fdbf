"""Which records does this node gossip about itself, and on which topic?"""

import msgspec

from protocols.env import Env
from protocols.job.canonical import CanonicalJob, job_id_of
from protocols.offers.records import (
    JOB_OFFER_TAG,
    OFFER_TAG,
    WITHDRAWN_TAG,
    JobOffer,
    OfferWithdrawn,
    ResourceOffer,
)
from protocols.offers.topics import class_of_need, jobs_topic, offers_topic
from protocols.units import Tokens, UnixSeconds

__all__ = ["job_record", "offer_record", "renewed", "withdrawal_record"]


def offer_record(offer: ResourceOffer, env: Env) -> tuple[str, bytes]:
    """(topic, envelope) of a resource offer."""
    return offers_topic(env.params.name, offer.capability), env.record(OFFER_TAG, offer)


def withdrawal_record(offer: ResourceOffer, sequence: int, wall: UnixSeconds, env: Env) -> tuple[str, bytes]:
    """(topic, envelope) that takes a resource offer back."""
    withdrawn = OfferWithdrawn(
        owner=env.me,
        kind="offer",
        slot=offer.slot,
        sequence=sequence,
        expires=UnixSeconds(wall + env.params.offer_ttl),
    )
    return offers_topic(env.params.name, offer.capability), env.record(WITHDRAWN_TAG, withdrawn)


def job_record(
    job: CanonicalJob, limit: Tokens, sequence: int, wall: UnixSeconds, deadline: UnixSeconds, env: Env
) -> tuple[str, bytes]:
    """(topic, envelope) of a job that nobody has taken yet."""
    gpus = job.resources.gpus
    capability = class_of_need(gpus.count, gpus.memory_mib[0])
    record = JobOffer(
        client=env.me,
        sequence=sequence,
        expires=UnixSeconds(wall + env.params.offer_ttl),
        job_id=job_id_of(job),
        capability=capability,  # type: ignore[arg-type]  # class_of_need answers one of the eight
        executor=job.executor,
        cpus_milli=job.resources.cpus_milli[0],
        memory_mib=job.resources.memory_mib[0],
        disk_mib=job.resources.disk_mib[0],
        gpu_count=gpus.count,
        gpu_memory_mib=gpus.memory_mib[0],
        wall_s=job.limits.wall_s,
        max_price=limit,
        token=env.params.token,
        deadline=deadline,
    )
    return jobs_topic(env.params.name, capability), env.record(JOB_OFFER_TAG, record)


def renewed(offer: ResourceOffer, *, sequence: int, wall: UnixSeconds, free_slots: int, env: Env) -> ResourceOffer:
    """The same offer with a new sequence, expiry and number of free slots: a heartbeat."""
    return msgspec.structs.replace(
        offer, sequence=sequence, expires=UnixSeconds(wall + env.params.offer_ttl), free_slots=free_slots
    )
