"""Are two outputs the same, at the level that their job names, and what are an output's fingerprints? Looked at in processes
of their own, which are locked in.

The rules are pure (`protocols.verify.comparators`, `protocols.disputes.marks`); this reads the bytes for them. Decoders of
strangers' media, and normal forms over megabytes, run where they can neither hurt the node nor hold its loop.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import trio

from mesh.base.errors import MeshError
from mesh.exec.compare_child import CPU_S, CompareAnswer, CompareRequest, End
from mesh.exec.mark_child import CPU_S_PER_MIB, MarkAnswer, MarkRequest
from protocols.job.canonical import CanonicalVerify
from protocols.units import Hash32
from protocols.verify.comparators import Comparison

__all__ = ["MAX_ANSWER_CHARS", "ComparingFailed", "End", "Uncomparable", "compare_folders", "mark_folder"]

T = TypeVar("T")

COMPARE: Final = "mesh.exec.compare_child"
MARK: Final = "mesh.exec.mark_child"
WALL_FACTOR: Final = 2
"""On a machine that gives it half a core."""
MAX_ANSWER_CHARS: Final = 300
"""Of what is said about a comparison: it may quote a stranger's file name."""


class Uncomparable(Exception):
    """No verdict may rest on these two outputs; the text says why."""


class ComparingFailed(MeshError):
    """The comparison could not be carried out on this machine; nothing is known about the outputs."""


class _Child:
    """One process, from its start to its end in one thread: it dies when that thread does."""

    def __init__(self, module: str, folders: tuple[Path, ...], request: bytes, cpu_s: int) -> None:
        self._command = [sys.executable, "-m", module, str(os.getpid()), *map(str, folders)]
        self._request = request
        self._wall_s = WALL_FACTOR * cpu_s
        self._process: subprocess.Popen[bytes] | None = None
        self._unwanted = False

    def work(self) -> tuple[int, bytes, bytes]:
        """Start it and wait; (exit status, what it answered, what it said)."""
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        with subprocess.Popen(  # our own interpreter and module
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
        ) as self._process:
            if self._unwanted:
                self._process.kill()
            try:
                out, talk = self._process.communicate(self._request, timeout=self._wall_s)
            except subprocess.TimeoutExpired:
                self._process.kill()
                out, talk = self._process.communicate()
        return self._process.returncode, out, talk

    async def kill_when_cancelled(self) -> None:
        """Wait to be cancelled, and then end it."""
        try:
            await trio.sleep_forever()
        finally:
            self._unwanted = True
            if self._process is not None:
                with contextlib.suppress(ProcessLookupError):
                    self._process.kill()


async def compare_folders(
    verify: CanonicalVerify, one: Path, ended: End, other: Path, other_ended: End, *, whole: bool = False
) -> Comparison:
    """Compare two outcome folders (``stdout``, ``stderr``, ``exitCode``, ``outputs/...``) under a job's ``verify``.

    ``whole``: read also what is the same byte for byte, as when an output is compared with itself to see whether it can
    be compared at all. Raises ``Uncomparable``, also when it takes more time or memory than the bounds allow, and
    ``ComparingFailed`` when the process could not do its work. Cancelled: the process is dead.
    """
    request = msgspec.msgpack.encode(CompareRequest(verify, ended, other_ended, whole))
    answer = await _asked(
        _Child(COMPARE, (one, other), request, CPU_S), CompareAnswer, "two outputs could not be compared"
    )
    if answer.problem:
        raise Uncomparable(answer.problem[:MAX_ANSWER_CHARS])
    return Comparison(answer.same, answer.detail[:MAX_ANSWER_CHARS])


async def mark_folder(
    verify: CanonicalVerify, folder: Path, ended: End, keys: tuple[Hash32, ...], size: int
) -> tuple[Hash32, ...]:
    """The fingerprint of an outcome folder under each key, at the level of a job's ``verify``. ``size``: its bytes.

    Raises and ends as `compare_folders`.
    """
    request = msgspec.msgpack.encode(MarkRequest(verify, ended, keys))
    seconds = CPU_S + CPU_S_PER_MIB * (size >> 20)
    answer = await _asked(_Child(MARK, (folder,), request, seconds), MarkAnswer, "an output could not be fingerprinted")
    if answer.problem or len(answer.marks) != len(keys):
        raise Uncomparable(answer.problem[:MAX_ANSWER_CHARS])
    return answer.marks


async def _asked(child: _Child, kind: type[T], failed: str) -> T:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.kill_when_cancelled)
        code, out, talk = await trio.to_thread.run_sync(child.work)
        nursery.cancel_scope.cancel()
    if code < 0:
        raise Uncomparable("looking at these outputs takes more CPU time or memory than there is for it")
    try:
        return msgspec.msgpack.decode(out, type=kind)
    except msgspec.DecodeError as error:
        why = talk.decode(errors="replace").strip()[-MAX_ANSWER_CHARS:]
        raise ComparingFailed(failed, why=why, fix="mesh doctor") from error
