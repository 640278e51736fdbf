"""What does a provider look like that returns wrong bytes? The shipped node, but for one line of a job's output.

It runs the job, as any provider, and then adds to what the job said: everything it signs and serves is about that. As a
program (`main`) it takes what `mesh` takes.
"""

from pathlib import Path
from typing import Final

import trio

import mesh.node
from devnet.scenarios.hostile.altered import alter
from mesh.cli.app import main as mesh_main
from mesh.exec.executor import Outcome
from mesh.runner import JobRunner
from protocols.deals.states import LocalResult
from protocols.units import DealId

__all__ = ["FALSE_LINE", "LyingRunner", "lie", "main"]

FALSE_LINE: Final = b"pi ~ 3.2\n"


class LyingRunner(JobRunner):
    """Names another output than the job's."""

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        await trio.to_thread.run_sync(_falsify, folder / "stdout")
        return await super()._named(deal_id, folder, outcome)


def _falsify(file: Path) -> None:
    with file.open("ab") as out:
        out.write(FALSE_LINE)


def lie() -> None:
    """From now on nodes of this process are built with a runner that lies."""
    alter(mesh.node, "JobRunner", LyingRunner)


def main() -> None:
    """`mesh`, built with a runner that lies."""
    lie()
    mesh_main()
