"""One real network for all tests of a file: started, used and ended by the commands that a user types."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest

UP_S: Final = 300.0
"""A loaded two-core machine starts a chain and three nodes in 40 s, one that others share in minutes."""
COMMAND_S: Final = 250.0
POLL_S: Final = 0.1


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    talk: str

    @property
    def data(self) -> Any:
        """The JSON object or list on stdout."""
        return json.loads(self.out)


class Network:
    """A running `mesh devnet up`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MESH_") or name == "MESH_CI"}
        self.environment = {**kept, "MESH_DEVNET": str(place / "net"), "HOME": str(place), "NO_COLOR": "1"}

    @property
    def nodes(self) -> Mapping[str, Mapping[str, Any]]:
        """The nodes by name, as the devnet wrote them down."""
        return {one["name"]: one for one in json.loads((self.place / "net" / "cluster.json").read_text())["nodes"]}

    def mesh(self, *arguments: str, node: str = "client-1", timeout_s: float = COMMAND_S) -> Ended:
        """Run ``mesh ARGUMENTS`` as the owner of a node."""
        home = self.nodes[node]["home"]
        done = subprocess.run(
            [sys.executable, "-m", "mesh.cli.app", *arguments],
            cwd=home,
            env={**self.environment, "MESH_HOME": home},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr)

    def left(self) -> list[str]:
        """Processes of this network that live: its folder is in the environment or the arguments of each."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) != os.getpid():
                try:
                    words = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
                except OSError:
                    continue
                if os.fsencode(self.place) in words:
                    found.append(f"{entry.name}: {words[-200:]!r}")
        return found


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """Two providers, one client, a pip-only chain."""
    with tempfile.TemporaryDirectory(prefix="mesh-", ignore_cleanup_errors=True) as made:
        found = Network(Path(made))
        with (found.place / "up.log").open("wb") as log:
            supervisor = subprocess.Popen(
                [sys.executable, "-m", "mesh.cli.app", "devnet", "up", "-n", "3", "--chain", "pyevm"],
                env=found.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            _until_up(found, supervisor)
            yield found
        finally:
            supervisor.terminate()
            try:
                supervisor.wait(60)
            except subprocess.TimeoutExpired:
                supervisor.kill()
                supervisor.wait()


def _until_up(found: Network, supervisor: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + UP_S
    while not (found.place / "net" / "cluster.json").exists():
        said = (found.place / "up.log").read_text()
        assert time.monotonic() < end, said
        with suppress(subprocess.TimeoutExpired):
            pytest.fail(f"mesh devnet up ended with {supervisor.wait(POLL_S)}: {said}")
