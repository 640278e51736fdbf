"""Which parts of the job format are agreed, but not supported by this version?

Their form is checked like everything else; then the job is refused, by line and path, instead of running without
what its author asked for. A later version removes rows from ``NOT_YET`` and changes nothing else.
"""

from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from protocols.job.problems import Place
from protocols.job.schema import JobSpec
from protocols.job.sources import Remote

__all__ = ["NOT_YET", "NotYet", "report_not_yet"]


class NotYet(msgspec.Struct, frozen=True):
    """``where`` names the paths of a job at which ``what`` is asked for; ``instead`` is what works today."""

    what: str
    where: Callable[[JobSpec], Iterable[str]]
    instead: str


def _if(path: str, asked: Callable[[JobSpec], object]) -> Callable[[JobSpec], Iterable[str]]:
    return lambda job: (path,) if asked(job) else ()


def _executor(job: JobSpec) -> Iterable[str]:
    if job.executor == "wasm":
        return ()
    return ("image",) if job.image else ("executor",)


NOT_YET: Final = (
    NotYet("executors oci and process", _executor, "build a WebAssembly module and name it with `module:`"),
    NotYet("the shell form", _if("run", lambda j: j.run), "use `command:` with a list of arguments"),
    NotYet("packing a work folder", _if("workdir", lambda j: j.workdir), "list it under `inputs:`"),
    NotYet("a setup step", _if("setup", lambda j: j.setup), "do it while building the module"),
    NotYet("secrets", _if("secrets", lambda j: j.secrets), "remove them; never put a secret into `env`"),
    NotYet(
        "fetching inputs from elsewhere",
        lambda j: (f"inputs[{i}].source" for i, one in enumerate(j.inputs) if isinstance(one.source, Remote)),
        "download it and name the local path",
    ),
    NotYet(
        "public outputs",
        lambda j: (f"outputs[{i}].public" for i, one in enumerate(j.outputs) if one.public),
        "leave it out; results are served to the deal's parties",
    ),
    NotYet("GPU jobs", _if("resources.gpus", lambda j: j.resources.gpus.count), "write gpus: 0"),
    NotYet(
        "shared memory", _if("resources.shm", lambda j: j.resources.shm_mib != 64), "leave it out; wasm jobs have none"
    ),
    NotYet("asking for a fresh GPU proof", _if("receipt", lambda j: j.receipt_s is not None), "leave it out"),
    NotYet("runtime runsc", _if("runtime", lambda j: j.runtime != "any"), "write runtime: any"),
    NotYet(
        "network access",
        _if("network", lambda j: j.network.allow),
        "write network: none and list files under `inputs:`",
    ),
    NotYet("numeric classes", _if("verify.class", lambda j: j.verify.numeric_class != "any"), "write class: any"),
    NotYet(
        "checkpoints", _if("checkpoint", lambda j: j.checkpoint is not None), "leave it out; a lost run starts again"
    ),
    NotYet("arrays of runs", _if("array", lambda j: j.array), "submit the job several times with different `-e`"),
    NotYet("gangs of nodes", _if("num_nodes", lambda j: j.num_nodes > 1), "write num_nodes: 1"),
    NotYet(
        "notifications",
        _if("notify", lambda j: j.notify.on or j.notify.exec or j.notify.webhook),
        "use `mesh wait RUN`",
    ),
)


def report_not_yet(job: JobSpec, root: Place) -> None:
    """Report every place of a job that needs what this version lacks."""
    for row in NOT_YET:
        for path in row.where(job):
            if not root.broken(path):
                root.at(path).report(f"not supported by this version: {row.what}", row.instead)
