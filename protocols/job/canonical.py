"""Which bytes are the job, the same for client, provider and auditor?

``CanonicalJob`` is what travels in an RFQ and what a re-execution needs: content ids instead of paths, values instead
of references, defaults written out, lists in one order. Prices, retries, deadlines and labels are the client's business
and stay out; secrets never enter. JobId is the hash of these bytes, RunId one submission of them.
"""

from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from protocols.canonical import content_id, decode_strict, encode, tagged_digest
from protocols.errors import RemoteProtocolError
from protocols.job.constraints import parse_constraint
from protocols.job.keys_run import CANONICALISERS, MAX_FOLDERS
from protocols.job.problems import BadValue, JobError, Problem
from protocols.job.schema import JobSpec
from protocols.job.sources import CID_BYTES, guest_path, is_binary_cid
from protocols.job.units import MAX_FUEL, Range
from protocols.limits import MAX_JOB_BYTES
from protocols.units import Address, Cid, Hash32, JobId, RunId

__all__ = [
    "FUEL_PER_WALL_SECOND",
    "CanonicalGpus",
    "CanonicalInput",
    "CanonicalJob",
    "CanonicalLimits",
    "CanonicalOutput",
    "CanonicalResources",
    "CanonicalVerify",
    "Resolved",
    "canonical_job",
    "job_id_of",
    "level_params_of",
    "run_id_of",
]

FUEL_PER_WALL_SECOND: Final = 40_000_000_000
"""Fuel per second of ``wall`` when a job names none: above the fastest rate seen (31e9/s), so that wall ends it."""

Count = Annotated[int, Meta(ge=0, le=(1 << 63) - 1)]
Small = Annotated[int, Meta(ge=0, le=(1 << 31) - 1)]
Word = Annotated[str, Meta(min_length=1, max_length=63)]
CidBytes = Annotated[Cid, Meta(min_length=CID_BYTES, max_length=CID_BYTES)]


class CanonicalInput(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Content ``cid`` of ``size`` bytes, seen by the job at ``path``."""

    path: str
    cid: CidBytes
    size: Count


class CanonicalOutput(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A folder that is collected as ``outputs/<name>``."""

    path: str
    name: Word
    max_bytes: Count
    max_files: Small
    public: bool


class CanonicalGpus(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Cards needed. Ranges are (low, high) with high 0 for "no upper end"; capability in tenths."""

    count: Annotated[int, Meta(ge=0, le=64)]
    memory_mib: tuple[Small, Small]
    capability_tenths: tuple[Small, Small]
    names: Annotated[tuple[Word, ...], Meta(max_length=16)]
    mig: bool


class CanonicalResources(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """(low, high) of each resource: low is reserved, and is the job's hard limit; high, unless 0, filters machines."""

    cpus_milli: tuple[Small, Small]
    memory_mib: tuple[Small, Small]
    disk_mib: tuple[Small, Small]
    shm_mib: Small
    gpus: CanonicalGpus


class CanonicalLimits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """Where the run is ended. Memory and disk limits are the low ends of the resources."""

    wall_s: Annotated[int, Meta(ge=1, le=31 * 86_400)]
    fuel: Annotated[int, Meta(ge=1, le=MAX_FUEL)]
    pids: Annotated[int, Meta(ge=1, le=65_536)]
    stdout_bytes: Annotated[int, Meta(ge=1, le=256 << 20)]


class CanonicalVerify(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """How two results are compared. The audit rate is the client's affair and not part of it."""

    level: Literal["none", "exact", "canonical", "numeric", "perceptual", "replicate"]
    numeric_class: Literal["any", "same"] = "any"
    rtol_e12: Count = 0
    atol_e12: Count = 0
    fraction_ppm: Annotated[int, Meta(ge=0, le=1_000_000)] = 1_000_000
    canonicalisers: Annotated[tuple[Word, ...], Meta(max_length=8)] = ()
    hamming: Annotated[int, Meta(ge=0, le=64)] = 0
    n: Annotated[int, Meta(ge=0, le=9)] = 0
    agree: Annotated[int, Meta(ge=0, le=9)] = 0


_DECODED_JOBS: Final = 64
"""Jobs kept decoded: one is asked about in every round of a search, then proposed, then run. 8 MiB at most."""


class CanonicalJob(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A job, complete and in its one form: env by name, inputs and outputs by path."""

    version: Literal[1]
    name: Word
    executor: Literal["wasm", "oci", "process"]
    module: CidBytes
    module_size: Count
    command: Annotated[tuple[str, ...], Meta(max_length=256)]
    env: Annotated[tuple[tuple[Annotated[str, Meta(min_length=1, max_length=128)], str], ...], Meta(max_length=128)]
    inputs: Annotated[tuple[CanonicalInput, ...], Meta(max_length=MAX_FOLDERS)]
    outputs: Annotated[tuple[CanonicalOutput, ...], Meta(max_length=MAX_FOLDERS)]
    resources: CanonicalResources
    limits: CanonicalLimits
    runtime: Literal["any", "runsc"]
    network: Annotated[tuple[str, ...], Meta(max_length=32)]
    verify: CanonicalVerify
    seed: Annotated[int, Meta(ge=0, le=(1 << 63) - 1)] | None
    constraints: Annotated[tuple[str, ...], Meta(max_length=16)]

    def encode(self) -> bytes:
        """The canonical bytes."""
        return encode(self)

    @classmethod
    def decode(cls, data: bytes) -> "CanonicalJob":
        """The job in these bytes, from anybody. Raises ``RemoteProtocolError`` unless it is well formed throughout."""
        return _decoded(data)


@lru_cache(maxsize=_DECODED_JOBS)
def _decoded(data: bytes) -> CanonicalJob:
    job = decode_strict(CanonicalJob, data, max_bytes=MAX_JOB_BYTES)
    try:
        _check(job)
    except BadValue as error:
        raise RemoteProtocolError(f"not a job: {error.message}", code="malformed") from error
    return job


class Resolved(msgspec.Struct, frozen=True):
    """What the client's node found out: content id and size in bytes of the module, and of each input in file order."""

    module: Cid
    module_size: int
    inputs: tuple[tuple[Cid, int], ...] = ()


def canonical_job(spec: JobSpec, resolved: Resolved) -> CanonicalJob:
    """The canonical form of a job whose module and inputs have been named by content.

    Raises ``JobError`` when it weighs more than ``MAX_JOB_BYTES``, ``ValueError`` when ``resolved`` is another job's.
    """
    inputs = [
        CanonicalInput(one.path, cid, size) for one, (cid, size) in zip(spec.inputs, resolved.inputs, strict=True)
    ]
    outputs = [CanonicalOutput(one.path, one.name, one.max_bytes, one.max_files, one.public) for one in spec.outputs]
    job = CanonicalJob(
        version=1,
        name=spec.name,
        executor=spec.executor,  # type: ignore[arg-type]  # one of the three: the schema allows no other
        module=resolved.module,
        module_size=resolved.module_size,
        command=spec.command,
        env=spec.env,
        inputs=tuple(sorted(inputs, key=lambda one: one.path)),
        outputs=tuple(sorted(outputs, key=lambda one: one.path)),
        resources=_resources(spec),
        limits=CanonicalLimits(spec.limits.wall_s, _fuel(spec), spec.limits.pids, spec.limits.stdout_bytes),
        runtime=spec.runtime,  # type: ignore[arg-type]
        network=tuple(sorted(spec.network.allow)),
        verify=_verify(spec),
        seed=spec.seed,
        constraints=tuple(one.text for one in spec.constraints),
    )
    weight = len(job.encode())
    if weight > MAX_JOB_BYTES:
        message = f"the whole job weighs {weight} bytes, at most {MAX_JOB_BYTES} travel"
        raise JobError((Problem("", 0, message, "move arguments and variables into an input file"),))
    return job


def job_id_of(job: CanonicalJob) -> JobId:
    """The identity of a job."""
    return JobId(content_id("job/1", job))


def run_id_of(job_id: JobId, client: Address, run_nonce: int) -> RunId:
    """One submission of a job by a client; ``run_nonce`` is a uint64 the client never reuses."""
    return RunId(tagged_digest("run/1", job_id, client, run_nonce.to_bytes(8, "big")))


def level_params_of(verify: CanonicalVerify) -> Hash32:
    """The Deal's ``levelParams``: what exactly was agreed about comparing."""
    return content_id("level/1", verify)


def _ends(found: Range | None) -> tuple[int, int]:
    return (0, 0) if found is None else (found.low, found.high or 0)


def _resources(spec: JobSpec) -> CanonicalResources:
    needs, gpus = spec.resources, spec.resources.gpus
    cards = CanonicalGpus(
        gpus.count, _ends(gpus.memory_mib), _ends(gpus.capability_tenths), tuple(sorted(gpus.names)), gpus.mig
    )
    return CanonicalResources(
        _ends(needs.cpus_milli), _ends(needs.memory_mib), _ends(needs.disk_mib), needs.shm_mib, cards
    )


def _fuel(spec: JobSpec) -> int:
    return spec.limits.fuel or min(spec.limits.wall_s * FUEL_PER_WALL_SECOND, MAX_FUEL)


def _verify(spec: JobSpec) -> CanonicalVerify:
    v = spec.verify
    return CanonicalVerify(
        v.level,  # type: ignore[arg-type]  # one of the six: the schema allows no other
        v.numeric_class,  # type: ignore[arg-type]
        v.rtol_e12,
        v.atol_e12,
        v.fraction_ppm,
        v.canonicalisers,
        v.hamming,
        v.n,
        v.agree,
    )


def _increasing(words: Sequence[str], what: str) -> None:
    if any(one >= other for one, other in pairwise(words)):
        raise BadValue(f"{what} are not sorted or not unique")


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:depth]) for depth in range(2, len(parts))]


def _check(job: CanonicalJob) -> None:
    """What types cannot say. Raises ``BadValue``."""
    if not all(is_binary_cid(cid) for cid in (job.module, *(one.cid for one in job.inputs))):
        raise BadValue("a content id has an unknown format")
    _increasing([name for name, _ in job.env], "variables")
    _increasing([one.path for one in job.inputs], "inputs")
    _increasing([one.path for one in job.outputs], "outputs")
    _increasing(sorted(one.name for one in job.outputs), "output names")
    if any("/" in one.name or one.name in (".", "..") or not one.name.isprintable() for one in job.outputs):
        raise BadValue("an output name is not a plain name")
    if any("\x00" in word for word in job.command) or any("\x00" in n or "\x00" in v or "=" in n for n, v in job.env):
        raise BadValue("an argument or a variable holds a character no program can be given")
    paths = [guest_path(one.path) for one in job.inputs] + [guest_path(one.path) for one in job.outputs]
    unique = set(paths)
    if len(unique) < len(paths) or any(parent in unique for path in paths for parent in _parents(path)):
        raise BadValue("inputs and outputs overlap")
    if not set(job.verify.canonicalisers) <= set(CANONICALISERS):
        raise BadValue("a canonicaliser is not built in")
    for text in job.constraints:
        parse_constraint(text)
    ranges = (job.resources.cpus_milli, job.resources.memory_mib, job.resources.disk_mib)
    cards = (job.resources.gpus.memory_mib, job.resources.gpus.capability_tenths)
    if any(high and high < low for low, high in (*ranges, *cards)) or any(
        low == 0 and not high for low, high in ranges
    ):
        raise BadValue("a range of resources is empty")
