"""How much may a job write, and how does it end when it writes more?"""

from mesh.exec.wasm.lean import Final, Iterable

__all__ = ["EndKind", "JobEnded", "Quota", "charge_all"]


class EndKind:
    """Why the host ends a job from inside a call."""

    EXIT: Final = "exit"
    OUTPUT_LIMIT: Final = "output_limit"
    DISK_LIMIT: Final = "disk_limit"


class JobEnded(BaseException):
    """Unwinds the guest. ``exit_code`` counts for ``EXIT`` alone; ``detail`` is for the owner of the job.

    Not an ``Exception``, so that nothing between the call and the runner can swallow it.
    """

    def __init__(self, kind: str, *, exit_code: int = -1, detail: str = "") -> None:
        super().__init__(kind)
        self.kind = kind
        self.exit_code = exit_code
        self.detail = detail


class Quota:
    """Bytes and files used against their limits. Logical sizes count, so a hole costs as much as data."""

    def __init__(self, name: str, max_bytes: int, max_files: int) -> None:
        self._name = name
        self._max_bytes = max_bytes
        self._max_files = max_files
        self.used_bytes = 0
        self.used_files = 0

    def charge(self, size_bytes: int, files: int) -> None:
        """Take (or, negative, give back). Ends the job where a limit would be passed; nothing is taken then."""
        if size_bytes > 0 and self.used_bytes + size_bytes > self._max_bytes:
            raise JobEnded(EndKind.DISK_LIMIT, detail=f"{self._name}: more than {self._max_bytes} bytes written")
        if files > 0 and self.used_files + files > self._max_files:
            raise JobEnded(EndKind.DISK_LIMIT, detail=f"{self._name}: more than {self._max_files} files created")
        self.used_bytes += size_bytes
        self.used_files += files


def charge_all(quotas: Iterable[Quota], size_bytes: int, files: int) -> None:
    """Charge several quotas for one change."""
    for quota in quotas:
        quota.charge(size_bytes, files)
