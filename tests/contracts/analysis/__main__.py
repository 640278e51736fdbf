"""Do slither, halmos and forge find anything in the contracts? Runs the three and compares with what was reviewed.

``python -m tests.contracts.analysis [slither] [halmos] [forge] [--long]``

slither reads the syntax trees that ``compile.mjs --build-info`` wrote; what it reports must be in ``slither.toml``. halmos
proves the ``check_`` functions of ``tests/contracts/forge``, forge plays its invariants, both with solc-js as compiler. No
network is used. A tool that is missing is named and passed over, and fails where MESH_CI=1.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

HERE: Final = Path(__file__).parent
ROOT: Final = HERE.parents[2]
BUILD_INFO: Final = ROOT / "build/contracts"
TOOLS: Final = ROOT / ".venv-contracts/bin"
FORGE: Final = ROOT / "node_modules/@foundry-rs"
PROJECT: Final = ROOT / "tests/contracts/forge"
TOOL_S: Final = 600
"""Longer than this no tool is waited for: the long form of the invariants takes a third of it."""
QUERY_LIMIT: Final = "60s"
"""What one question to the solver may take, on a busy machine too; all of ours together take a few seconds."""
LONG_RUNS: Final = {"FOUNDRY_INVARIANT_RUNS": "256", "FOUNDRY_INVARIANT_DEPTH": "200"}


class Missing(Exception):
    """A tool is not on this machine; the text says what brings it."""


class Finding(NamedTuple):
    """What slither has found, without the lines, which move."""

    detector: str
    where: str


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    """Run in the repository. The tools are found first; nothing else of the environment changes."""
    path = os.pathsep.join([str(TOOLS), str(_forge_folder()), os.environ["PATH"]])
    return subprocess.run(
        command,
        cwd=ROOT,
        env=os.environ | {"PATH": path, "NO_COLOR": "1", "CI": "true"} | environment,
        capture_output=True,
        text=True,
        timeout=TOOL_S,
        check=False,
    )


def _forge_folder() -> Path:
    """Where npm puts forge's executable for this machine. The package of that name is a launcher, a process more."""
    system = {"Linux": "linux", "Darwin": "darwin", "Windows": "win32"}.get(platform.system(), "")
    machine = {"x86_64": "amd64", "AMD64": "amd64", "aarch64": "arm64", "arm64": "arm64"}.get(platform.machine(), "")
    return FORGE / f"forge-{system}-{machine}" / "bin"


def _need(tool: str, hint: str) -> None:
    path = os.pathsep.join([str(TOOLS), str(_forge_folder()), os.environ["PATH"]])
    if shutil.which(tool, path=path) is None:
        raise Missing(f"{tool} is missing: {hint}")


# --- slither ---------------------------------------------------------------------------------------------------------


def slither(*, long: bool) -> str:
    """What slither reports and nobody has reviewed, or the reverse; empty when there is neither."""
    del long  # there is only one form
    _need("slither", "python3 requirements/bootstrap.py contracts")
    if not any((BUILD_INFO / "build-info").glob("*.json")):
        raise Missing(
            "no syntax trees: node protocols/contracts/toolchain/compile.mjs --check --build-info build/contracts"
        )
    reviewed = tomllib.loads((HERE / "slither.toml").read_text())
    excluded = ",".join(entry["detector"] for entry in reviewed["excluded"])
    # slither takes a folder for a project when it finds this file there, and reads no more than that it is there.
    (BUILD_INFO / "hardhat.config.js").touch()
    report = BUILD_INFO / "slither.json"
    report.unlink(missing_ok=True)
    command = ["slither", str(BUILD_INFO.relative_to(ROOT)), "--compile-force-framework", "hardhat", "--ignore-compile"]
    command += ["--npx-disable", "--hardhat-artifacts-directory", ".", "--hardhat-cache-directory", "."]
    command += ["--filter-paths", "openzeppelin", "--exclude-informational", "--exclude-optimization"]
    done = run([*command, "--exclude", excluded, "--json", str(report)])
    if not report.exists() or not (told := json.loads(report.read_text()))["success"]:
        return f"slither could not run:\n{done.stdout[-2_000:]}{done.stderr[-2_000:]}"
    if "0 contracts" in done.stderr:
        return "slither has looked at no contract"
    found = {_named(one): one["description"] for one in told["results"].get("detectors", [])}
    known = {Finding(entry["detector"], where) for entry in reviewed["reviewed"] for where in entry["where"]}
    fresh = [f"not reviewed: {name.detector} in {name.where}\n{found[name]}" for name in sorted(found.keys() - known)]
    stale = [f"no longer reported: {name.detector} in {name.where}" for name in sorted(known - found.keys())]
    return "\n".join(fresh + stale)


def _named(result: dict[str, Any]) -> Finding:
    """Where a finding is, from its first element and what that stands in."""
    element = result["elements"][0]
    names: list[str] = []
    while element and element["type"] in ("variable", "function", "contract"):
        names.append(element["name"])
        element = element.get("type_specific_fields", {}).get("parent")
    return Finding(result["check"], ".".join(reversed(names)))


# --- halmos and forge ------------------------------------------------------------------------------------------------


def _foundry() -> dict[str, str]:
    _need("forge", "npm ci --ignore-scripts")
    _need("node", "Node.js 20 or newer")
    compiler = ROOT / "protocols/contracts/toolchain/solc.mjs"
    return {"FOUNDRY_CONFIG": str(PROJECT / "foundry.toml"), "FOUNDRY_SOLC": str(compiler)}


def halmos(*, long: bool) -> str:
    """What halmos could not prove; empty when it proved every ``check_`` function, and there were some."""
    del long
    _need("halmos", "python3 requirements/bootstrap.py contracts")
    # What an earlier source has left there would be proved as well.
    for folder in (ROOT / "build/forge/out").glob("*.t.sol"):
        shutil.rmtree(folder)
    command = ["halmos", "--root", ".", "--forge-build-out", "build/forge/out", "--function", "check_"]
    done = run([*command, "--solver-timeout-assertion", QUERY_LIMIT], **_foundry())
    wanted = sum(path.read_text().count("function check_") for path in PROJECT.glob("*.sol"))
    proved = done.stdout.count("[PASS]")
    if done.returncode == 0 and proved == wanted:
        return ""
    return f"halmos proved {proved} of {wanted}:\n{done.stdout[-4_000:]}{done.stderr[-2_000:]}"


def forge(*, long: bool) -> str:
    """The invariant that broke, with the calls that broke it; empty when all held."""
    environment = _foundry() | (LONG_RUNS if long else {})
    done = run(["forge", "test", "--root", ".", "--no-match-contract", "Symbolic"], **environment)
    tests = re.compile(r"function (?:invariant|test)_")
    wanted = sum(len(tests.findall(path.read_text())) for path in PROJECT.glob("*.sol"))
    held = done.stdout.count("[PASS]")
    if done.returncode == 0 and held == wanted:
        return ""
    return f"{held} of {wanted} invariants held:\n{done.stdout[-6_000:]}{done.stderr[-2_000:]}"


TOOLS_BY_NAME: Final[dict[str, Callable[..., str]]] = {"slither": slither, "halmos": halmos, "forge": forge}


def main() -> int:
    """0 when every tool that ran found nothing new."""
    parser = argparse.ArgumentParser(prog="python -m tests.contracts.analysis", description=__doc__)
    parser.add_argument("tools", nargs="*", choices=[*TOOLS_BY_NAME, []], help="which of them (all)")
    parser.add_argument("--long", action="store_true", help="ten times as many sequences of calls, 2.5 times as long")
    wanted = parser.parse_args()
    strict = os.environ.get("MESH_CI") == "1"
    failed = False
    for name in wanted.tools or TOOLS_BY_NAME:
        began = time.monotonic()
        try:
            said = TOOLS_BY_NAME[name](long=wanted.long)
        except Missing as missing:
            failed = failed or strict
            print(f"contracts: NOT RUN: {missing}", file=sys.stderr)
            continue
        print(f"contracts: {name}: {'found something' if said else 'nothing new'} ({time.monotonic() - began:.0f} s)")
        if said:
            failed = True
            print(said, file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
