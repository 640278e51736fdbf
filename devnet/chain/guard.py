"""How does a program that does not watch its parent end with it? ``python -m devnet.chain.guard PROGRAM ARGS...``

Runs the program and ends it when standard input closes, on SIGTERM, or, by the kernel's hand, when this process is
killed. The kernel's "signal on parent's death" counts the death of the *thread* that started the child, and trio starts
processes from threads that come and go: hence a process whose main thread does nothing else.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
from types import FrameType

__all__ = ["main"]


def main() -> int:
    """Run the program named by the arguments; its exit code is ours."""
    watched = ["setpriv", "--pdeathsig", "KILL"] if shutil.which("setpriv") else []
    with subprocess.Popen([*watched, *sys.argv[1:]], stdin=subprocess.DEVNULL, start_new_session=True) as child:

        def end(_signal: int, _frame: FrameType | None) -> None:
            _kill_all(child)

        signal.signal(signal.SIGTERM, end)
        threading.Thread(target=_end_with_stdin, args=(child,), daemon=True).start()
        return child.wait()


def _end_with_stdin(child: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    _kill_all(child)


def _kill_all(child: "subprocess.Popen[bytes]") -> None:
    """The program and what it started itself: its session's leader is nobody else."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main())
