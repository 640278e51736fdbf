"""What did a child and the zygote say about a run?  Read by the node; a child's words may be a stranger's."""

import struct
from typing import Final

from msgspec import Struct

from mesh.exec.wasm.wire import ENDED, RESULT

__all__ = ["ChildLied", "CompileResult", "Ended", "JobResult", "SandboxReport"]


_MAX_CODE: Final = 40
"""Characters of a refusal's code: ours are shorter."""

_MAX_DETAIL: Final = 500
"""Characters of a child's text that are kept."""


class ChildLied(Exception):
    """A child wrote something that our own code never writes: it is no longer ours. It is killed and nothing it said
    counts.
    """


class Ended(Struct, frozen=True):
    """A child is dead and reaped. ``status`` is what wait(2) gave, ``reason`` an ``EndReason``."""

    status: int
    reason: int
    wall_ms: int
    cpu_ms: int
    max_rss_bytes: int
    detail: str = ""

    @classmethod
    def read(cls, data: bytes) -> "Ended":
        """What ``pack_ended`` packed."""
        status, reason, wall_ms, cpu_ms, max_rss_bytes = ENDED.unpack_from(data)
        return cls(status, reason, wall_ms, cpu_ms, max_rss_bytes, data[ENDED.size :].decode(errors="replace"))


class JobResult(Struct, frozen=True, kw_only=True):
    """The child's own account of a run. ``state`` is the number of an ``OutcomeState``."""

    state: int
    exit_code: int
    fuel: int
    memory_bytes: int
    stdout_truncated: bool
    stderr_truncated: bool
    artifact_refused: bool = False
    """wasmtime would not load the artifact: the node throws it away and compiles anew."""
    detail: str

    @classmethod
    def read(cls, payload: bytes) -> "JobResult":
        """What ``pack_result`` packed.

        Raises:
            ChildLied: it is too short.
        """
        try:
            fixed = RESULT.unpack_from(payload)
        except struct.error as error:
            raise ChildLied(f"a result that is none: {error}") from None
        state, exit_code, fuel, memory_bytes, *flags = fixed
        stdout_truncated, stderr_truncated, artifact_refused = map(bool, flags)
        return cls(
            state=state,
            exit_code=exit_code,
            fuel=fuel,
            memory_bytes=memory_bytes,
            stdout_truncated=stdout_truncated,
            stderr_truncated=stderr_truncated,
            artifact_refused=artifact_refused,
            detail=payload[RESULT.size :].decode(errors="replace"),
        )


class CompileResult(Struct, frozen=True):
    """``code`` is empty for success, else a ``JobRefused`` code."""

    code: str
    detail: str

    @classmethod
    def read(cls, payload: bytes) -> "CompileResult":
        """What ``pack_compiled`` packed."""
        code, _, detail = payload.decode(errors="replace").partition("\0")
        return cls(code[:_MAX_CODE], detail[:_MAX_DETAIL])


class SandboxReport(Struct, frozen=True, kw_only=True):
    """What the sandbox check saw. ``leaks`` names what was possible and should not have been."""

    landlock_abi: int
    seccomp: bool
    uid: int
    leaks: tuple[str, ...]

    @classmethod
    def read(cls, payload: bytes) -> "SandboxReport":
        """What ``pack_check`` packed.

        Raises:
            ChildLied: it is something else.
        """
        try:
            landlock_abi, seccomp, uid, *leaks = payload.decode().split("\0")
            return cls(landlock_abi=int(landlock_abi), seccomp=seccomp == "1", uid=int(uid), leaks=tuple(leaks))
        except ValueError as error:
            raise ChildLied(f"a report that is none: {error}") from None
