"""Which keys say what runs: resources, limits, inputs, outputs, network, checking?"""

from typing import Any, Final

from protocols.job import scalars as s
from protocols.job.kinds import REQUIRED, Choice, Items, Key, Table, Values
from protocols.job.problems import BadValue, Place, shown
from protocols.job.schema import Checkpoint, Gpus, InputSpec, Limits, Network, OutputSpec, Resources, Verify
from protocols.job.sources import Source
from protocols.job.units import Range

__all__ = [
    "CANONICALISERS",
    "CHECKPOINT",
    "GPUS",
    "INPUT",
    "LEVELS",
    "LIMITS",
    "MAX_FOLDERS",
    "NETWORK",
    "OUTPUT",
    "RESOURCES",
    "VERIFY",
]

MAX_FOLDERS: Final = 64
"""Inputs, and outputs, of one job: all of them with full paths still fit a canonical job."""
MAX_GPUS: Final = 64
MAX_WALL_DAYS: Final = 30
"""Days a run may take. Longer work belongs into several jobs with checkpoints."""
GIB: Final = 1 << 30
LEVELS: Final = ("none", "exact", "canonical", "numeric", "perceptual", "replicate")
"""In the order of the Deal's ``level`` codes."""
CANONICALISERS: Final = ("strip-timestamps", "sort-json", "pixels", *(f"round-{decimals}" for decimals in range(16)))
"""Normal forms that a job may name; `protocols.verify.comparators.canonical` says what each of them forgets."""

_IN_PATH: Final = Key("path", s.GUEST_PATH, REQUIRED, "Where the job sees it.")
_IN_SOURCE: Final[Key[Source]] = Key(
    "source", s.SOURCE, REQUIRED, "A path beside the job file, a CID, or https, s3, hf, ipfs."
)
_IN_DIGEST: Final = Key("digest", s.DIGEST, "", "What a fetched input must hash to.")
INPUT: Final = Table(
    (_IN_PATH, _IN_SOURCE, _IN_DIGEST),
    lambda v: InputSpec(v[_IN_PATH], v[_IN_SOURCE], v[_IN_DIGEST]),
    "`{path, source, digest}`",
    {"target": "path", "dest": "path", "src": "source", "from": "source", "url": "source", "cid": "source"},
)

_OUT_PATH: Final = Key("path", s.GUEST_PATH, REQUIRED, "The folder the job writes.")
_OUT_NAME: Final = Key(
    "name",
    s.pattern("a folder name", r"[A-Za-z0-9_][A-Za-z0-9._-]{0,62}", "write letters, digits, and . _ -"),
    "",
    "Its name below `outputs/` in the result.",
    shown_default="last part of `path`",
)
_OUT_BYTES: Final = Key("max_bytes", s.SIZE, GIB, "Beyond this the run ends as `disk_limit`.", shown_default="1GiB")
_OUT_FILES: Final = Key("max_files", s.number(1, 100_000), 10_000, "Beyond this the run ends as `disk_limit`.")
_OUT_PUBLIC: Final = Key("public", s.SWITCH, False, "Whether anybody may read it, not only the deal's parties.")


def _output(v: Values) -> OutputSpec:
    name = v[_OUT_NAME] or v[_OUT_PATH].rsplit("/", 1)[-1]
    return OutputSpec(v[_OUT_PATH], name, v[_OUT_BYTES], v[_OUT_FILES], v[_OUT_PUBLIC])


OUTPUT: Final = Table(
    (_OUT_PATH, _OUT_NAME, _OUT_BYTES, _OUT_FILES, _OUT_PUBLIC), _output, "`{path, name, max_bytes, max_files, public}`"
)

_GPU_COUNT: Final = Key("count", s.number(0, MAX_GPUS), 1, "Cards.")
_GPU_MEMORY: Final[Key[Range | None]] = Key("memory", s.MIB_RANGE, None, "Memory of each card.", shown_default="any")
_GPU_CAPABILITY: Final[Key[Range | None]] = Key(
    "compute_capability", s.CAPABILITY_RANGE, None, "CUDA compute capability.", shown_default="any"
)
_GPU_NAME: Final = Key(
    "name",
    Items(s.text("model name", 48), 16, unique=True),
    (),
    "Accepted models, such as `H100`.",
    shown_default="any",
)
_GPU_MIG: Final = Key("mig", s.SWITCH, False, "Whether a slice of a card will do.")
_GPU_TABLE: Final = Table(
    (_GPU_COUNT, _GPU_MEMORY, _GPU_CAPABILITY, _GPU_NAME, _GPU_MIG),
    lambda v: Gpus(v[_GPU_COUNT], v[_GPU_MEMORY], v[_GPU_CAPABILITY], v[_GPU_NAME], v[_GPU_MIG]),
    "`{count, memory, compute_capability, name, mig}`",
    {"vram": "memory", "cc": "compute_capability", "model": "name"},
)


class _GpuKind:
    """``1``, ``"H100:1"`` or the long form."""

    words = "count, `H100:1`, or `{count, memory, compute_capability, name, mig}`"
    table = _GPU_TABLE

    @property
    def json(self) -> dict[str, Any]:
        return {"anyOf": [_GPU_COUNT.kind.json, {"type": "string", "pattern": "^.+:[0-9]+$"}, self.table.json]}

    def read(self, value: object, place: Place) -> Gpus:
        if isinstance(value, dict):
            return self.table.read(value, place)
        if isinstance(value, str):
            model, colon, count = value.rpartition(":")
            if (
                not colon
                or not model.strip()
                or not count.isdecimal()
                or len(count) > 3
                or len(model) > 48
                or not model.isprintable()
            ):
                raise BadValue(
                    f"{shown(value)} names no model and count", "write 1, H100:1 or {count: 1, memory: 16GiB+}"
                )
            return Gpus(_GPU_COUNT.kind.read(int(count), place), names=(model.strip(),))
        return Gpus(_GPU_COUNT.kind.read(value, place))


GPUS: Final = _GpuKind()

_CPUS: Final = Key("cpus", s.CPU_RANGE, Range(1000), "CPU cores, thousandths allowed.", shown_default="1+")
_MEMORY: Final = Key(
    "memory", s.MIB_RANGE, Range(512), "Main memory; the low end is the job's hard limit.", shown_default="512MiB+"
)
_DISK: Final = Key("disk", s.MIB_RANGE, Range(1024), "Space for inputs, outputs and scratch.", shown_default="1GiB+")
_SHM: Final = Key("shm", s.MIB_SIZE, 64, "Shared memory of a container.", shown_default="64MiB")
_GPUS: Final[Key[Gpus]] = Key("gpus", GPUS, Gpus(), "Cards the job needs.", shown_default="0")
RESOURCES: Final = Table(
    (_CPUS, _MEMORY, _DISK, _SHM, _GPUS),
    lambda v: Resources(v[_CPUS], v[_MEMORY], v[_DISK], v[_SHM], v[_GPUS]),
    aliases={"cpu": "cpus", "ram": "memory", "mem": "memory", "gpu": "gpus", "accelerators": "gpus", "shm_size": "shm"},
)

_WALL: Final = Key("wall", s.duration(MAX_WALL_DAYS), 300, "Beyond this the run ends as `timeout`.", shown_default="5m")
_FUEL: Final = Key(
    "fuel",
    s.FUEL,
    0,
    "Beyond this the run ends as `fuel`; the only limit that is the same on every machine.",
    shown_default="40e9 for each second of `wall`",
)
_PIDS: Final = Key("pids", s.number(1, 65_536), 64, "Processes and threads at once.")
_STDOUT: Final = Key(
    "stdout",
    s.size_up_to(256, ", and put more into an output folder"),
    1 << 20,
    "Bytes kept of stdout and of stderr.",
    shown_default="1MiB",
)
LIMITS: Final = Table(
    (_WALL, _FUEL, _PIDS, _STDOUT),
    lambda v: Limits(v[_WALL], v[_FUEL], v[_PIDS], v[_STDOUT]),
    aliases={"timeout": "wall", "time": "wall", "max_duration": "wall"},
)

_ALLOW: Final = Key(
    "allow",
    Items(
        s.pattern(
            "a host name", r"(?:\*\.)?[a-z0-9-]{1,63}(?:\.[a-z0-9-]{1,63}){0,8}", "write a name such as example.org"
        ),
        32,
        unique=True,
    ),
    REQUIRED,
    "Hosts the job may reach.",
)
_NETWORK_TABLE: Final = Table((_ALLOW,), lambda v: Network(v[_ALLOW]), "`{allow: [host, ...]}`")


class _NetworkKind:
    """``none`` or ``{allow: [...]}``."""

    words = "`none` or `{allow: [host, ...]}`"

    @property
    def json(self) -> dict[str, Any]:
        return {"anyOf": [{"const": "none"}, _NETWORK_TABLE.json]}

    def read(self, value: object, place: Place) -> Network:
        if value == "none":
            return Network()
        if not isinstance(value, dict):
            raise BadValue(
                f"{shown(value)} is neither none nor a list of hosts", "write none, or {allow: [example.org]}"
            )
        return _NETWORK_TABLE.read(value, place)


NETWORK: Final = _NetworkKind()

_LEVEL: Final = Key("level", Choice(*LEVELS), "exact", "How two results are compared.")
_CLASS: Final = Key("class", Choice("any", "same"), "any", "Whether only hardware of the same numeric class may check.")
_AUDIT: Final = Key("audit", s.AUDIT, None, "Share of results that your node re-executes.", shown_default="auto")
_RTOL: Final = Key("rtol", s.TOLERANCE, 0, "numeric: relative tolerance.")
_ATOL: Final = Key("atol", s.TOLERANCE, 0, "numeric: absolute tolerance.")
_FRACTION: Final = Key("fraction", s.SHARE, 1_000_000, "numeric: share of elements that must agree.", shown_default="1")
_CANONICALISERS: Final = Key(
    "canonicalisers",
    Items(Choice(*CANONICALISERS), 8, unique=True),
    (),
    "canonical: built-in normal forms, in order.",
)
_HAMMING: Final = Key("hamming", s.number(0, 64), 0, "perceptual: bits two image hashes may differ in.")
_N: Final = Key("n", s.number(0, 9), 0, "replicate: providers that run the job.")
_AGREE: Final = Key("agree", s.number(0, 9), 0, "replicate: how many must agree.")
_ENFORCEMENT: Final = Key(
    "enforcement",
    Choice("self", "panel"),
    "self",
    "Who decides about a mismatch: you, or mediators who can take the provider's collateral.",
)
VERIFY: Final = Table(
    (_LEVEL, _CLASS, _AUDIT, _RTOL, _ATOL, _FRACTION, _CANONICALISERS, _HAMMING, _N, _AGREE, _ENFORCEMENT),
    lambda v: Verify(
        v[_LEVEL],
        v[_CLASS],
        v[_AUDIT],
        v[_RTOL],
        v[_ATOL],
        v[_FRACTION],
        v[_CANONICALISERS],
        v[_HAMMING],
        v[_N],
        v[_AGREE],
        v[_ENFORCEMENT],
    ),
    aliases={"mode": "level", "replicas": "n"},
)

_CKPT_PATH: Final = Key("path", s.GUEST_PATH, REQUIRED, "The folder to save.")
_CKPT_INTERVAL: Final = Key("interval", s.SECONDS, 600, "How often.", shown_default="10m")
CHECKPOINT: Final = Table((_CKPT_PATH, _CKPT_INTERVAL), lambda v: Checkpoint(v[_CKPT_PATH], v[_CKPT_INTERVAL]))
