"""What does the fork server do? Python and its libraries load once, and every process of a devnet is a fork of that.

``python -m devnet.forks``: one JSON order per line on standard input, the new process's id as the answer. Libraries are
loaded in the order in which a devnet needs them, so that its chain runs while those of its nodes are still loading.
When standard input closes, or this process dies, everything that it forked is killed.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Final, NoReturn

__all__ = ["PROGRAMS", "serve"]

PROGRAMS: Final[dict[str, tuple[str, tuple[str, ...]]]] = {
    "chain": ("devnet.chain.server", ()),
    "purse": ("devnet.purse", ("mesh.chain.provider", "eth_account", "web3")),
    "mesh": ("mesh.cli.app", ("mesh.cli.daemon", "mesh.chain.provider", "eth_account")),
    "liar": ("devnet.scenarios.hostile.liar", ("mesh.cli.daemon",)),
    "double": ("devnet.scenarios.hostile.double", ("mesh.cli.daemon",)),
    "noisy": ("devnet.scenarios.hostile.noisy", ("mesh.cli.daemon",)),
    "near-seat": ("devnet.scenarios.hostile.noisy", ("mesh.cli.daemon",)),
    **dict.fromkeys(
        (
            "slanderer",
            "withholding-slanderer",
            "ransomer",
            "empty-ransomer",
            "mute-liar",
            "silent-liar",
            "key-keeper",
            "freeloader",
        ),
        ("devnet.scenarios.hostile.parties", ("mesh.cli.daemon",)),
    ),
    **dict.fromkeys(
        ("silent-seat", "junk-seat", "split-seats", "split-near-seats"),
        ("devnet.scenarios.hostile.benches", ("mesh.cli.daemon",)),
    ),
}
"""Name of a program -> the module whose ``main`` it is, and what else it will import."""
_DIE_WITH_PARENT: Final = 1
"""PR_SET_PDEATHSIG, prctl(2). The server has one thread, so its death is the process's."""


def _load(program: str) -> None:
    """Import what a program needs. Collecting garbage meanwhile finds none and costs a twentieth of the time."""
    module, more = PROGRAMS[program]
    gc.disable()
    for name in (module, *more):
        importlib.import_module(name)
    gc.enable()
    gc.freeze()


def _become(order: dict[str, object]) -> NoReturn:
    """In the fork: drop everything of the server and be the program."""
    code = 1
    try:
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
        os.setsid()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(str(order["log"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        talk = os.dup(log)
        if "talk" in order:
            talk = os.open(str(order["talk"]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        for source, target in ((null, 0), (log, 1), (talk, 2)):
            os.dup2(source, target)
        os.closerange(3, 256)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115
        os.chdir(str(order["cwd"]))
        environment, arguments = order["environment"], order["arguments"]
        os.environ.clear()
        os.environ.update(environment if isinstance(environment, dict) else {})
        program = str(order["program"])
        sys.argv = [program, *map(str, arguments if isinstance(arguments, list) else [])]
        importlib.import_module(PROGRAMS[program][0]).main()
        code = 0
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:  # the last word of a process is its log's
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if "ended" in order:
            Path(str(order["ended"])).write_text(str(code))
        os._exit(code)


def serve() -> NoReturn:
    """Answer orders until standard input closes."""
    children: set[int] = set()

    def reap(*_: object) -> None:
        with contextlib.suppress(ChildProcessError):
            while (ended := os.waitpid(-1, os.WNOHANG)[0]) != 0:
                children.discard(ended)

    signal.signal(signal.SIGCHLD, reap)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        order = json.loads(line)
        _load(order["program"])
        pid = 0
        if "arguments" in order:
            pid = os.fork()
            if pid == 0:
                _become(order)
            children.add(pid)
        print(pid, flush=True)
    for pid in list(children):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    os._exit(0)  # nothing is left to do, and taking a loaded interpreter apart takes half a second


if __name__ == "__main__":
    serve()
