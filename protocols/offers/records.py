"""What does a provider announce, what does a client announce, and how is either taken back?

The three gossip records. Each is the payload of one signed envelope of at most ``MAX_GOSSIP_BYTES``; every field is
bounded so that the largest legal record still fits. A node keeps up to 16 records of each kind, told apart by
``slot``; a record replaces the one in its slot when its sequence is higher, so a heartbeat is the same record with the
next sequence.
"""

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocols.envelope import ENVELOPE_OVERHEAD
from protocols.limits import MAX_GOSSIP_BYTES
from protocols.offers.topics import CPU, class_of_cards
from protocols.signing import PEER_ID_BYTES
from protocols.units import Address, Hash32, JobId, PeerId, Tokens, UnixSeconds

__all__ = [
    "JOB_OFFER_TAG",
    "MAX_PAYLOAD_BYTES",
    "MAX_SLOTS",
    "OFFER_TAG",
    "RESERVED_NAMES",
    "WITHDRAWN_TAG",
    "Ask",
    "ExecutorOffer",
    "GpuOffer",
    "JobOffer",
    "OfferWithdrawn",
    "Property",
    "Record",
    "ResourceOffer",
]

OFFER_TAG: Final = "offer/1"
JOB_OFFER_TAG: Final = "job_offer/1"
WITHDRAWN_TAG: Final = "offer_withdrawn/1"
MAX_PAYLOAD_BYTES: Final = MAX_GOSSIP_BYTES - ENVELOPE_OVERHEAD
MAX_SLOTS: Final = 16
"""Live records of one kind per node."""
RESERVED_NAMES: Final = frozenset(
    {
        "class",
        "compute_capability",
        "cpus",
        "disk_mib",
        "executor",
        "free_slots",
        "gpu_memory_mib",
        "gpu_model",
        "gpus",
        "latency_ms",
        "max_wall_s",
        "memory_mib",
        "provider",
        "region",
        "reliability",
    }
)
"""Names that a record's own fields or the reader's own measurements stand for; nobody may publish them as properties.
"""

Peer = Annotated[PeerId, Meta(min_length=PEER_ID_BYTES, max_length=PEER_ID_BYTES)]
Slot = Annotated[int, Meta(ge=0, lt=MAX_SLOTS)]
Sequence = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Moment = Annotated[UnixSeconds, Meta(ge=0, le=(1 << 40))]
Small = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Name = Annotated[str, Meta(pattern=r"\A[a-z][a-z0-9_]{0,19}\Z")]
Word = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._/-]{0,19}\Z")]
Region = Annotated[str, Meta(pattern=r"\A[a-z0-9-]{0,16}\Z")]
Model = Annotated[str, Meta(pattern=r"\A[ -~]{1,32}\Z")]
Wallet = Annotated[Address, Meta(min_length=20, max_length=20)]
Digest = Annotated[Hash32, Meta(min_length=32, max_length=32)]
Addresses = Annotated[tuple[Annotated[bytes, Meta(min_length=1, max_length=96)], ...], Meta(max_length=4)]
"""Binary multiaddrs: IPv6, TCP port and PeerId take 64 bytes, a relayed address 96."""
ExecutorKind = Literal["wasm", "oci", "process"]


class GpuOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """One card. ``uuid_hash`` is what the Deal's ``gpus`` names; the uuid itself goes only to a counterparty."""

    model: Model
    vram_mib: Small
    capability_tenths: Annotated[int, Meta(ge=0, le=999)]
    uuid_hash: Digest
    mig: bool


class ExecutorOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A way to run jobs whose probe passed, and how far equal jobs give equal bytes with it (D0 not at all .. D4
    anywhere).
    """

    kind: ExecutorKind
    determinism: Annotated[int, Meta(ge=0, le=4)]


class Ask(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Prices in wei per second and unit, and the least that any job costs."""

    cpu_second: Tokens
    gib_second: Tokens
    gpu_second: Tokens
    minimum: Tokens


class Property(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A number in millionths. ``measured``: the node's own software found it; else its operator typed it in."""

    name: Name
    value: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
    measured: bool


class ResourceOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """What one job can get from a provider, and what it costs.

    ``cpus_milli``, ``memory_mib``, ``disk_mib`` and ``gpus`` are the most a single job may use. ``free_slots`` counts
    jobs it would start now; at 0 one may still queue. Gossip is a hint: only a firm quote holds anything.
    """

    provider: Peer
    slot: Slot = 0
    sequence: Sequence
    expires: Moment
    capability: Literal["cpu", "gpu-8", "gpu-16", "gpu-24", "gpu-40", "gpu-48", "gpu-80", "gpu-140"] = "cpu"
    cpus_milli: Small
    memory_mib: Small
    disk_mib: Small
    gpus: Annotated[tuple[GpuOffer, ...], Meta(max_length=8)] = ()
    executors: Annotated[tuple[ExecutorOffer, ...], Meta(min_length=1, max_length=3)]
    ask: Ask
    modes: Annotated[tuple[Literal["fixed", "market"], ...], Meta(min_length=1, max_length=2)] = ("fixed", "market")
    token: Wallet
    escrow: Wallet
    region: Region = ""
    labels: Annotated[tuple[tuple[Name, Word], ...], Meta(max_length=6)] = ()
    properties: Annotated[tuple[Property, ...], Meta(max_length=8)] = ()
    addresses: Addresses = ()
    max_wall_s: Small
    free_slots: Annotated[int, Meta(ge=0, le=65_535)]

    def __post_init__(self) -> None:
        if self.labels or self.properties:
            names = [name for name, _ in self.labels] + [one.name for one in self.properties]
            if len(set(names)) < len(names) or RESERVED_NAMES.intersection(names):
                raise ValueError("a property is published twice, or under a reserved name")
        if self.capability != class_of_cards([card.vram_mib for card in self.gpus]):
            raise ValueError(f"class {self.capability} is not the class of its cards")
        kinds = [one.kind for one in self.executors]
        if len(set(kinds)) < len(kinds) or len(set(self.modes)) < len(self.modes):
            raise ValueError("an executor or a mode is listed twice")

    @property
    def author(self) -> PeerId:
        """Whose signature this record needs."""
        return self.provider


class JobOffer(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """A job nobody has taken yet: enough for a provider to tell whether to bid unasked; the body is pulled by
    ``job_id``.
    """

    client: Peer
    slot: Slot = 0
    sequence: Sequence
    expires: Moment
    job_id: Annotated[JobId, Meta(min_length=32, max_length=32)]
    capability: Literal["cpu", "gpu-8", "gpu-16", "gpu-24", "gpu-40", "gpu-48", "gpu-80", "gpu-140"]
    executor: ExecutorKind
    cpus_milli: Small
    memory_mib: Small
    disk_mib: Small
    gpu_count: Annotated[int, Meta(ge=0, le=64)]
    gpu_memory_mib: Small
    wall_s: Small
    max_price: Tokens
    token: Wallet
    deadline: Moment = UnixSeconds(0)
    """0: none."""
    addresses: Addresses = ()

    def __post_init__(self) -> None:
        if (self.capability == CPU) != (self.gpu_count == 0):
            raise ValueError(f"class {self.capability} does not go with {self.gpu_count} cards")

    @property
    def author(self) -> PeerId:
        """Whose signature this record needs."""
        return self.client


class OfferWithdrawn(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, kw_only=True):
    """Takes back the record in a slot: everything of it below ``sequence``. Travels on that record's topic."""

    owner: Peer
    kind: Literal["offer", "job_offer"]
    slot: Slot = 0
    sequence: Sequence
    expires: Moment
    """No earlier than the withdrawn record's: until then the withdrawal is remembered."""

    @property
    def author(self) -> PeerId:
        """Whose signature this record needs."""
        return self.owner


Record = ResourceOffer | JobOffer | OfferWithdrawn
