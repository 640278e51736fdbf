"""Would the contract tests notice a bug? Plants each bug of the corpus, compiles, tests, and names those that survive.

``python -m tests.contracts.mutants [NAME ...] [--changed-since REF [--more N]] [--within SECONDS] [--jobs N] [--list]``

A mutant is old text, new text and the rule that falls, in a ``*.toml`` beside this file. Each is planted in a copy of
contracts and tests, so the artifact still matches its source and only a broken rule can be what fails. The tests run
without shrinking and with the same random examples every time. Before any mutant they run on the same quick compilation
without one, and must pass. Needs Node.js (``npm ci --ignore-scripts``).
"""

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
SOURCES: Final = Path("protocols/contracts")
COMPILE_S: Final = 300
TEST_S: Final = 600
"""A mutant that makes the tests hang is caught, but later than this nobody waits."""
QUIET_CONFTEST: Final = '''"""No shrinking, and the same examples for every mutant."""

from hypothesis import HealthCheck, Phase, settings

settings.register_profile(
    "mutants",
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
settings.load_profile("mutants")
'''
# What an artifact costs, and how it was made, would catch a mutant for no reason; which tests there are, without one.
BLIND: Final = (
    "--ignore=tests/contracts/test_gas.py",
    "--ignore=tests/contracts/test_rules_are_named.py",
    "-k",
    "not artifact_was_made and not pinned_compiler",
)


LIKELY: Final = {
    "Channels.sol": ("test_channels", "test_vouchers"),
    "DealSlots.sol": ("test_lifecycle",),
    "DealTerms.sol": ("test_terms",),
    "Disputes.sol": ("test_disputes",),
    "EscrowAccounts.sol": ("test_accounts",),
    "MeshEscrow.sol": ("test_lifecycle",),
    "MeshToken.sol": ("test_token",),
}
"""Where the rules of a source are tested first."""


class Mutant(NamedTuple):
    """One planted bug; ``group`` is the file of the corpus that it stands in."""

    group: str
    name: str
    breaks: str
    file: str
    old: str
    new: str

    @property
    def contracts(self) -> str:
        """What has to be compiled anew."""
        if self.file == "MeshToken.sol":
            return "MeshToken"
        if self.file.startswith(("Panel", "Mediator")):
            return "MediatorPanel,PanelScores"
        return "MeshEscrow"

    @property
    def tests(self) -> tuple[tuple[str, ...], ...]:
        """What to run one after the other: the tests of that source, all that are quick, the thorough."""
        if self.contracts.startswith("Mediator"):
            return (("tests/contracts/panel",),)
        likely = tuple(f"tests/contracts/{name}.py" for name in LIKELY.get(self.file, ("test_sources",)))
        thorough = ("tests/contracts/test_conservation.py", "tests/contracts/test_terms.py")
        quick = ("tests/contracts", "--ignore=tests/contracts/panel", *(f"--ignore={path}" for path in thorough))
        return (likely, quick, thorough)


def corpus() -> list[Mutant]:
    """Every mutant, in the order of the files. Raises SystemExit when one does not fit its source."""
    found = [Mutant(group=path.stem, **entry) for path in sorted(HERE.glob("*.toml")) for entry in _entries(path)]
    names = [mutant.name for mutant in found]
    wrong = [f"{name}: the name stands twice" for name in sorted(set(names)) if names.count(name) > 1]
    for mutant in found:
        times = (ROOT / SOURCES / mutant.file).read_text().count(mutant.old)
        if times != 1:
            wrong.append(f"{mutant.name}: its old text stands {times} times in {mutant.file}, not once")
    if wrong:
        raise SystemExit("the corpus does not fit the sources; adapt these:\n  " + "\n  ".join(wrong))
    return found


def _entries(path: Path) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = tomllib.loads(path.read_text())["mutant"]
    return entries


def plant(contracts: str, mutant: Mutant | None, into: Path) -> str | None:
    """A copy of what the contract tests need, with the bug in it; what the compiler says when it does not compile."""
    for name in ("protocols", "tests/contracts", "pyproject.toml"):
        source, target = ROOT / name, into / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "mutants"))
        else:
            shutil.copy(source, target)
    (into / "tests/conftest.py").write_text(QUIET_CONFTEST)
    if mutant is not None:
        place = into / SOURCES / mutant.file
        place.write_text(place.read_text().replace(mutant.old, mutant.new))
    compiler = ROOT / SOURCES / "toolchain/compile.mjs"
    folder = into / SOURCES
    options = ("--only", contracts, "--sources", str(folder), "--out", str(folder / "artifacts"), "--draft")
    made = subprocess.run(["node", str(compiler), *options], capture_output=True, text=True, timeout=COMPILE_S)
    return None if made.returncode == 0 else made.stdout + made.stderr


def verdict(runs: Iterable[tuple[str, ...]], into: Path) -> str:
    """Which test fails first; empty when none does."""
    for paths in runs:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *BLIND, *paths]
        environment = {"PATH": os.environ["PATH"], "PYTHONDONTWRITEBYTECODE": "1", "HOME": str(into)}
        try:
            done = subprocess.run(command, cwd=into, env=environment, capture_output=True, text=True, timeout=TEST_S)
        except subprocess.TimeoutExpired:
            return f"no end after {TEST_S} s"
        if done.returncode == 1:
            failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return failed[0].split(" - ")[0].removeprefix("FAILED ") if failed else "a test failed"
        if done.returncode != 0:
            raise SystemExit(f"pytest could not run (exit {done.returncode}):\n{done.stdout[-2_000:]}{done.stderr}")
    return ""


def judge(contracts: str, runs: Iterable[tuple[str, ...]], mutant: Mutant | None) -> str:
    """Plant and test. What caught the mutant, or empty. One that does not compile is an error of the corpus."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        complaint = plant(contracts, mutant, Path(folder))
        if complaint is not None:
            raise SystemExit(f"{mutant.name if mutant else 'no mutant'} does not compile:\n{complaint}")
        return verdict(runs, Path(folder))


def sound(chosen: Sequence[Mutant], pool: ThreadPoolExecutor) -> None:
    """Without a mutant all tests that will be run must pass. Raises SystemExit when they do not."""
    kinds = {mutant.contracts: mutant.tests for mutant in chosen}
    broken = pool.map(lambda kind: judge(kind, kinds[kind], None), kinds)
    if found := [test for test in broken if test]:
        raise SystemExit(f"the tests fail without any mutant: {', '.join(found)}")


def choose(mutants: Sequence[Mutant], wanted: argparse.Namespace) -> list[Mutant]:
    """Those named, alone or by group; or those in changed sources, and ``more`` others that the commit picks."""
    if wanted.names:
        unknown = set(wanted.names) - {name for mutant in mutants for name in (mutant.group, mutant.name)}
        if unknown:
            raise SystemExit(f"no such mutant: {', '.join(sorted(unknown))}; --list names them")
        return [mutant for mutant in mutants if {mutant.group, mutant.name} & set(wanted.names)]
    if wanted.changed_since is None:
        return list(mutants)
    git = ("git", "-C", str(ROOT))
    diff = subprocess.check_output([*git, "diff", "--name-only", wanted.changed_since, "--", str(SOURCES)], text=True)
    head = subprocess.check_output([*git, "rev-parse", "HEAD"])
    files = {Path(line).name for line in diff.splitlines()}
    # In an order that the commit picks, so that none is always the last.
    shuffled = sorted(mutants, key=lambda mutant: hashlib.sha256(head + mutant.name.encode()).digest())
    changed = [mutant for mutant in shuffled if mutant.file in files]
    return changed + [mutant for mutant in shuffled if mutant.file not in files][: wanted.more]


def main() -> int:
    """0 when every mutant was caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.contracts.mutants", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these, or all of a file: channels, escrow ...")
    parser.add_argument("--changed-since", metavar="REF", help="only those in sources that differ from this commit")
    parser.add_argument("--more", type=int, default=5, help="and so many others (default 5)")
    parser.add_argument("--within", type=float, metavar="SECONDS", help="begin no other after so long, and name them")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="how many at a time (all cores)")
    parser.add_argument("--list", action="store_true", help="name them and stop")
    wanted = parser.parse_args()
    mutants = corpus()
    if wanted.list:
        print(*(f"{mutant.name:50} {mutant.breaks}" for mutant in mutants), sep="\n")
        return 0
    chosen = choose(mutants, wanted)
    end = time.monotonic() + (wanted.within or float("inf"))
    with ThreadPoolExecutor(wanted.jobs) as pool:
        sound(chosen, pool)
        verdicts = list(pool.map(lambda at: try_one(at, chosen, end), range(len(chosen))))
    left = [mutant.name for mutant, caught in zip(chosen, verdicts, strict=True) if caught is None]
    survived = [mutant for mutant, caught in zip(chosen, verdicts, strict=True) if caught == ""]
    print(f"{len(chosen) - len(left) - len(survived)} of {len(chosen) - len(left)} caught")
    if left:
        print(f"no time for {len(left)}, which `make mutants` tries: {', '.join(left)}")
    for mutant in survived:
        print(f"survived: {mutant.name} ({mutant.file}): {mutant.breaks}", file=sys.stderr)
    return 1 if survived or len(left) == len(chosen) else 0


def try_one(at: int, chosen: Sequence[Mutant], end: float) -> str | None:
    """What caught this mutant, said as soon as it is known; empty when nothing did, None when the time was over."""
    mutant, started = chosen[at], time.monotonic()
    if started > end:
        return None
    caught = judge(mutant.contracts, mutant.tests, mutant)
    said = f"caught by {caught}" if caught else f"SURVIVED: {mutant.breaks}"
    print(f"{at + 1:3}/{len(chosen)} {mutant.name:50} {time.monotonic() - started:5.0f} s  {said}", flush=True)
    return caught


if __name__ == "__main__":
    sys.exit(main())
