"""What does a node look like whose machine is another? The shipped one, but for the order and the last digits of outputs.

It runs the job, as any node, and then writes every JSON object of its outputs with the keys the other way round, and
every number with a decimal point larger by the share that the job's variable ``NOISE`` names: ``1e-9`` is another processor,
``1e-2`` is another result. A ``near-seat`` adds less than anybody minds, and each another share. As a program (`main`) it
takes what `mesh` takes.
"""

import json
import re
import sys
from pathlib import Path
from typing import Final

import trio

import mesh.node
from mesh.cli.app import main as mesh_main
from mesh.exec.executor import Outcome
from mesh.runner import JobRunner
from protocols.deals.states import LocalResult
from protocols.hashing import sha256
from protocols.job.canonical import CanonicalJob
from protocols.units import DealId, RunId

__all__ = ["NearRunner", "NoisyRunner", "main"]

_DECIMAL: Final = re.compile(r"-?\d+\.\d+")
_STEP: Final = 1e-12
_STEPS: Final = 10_000
"""The noise of a near machine is a part in 10^12, to 10^4 of them: far below what a job would call another result."""


class NoisyRunner(JobRunner):
    """Names an output that differs from the job's as another machine's would."""

    _noise = 0.0

    async def _run(
        self, deal_id: DealId, run_id: RunId, job: CanonicalJob, work: Path, cancel: trio.Event
    ) -> LocalResult:
        self._noise = float(dict(job.env).get("NOISE", "0"))
        return await super()._run(deal_id, run_id, job, work, cancel)

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        await trio.to_thread.run_sync(_disturb, folder / "outputs", self._noise)
        return await super()._named(deal_id, folder, outcome)


class NearRunner(JobRunner):
    """Each node with this runner is a machine of its own: some billionths away from every other, whatever the job says."""

    async def _named(self, deal_id: DealId, folder: Path, outcome: Outcome) -> LocalResult:
        place = sha256(str(self._scratch).encode())
        noise = (1 + int.from_bytes(place[:4]) % _STEPS) * _STEP
        await trio.to_thread.run_sync(_disturb, folder / "outputs", noise)
        return await super()._named(deal_id, folder, outcome)


def _disturb(outputs: Path, noise: float) -> None:
    for file in sorted(outputs.rglob("*")):
        if file.is_file():
            text = file.read_text()
            if file.suffix == ".json":
                text = json.dumps(_turned(json.loads(text)), indent=1)
            file.write_text(_DECIMAL.sub(lambda found: f"{float(found[0]) * (1 + noise):.12f}", text))


def _turned(value: object) -> object:
    if isinstance(value, dict):
        return {key: _turned(value[key]) for key in reversed(value)}
    return [_turned(one) for one in value] if isinstance(value, list) else value


_RUNNERS: Final = {"noisy": NoisyRunner, "near-seat": NearRunner}


def main() -> None:
    """`mesh`, built with the runner that the program is called after."""
    vars(mesh.node)["JobRunner"] = _RUNNERS[sys.argv[0]]
    mesh_main()
