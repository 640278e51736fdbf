"""Are two outputs the same, at the level that their job names? Looked at in a process of its own, which is locked in.

The rule is pure (`protocols.verify.comparators`); this reads the bytes for it. Decoders of strangers' media, and normal
forms over megabytes, run where they can neither hurt the node nor hold its loop.
"""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

import msgspec
import trio

from mesh.base.errors import MeshError
from mesh.exec.compare_child import CPU_S, CompareAnswer, CompareRequest, End
from protocols.job.canonical import CanonicalVerify
from protocols.verify.comparators import Comparison

__all__ = ["MAX_ANSWER_CHARS", "ComparingFailed", "End", "Uncomparable", "compare_folders"]

WALL_S: Final = 2 * CPU_S
"""On a machine that gives it half a core."""
MAX_ANSWER_CHARS: Final = 300
"""Of what is said about a comparison: it may quote a stranger's file name."""


class Uncomparable(Exception):
    """No verdict may rest on these two outputs; the text says why."""


class ComparingFailed(MeshError):
    """The comparison could not be carried out on this machine; nothing is known about the outputs."""


class _Child:
    """One process, from its start to its end in one thread: it dies when that thread does."""

    def __init__(self, one: Path, other: Path, request: bytes) -> None:
        self._command = [sys.executable, "-m", "mesh.exec.compare_child", str(os.getpid()), str(one), str(other)]
        self._request = request
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
                out, talk = self._process.communicate(self._request, timeout=WALL_S)
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


async def compare_folders(verify: CanonicalVerify, one: Path, ended: End, other: Path, other_ended: End) -> Comparison:
    """Compare two outcome folders (``stdout``, ``stderr``, ``exitCode``, ``outputs/...``) under a job's ``verify``.

    Raises ``Uncomparable``, also when it takes more time or memory than the bounds allow, and ``ComparingFailed`` when
    the process could not do its work. Cancelled: the process is dead.
    """
    request = msgspec.msgpack.encode(CompareRequest(verify, ended, other_ended))
    child = _Child(one, other, request)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(child.kill_when_cancelled)
        code, out, talk = await trio.to_thread.run_sync(child.work)
        nursery.cancel_scope.cancel()
    if code < 0:
        raise Uncomparable(f"comparing these outputs takes more than {CPU_S} s of CPU time, or too much memory")
    try:
        answer = msgspec.msgpack.decode(out, type=CompareAnswer)
    except msgspec.DecodeError as error:
        why = talk.decode(errors="replace").strip()[-MAX_ANSWER_CHARS:]
        raise ComparingFailed("two outputs could not be compared", why=why, fix="mesh doctor") from error
    if answer.problem:
        raise Uncomparable(answer.problem[:MAX_ANSWER_CHARS])
    return Comparison(answer.same, answer.detail[:MAX_ANSWER_CHARS])
