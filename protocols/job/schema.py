"""What does a job file of version 1 say, once read? One frozen struct per section, all units in the names.

These structs are the client's view, with paths, retries and prices. A provider gets ``canonical.CanonicalJob``.
"""

import msgspec

from protocols.job.constraints import Constraint
from protocols.job.sources import Source
from protocols.job.units import Money, Range
from protocols.units import PeerId, UnixSeconds

__all__ = [
    "AbsoluteDeadline",
    "Checkpoint",
    "Deadline",
    "Gpus",
    "InputSpec",
    "JobSpec",
    "Limits",
    "Market",
    "Network",
    "Notify",
    "OutputSpec",
    "RelativeDeadline",
    "Resources",
    "Retry",
    "Verify",
]


class InputSpec(msgspec.Struct, frozen=True):
    """A file or folder the job reads at ``path``. ``digest`` is ``sha256:<hex>`` or empty."""

    path: str
    source: Source
    digest: str = ""


class OutputSpec(msgspec.Struct, frozen=True):
    """A folder whose content comes back as ``outputs/<name>``."""

    path: str
    name: str
    max_bytes: int
    max_files: int
    public: bool = False


class Gpus(msgspec.Struct, frozen=True):
    """Which cards, and how many. Empty ``names`` means any model; compute capability counts in tenths (8.9 is 89)."""

    count: int = 0
    memory_mib: Range | None = None
    capability_tenths: Range | None = None
    names: tuple[str, ...] = ()
    mig: bool = False


class Resources(msgspec.Struct, frozen=True):
    """What is reserved (the low ends, which are hard limits too) and how large a machine may be (the high ends)."""

    cpus_milli: Range
    memory_mib: Range
    disk_mib: Range
    shm_mib: int
    gpus: Gpus


class Limits(msgspec.Struct, frozen=True):
    """Where a run is ended. ``fuel`` 0 means: as much as ``wall_s`` can burn (see ``FUEL_PER_WALL_SECOND``)."""

    wall_s: int
    fuel: int
    pids: int
    stdout_bytes: int


class Network(msgspec.Struct, frozen=True):
    """Hosts the job may reach; none when empty."""

    allow: tuple[str, ...] = ()


class Verify(msgspec.Struct, frozen=True):
    """How two results are compared. Tolerances are integers: ``*_e12`` in units of 10**-12, ``*_ppm`` in millionths.

    ``audit_ppm`` None means: by the network's rule, falling with the provider's record.
    """

    level: str
    numeric_class: str = "any"
    audit_ppm: int | None = None
    rtol_e12: int = 0
    atol_e12: int = 0
    fraction_ppm: int = 1_000_000
    canonicalisers: tuple[str, ...] = ()
    hamming: int = 0
    n: int = 0
    agree: int = 0
    enforcement: str = "self"
    """``self``: the client draws the consequence; ``panel``: mediators judge, and collateral pays."""


class Market(msgspec.Struct, frozen=True):
    """What the client is ready to pay.

    ``max_price`` None: the caller's configuration must name one before anything is signed.
    ``budget`` None: ``max_price``. ``bid_window_ms`` None: the network's.
    """

    mode: str
    max_price: Money | None
    budget: Money | None
    bid_window_ms: int | None
    target: PeerId | None
    min_reputation_ppm: int


class Retry(msgspec.Struct, frozen=True):
    """After which failures the job is tried elsewhere, and how many deals it may sign in all."""

    on: tuple[str, ...]
    max_attempts: int


class Checkpoint(msgspec.Struct, frozen=True):
    """A folder saved every ``interval_s`` seconds, given to the next attempt."""

    path: str
    interval_s: int


class Notify(msgspec.Struct, frozen=True):
    """Whom to tell about which events."""

    on: tuple[str, ...] = ()
    exec: str = ""
    webhook: str = ""


class AbsoluteDeadline(msgspec.Struct, frozen=True, tag=True):
    """Useless after this moment."""

    unix_s: UnixSeconds


class RelativeDeadline(msgspec.Struct, frozen=True, tag=True):
    """Useless this many seconds after it was submitted."""

    after_s: int


Deadline = AbsoluteDeadline | RelativeDeadline


class JobSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One job file, complete: every key is present, with its default where the file is silent.

    ``env`` holds final values, sorted by name, those demanded from the caller's environment filled in.
    ``seed`` None means that it derives from the deal.
    """

    version: int
    name: str
    labels: tuple[tuple[str, str], ...]
    executor: str
    module: Source | None
    image: str
    command: tuple[str, ...]
    run: str
    workdir: str
    setup: str
    env: tuple[tuple[str, str], ...]
    secrets: tuple[str, ...]
    inputs: tuple[InputSpec, ...]
    outputs: tuple[OutputSpec, ...]
    resources: Resources
    constraints: tuple[Constraint, ...]
    receipt_s: int | None
    limits: Limits
    runtime: str
    network: Network
    verify: Verify
    seed: int | None
    market: Market
    settlement: str
    deadline: Deadline | None
    retry: Retry
    checkpoint: Checkpoint | None
    array: int
    num_nodes: int
    notify: Notify

    def deadline_at(self, submitted: UnixSeconds) -> UnixSeconds | None:
        """The moment after which the job is useless, for a job submitted at that time; None when there is none."""
        match self.deadline:
            case None:
                return None
            case AbsoluteDeadline(unix_s=unix_s):
                return unix_s
            case RelativeDeadline(after_s=after_s):
                return UnixSeconds(submitted + after_s)
