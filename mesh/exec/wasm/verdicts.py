"""What did a child and the zygote say about a run?  Read by the node; a child's words may be a stranger's."""

import struct

import msgspec
from msgspec import Struct

from mesh.exec.wasm.wire import ENDED, RESULT

__all__ = ["ChildLied", "CompileResult", "Ended", "JobResult", "SandboxReport"]


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

    def pack(self) -> bytes:
        """For the report pipe; the node decodes it by its type."""
        return msgspec.msgpack.encode(self)


class SandboxReport(Struct, frozen=True, kw_only=True):
    """What the sandbox check saw. ``leaks`` names what was possible and should not have been."""

    landlock_abi: int
    seccomp: bool
    uid: int
    leaks: tuple[str, ...]
    detail: str

    def pack(self) -> bytes:
        """For the report pipe; the node decodes it by its type."""
        return msgspec.msgpack.encode(self)
