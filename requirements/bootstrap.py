"""How does a fresh clone get its virtual environment?

    python3 requirements/bootstrap.py demo|dev|node|contracts

Standard library only, because nothing else is there yet. Makes ``.venv`` (``.venv-contracts`` for the checkers of the
contracts, which want an older web3 than ours), fetches what the lock file of the set names
into a folder of wheels that outlives the clone, and installs from that folder with hashes checked and the network
unused. Hence the second clone needs no network, and the second call in one clone does nothing at all.

Exit code 0: the set is installed. 1: it is not; the last lines say what is missing and what to type.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import NoReturn

__all__ = ["SETS", "debian_packages_missing", "install", "main", "wheel_folder"]

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "requirements"
OLDEST_PYTHON = (3, 11)

SETS = {
    # `dev` holds all of `demo`, at the same versions, so it stands in for it.
    "demo": ("devnet.txt", ("demo", "dev")),
    "dev": ("dev.txt", ("dev",)),
    "node": ("node.txt", ("node",)),
    "contracts": ("contracts.txt", ("contracts",)),
}
"""Name of a set -> its lock file, and the sets that make it unnecessary."""

APART = {"contracts": ".venv-contracts"}
"""Sets that do not go with ours into one environment, and the folder of theirs."""

OLDEST_NODE = 22
"""js-libp2p 3 uses Promise.withResolvers, which Node.js has since 22."""


def fail(what: str, *, then: str) -> NoReturn:
    """End with the problem on one line and the next command to type on the other."""
    print(f"setup: {what}", file=sys.stderr)
    print(f"setup: {then}", file=sys.stderr)
    raise SystemExit(1)


def say(text: str) -> None:
    """Progress, on stderr: stdout belongs to the command that is being set up for."""
    print(f"setup: {text}", file=sys.stderr, flush=True)


def debian_packages_missing() -> list[str]:
    """What a source distribution could want in order to compile and this machine lacks, as Debian package names."""
    include = Path(sysconfig.get_path("include"))
    missing = []
    if shutil.which("gcc") is None and shutil.which("cc") is None:
        missing.append("gcc")
    if not (include / "Python.h").exists():
        missing.append("python3-dev")
    if not any(Path(folder, "gmp.h").exists() for folder in ("/usr/include", f"/usr/include/{_multiarch()}")):
        missing.append("libgmp-dev")
    return missing


def _multiarch() -> str:
    return sysconfig.get_config_var("MULTIARCH") or "none"


def check_python() -> None:
    """End with the Debian package to install when this Python is too old or cannot make virtual environments."""
    have = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        fail(
            f"Python 3.11 or newer is needed, and {sys.executable} is {have}.",
            then="On Debian 12 or newer: apt-get install python3 python3-venv. Elsewhere: make PYTHON=/path/to/python3",
        )
    for module in ("venv", "ensurepip"):
        if importlib.util.find_spec(module) is None:
            fail(
                f"{sys.executable} cannot make virtual environments: it has no module `{module}`.",
                then="On Debian: apt-get install python3-venv, then the same command again.",
            )


def wheel_folder() -> Path:
    """Where fetched distributions are kept: ``MESH_WHEELS``, else a folder in the user's cache."""
    named = os.environ.get("MESH_WHEELS")
    if named:
        return Path(named)
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "mesh-compute" / "wheels"


def digest(*parts: bytes) -> str:
    """A name for exactly these contents on this interpreter."""
    state = hashlib.sha256(f"{sys.implementation.cache_tag} {platform.machine()}".encode())
    for part in parts:
        state.update(hashlib.sha256(part).digest())
    return state.hexdigest()[:32]


def packaging_text() -> bytes:
    """The part of pyproject.toml that an editable install freezes: from [build-system] to the end of [tool.hatch]."""
    text = (ROOT / "pyproject.toml").read_bytes()
    return text.split(b"# --- tests ---")[0]


class Environment:
    """The virtual environment of this clone. Interrupted work is found by its missing stamp and done again."""

    def __init__(self, root: Path, name: str = ".venv") -> None:
        self.folder = root / name
        self.python = self.folder / "bin" / "python"
        self.editable_stamp = self.folder / ".installed-editable"

    def works(self) -> bool:
        """Whether it exists, its Python still starts and is of our minor version, and it has a pip."""
        if not self.python.exists():
            return False
        call = [str(self.python), "-c", "import pip, sys; print(sys.version_info[:2])"]
        answer = subprocess.run(call, capture_output=True, text=True, check=False)
        return answer.returncode == 0 and answer.stdout.strip() == str(sys.version_info[:2])

    def make(self) -> None:
        """Make it, from nothing if what is there does not work."""
        if self.works():
            return
        say(f"making {self.folder.name} with Python {platform.python_version()}")
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(self.folder)], check=True)

    def pip(self, *words: str, silent: bool = False) -> bool:
        """Run its pip; whether it succeeded. Files are compiled even where the caller's environment says not to."""
        env = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
        call = [str(self.python), "-m", "pip", "--disable-pip-version-check", *words]
        return subprocess.run(call, env=env, capture_output=silent, check=False).returncode == 0

    def stamp(self, name: str) -> Path:
        return self.folder / f".installed-{name}"

    def has(self, names: tuple[str, ...]) -> bool:
        """Whether one of these sets is installed exactly as its lock file says now."""
        return any(
            self.stamp(name).exists() and self.stamp(name).read_text() == digest(_lock(name).read_bytes())
            for name in names
        )


def _lock(name: str) -> Path:
    return LOCKS / SETS[name][0]


# Twice quiet: a machine's own pip settings often name places that pip then warns about, once for each package.
CHECKED = ("-qq", "--require-hashes", "--no-deps")


def arguments(lock: Path, pins: Path, wheels: Path) -> tuple[str, ...]:
    """What fetching and installing ``pins``, all or some of ``lock``, have in common."""
    # What builds the others comes first; from then on nothing is fetched into an isolated build.
    isolated = () if lock.name == "build.txt" else ("--no-build-isolation", "--use-pep517")
    return (*CHECKED, *isolated, "--find-links", str(wheels), "-r", str(pins))


def lacking(lock: Path, wheels: Path) -> str:
    """The pins of ``lock`` of which no file with a right hash is in ``wheels``, in the same format."""
    have = {hashlib.sha256(path.read_bytes()).hexdigest() for path in wheels.glob("*.*") if path.is_file()}
    pins = re.split(r"\n(?=\S)", lock.read_text())
    return "\n".join(pin for pin in pins if have.isdisjoint(re.findall(r"sha256:([0-9a-f]{64})", pin)))


def fetch(environment: Environment, lock: Path, wheels: Path) -> None:
    """Have every distribution that ``lock`` names in ``wheels``; ends the program when one cannot be had."""
    say(f"fetching what requirements/{lock.name} names, once, into {wheels}")
    # pip asks the index about every pin it is given, also about those it has.
    wanted = wheels / f".wanted-{lock.name}"
    wanted.write_text(lacking(lock, wheels))
    if environment.pip("download", *arguments(lock, wanted, wheels), "--dest", str(wheels), "--retries", "2"):
        return
    missing = debian_packages_missing()
    hint = f"On Debian: apt-get install {' '.join(missing)}. " if missing else ""
    fail(
        f"pip could not fetch what requirements/{lock.name} names; its own words are above.",
        then=f"{hint}Check that a package index can be reached, then the same command again.",
    )


def install(environment: Environment, lock: Path, wheels: Path) -> None:
    """Install ``lock``, without the network where ``wheels`` has it all; ends the program when that fails."""
    call = ("install", *arguments(lock, lock, wheels), "--no-index")
    if environment.pip(*call, silent=True):
        return
    fetch(environment, lock, wheels)
    if environment.pip(*call):
        return
    missing = debian_packages_missing()
    packages = f"apt-get install {' '.join(missing)}" if missing else "nothing that it needs to compile is missing"
    fail(
        f"pip could not install requirements/{lock.name}; its own words are above.",
        then=f"On Debian: {packages}. To start afresh: rm -rf {environment.folder.name} {wheels}",
    )


def install_set(name: str) -> None:
    """Install one set and, but for `node` and those apart, this repository itself in editable form."""
    lock, provided_by = _lock(name), SETS[name][1]
    environment = Environment(ROOT, APART.get(name, ".venv"))
    editable = (
        name == "node"
        or name in APART
        or (environment.editable_stamp.exists() and environment.editable_stamp.read_text() == digest(packaging_text()))
    )
    if environment.has(provided_by) and editable:
        return
    check_python()
    wheels = wheel_folder()
    wheels.mkdir(parents=True, exist_ok=True)
    with (wheels / ".lock").open("w") as held:
        # Two clones that set up at once take turns: pip does not expect its folder to change under it.
        fcntl.flock(held, fcntl.LOCK_EX)
        environment.make()
        if not environment.has(provided_by):
            install(environment, LOCKS / "build.txt", wheels)
            say(f"installing what requirements/{lock.name} names")
            install(environment, lock, wheels)
            environment.stamp(name).write_text(digest(lock.read_bytes()))
        if not editable:
            here = ("install", "-qq", "--no-deps", "--no-index", "--no-build-isolation", "-e", str(ROOT))
            if not environment.pip(*here):
                fail("pip could not install this repository; its own words are above.", then="Check pyproject.toml.")
            environment.editable_stamp.write_text(digest(packaging_text()))
    say("ready")


def node_is_new_enough() -> bool:
    """Whether the machine has its own Node.js that js-libp2p can run on, and npm."""
    node = shutil.which("node")
    if node is None or shutil.which("npm") is None:
        return False
    answer = subprocess.run([node, "--version"], capture_output=True, text=True, check=False).stdout
    major = answer.strip().lstrip("v").split(".")[0]
    return major.isdigit() and int(major) >= OLDEST_NODE


def main(words: list[str]) -> int:
    """Install the set that the one word names."""
    if len(words) != 1 or words[0] not in SETS:
        fail(f"expected one of: {', '.join(SETS)}.", then="Try: make setup")
    if words[0] == "node" and node_is_new_enough():
        return 0
    install_set(words[0])
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
