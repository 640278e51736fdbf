"""What does a node look like whose machine is another? The shipped one, but for the order and the last digits of outputs.

It runs the job, as any node, and then writes each file of its outputs as its machine would: JSON with the keys the other way
round and spaced in its own way, numbers larger by a share, PNG packed by another encoder with pixels that are up to that share
of the scale brighter or darker. The job's variable ``NOISE`` names the share: ``1e-9`` is another processor, ``0.5`` is another
result. A ``near-seat`` adds less than anybody minds, and each another share. As a program (`main`) it takes what `mesh` takes.
"""

import json
import re
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt
import trio

import mesh.node
from devnet.scenarios.hostile.altered import alter
from mesh.cli.app import main as mesh_main
from mesh.exec.decoding import image_in
from mesh.exec.executor import Outcome
from mesh.runner import JobRunner
from protocols.deals.states import LocalResult
from protocols.hashing import sha256
from protocols.job.canonical import CanonicalJob
from protocols.units import DealId, RunId

__all__ = ["Machine", "NearRunner", "NoisyRunner", "disturb", "main", "stand_near"]

_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?")
_STEP: Final = 1e-12
_STEPS: Final = 10_000
"""The noise of a near machine is a part in 10^12, to 10^4 of them: far below what a job would call another result."""
_NEAR_LEVELS: Final = 2
"""By so much a near machine's pixels differ at most, of 255."""
_WHITE: Final = 255
_COLOURS: Final = {1: 0, 2: 4, 3: 2, 4: 6}
"""A PNG's colour type by its channels."""


class Machine(msgspec.Struct, frozen=True):
    """How one machine's outputs differ from another's."""

    place: bytes
    """Its own 32 bytes: no two machines have the same noise."""
    share: float
    """By which its numbers are larger; 0 leaves them as they are spelt."""
    levels: int
    """By which its pixels differ at most."""

    @classmethod
    def told(cls, place: bytes, noise: str) -> "Machine":
        """One whose noise a job names."""
        return cls(place, float(noise), round(_WHITE * min(float(noise), 1.0)))

    @classmethod
    def near(cls, place: bytes) -> "Machine":
        """One whose noise nobody minds."""
        return cls(place, (1 + int.from_bytes(place[:4]) % _STEPS) * _STEP, _NEAR_LEVELS)


class NoisyRunner(JobRunner):
    """Names an output that differs from the job's as another machine's would."""

    _noise = "0"

    async def _run(
        self, deal_id: DealId, run_id: RunId, job: CanonicalJob, work: Path, cancel: trio.Event
    ) -> LocalResult:
        self._noise = dict(job.env).get("NOISE", "0")
        return await super()._run(deal_id, run_id, job, work, cancel)

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        machine = Machine.told(_place(self._scratch), self._noise)
        await trio.to_thread.run_sync(disturb, folder / "outputs", machine)
        return await super()._named(deal_id, folder, outcome)


class NearRunner(JobRunner):
    """Each node with this runner is a machine of its own: a little away from every other, whatever the job says."""

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        await trio.to_thread.run_sync(disturb, folder / "outputs", Machine.near(_place(self._scratch)))
        return await super()._named(deal_id, folder, outcome)


def _place(scratch: Path) -> bytes:
    return sha256(str(scratch).encode())


def disturb(outputs: Path, machine: Machine) -> None:
    """Write every file below ``outputs`` as this machine would have."""
    for file in sorted(outputs.rglob("*")):
        if not file.is_file():
            continue
        picture = image_in(file.read_bytes())
        if picture is not None:
            file.write_bytes(_png(_grained(picture, machine)))
            continue
        text = file.read_text()
        if file.suffix == ".json":
            text = _written(json.loads(text), machine)
        file.write_text(_NUMBER.sub(lambda found: _larger(found[0], machine.share), text))


def _written(value: object, machine: Machine) -> str:
    colon = ":" + " " * (machine.place[1] % 8)
    return json.dumps(_turned(value), indent=1 + machine.place[0] % 8, separators=(",", colon))


def _larger(number: str, share: float) -> str:
    if not share:
        return number
    if "." in number:
        return f"{float(number) * (1 + share):.12f}"
    return str(round(int(number) * (1 + share)))


def _turned(value: object) -> object:
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(one) for one in value] if isinstance(value, list) else value


def _grained(picture: npt.NDArray[Any], machine: Machine) -> npt.NDArray[Any]:
    grain = np.random.default_rng(list(machine.place)).integers(-machine.levels, machine.levels + 1, picture.shape)
    return np.clip(picture + grain, 0, _WHITE).astype(np.uint8)


def _png(picture: npt.NDArray[Any]) -> bytes:
    """An 8-bit PNG of (height, width, channels), packed by zlib; every row without a filter."""
    height, width, channels = picture.shape
    rows = b"".join(b"\0" + row.tobytes() for row in picture)
    head = struct.pack(">IIBBBBB", width, height, 8, _COLOURS[channels], 0, 0, 0)
    parts = ((b"IHDR", head), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in parts)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


_RUNNERS: Final = {"noisy": NoisyRunner, "near-seat": NearRunner}


def stand_near() -> None:
    """From now on nodes of this process are built with the runner of a near machine."""
    alter(mesh.node, "JobRunner", NearRunner)


def main() -> None:
    """`mesh`, built with the runner that the program is called after."""
    alter(mesh.node, "JobRunner", _RUNNERS[sys.argv[0]])
    mesh_main()
