"""Do the keys of a job fit together?"""

from collections.abc import Callable, Iterator
from itertools import combinations
from typing import Final

from protocols.job.problems import Place
from protocols.job.schema import JobSpec, Verify
from protocols.job.sources import Remote, nested

__all__ = ["MAX_ARGUMENT_BYTES", "MAX_ENV_BYTES", "check_together"]

MAX_ARGUMENT_BYTES: Final = 4096
"""UTF-8 bytes of all arguments: with the environment an eighth each of what a canonical job may weigh."""
MAX_ENV_BYTES: Final = 4096
_LEVEL_KEYS: Final[dict[str, tuple[str, Callable[[Verify], object]]]] = {
    "rtol": ("numeric", lambda v: v.rtol_e12),
    "atol": ("numeric", lambda v: v.atol_e12),
    "fraction": ("numeric", lambda v: v.fraction_ppm != 1_000_000),
    "canonicalisers": ("canonical", lambda v: v.canonicalisers),
    "hamming": ("perceptual", lambda v: v.hamming),
    "n": ("replicate", lambda v: v.n),
    "agree": ("replicate", lambda v: v.agree),
}

Finding = tuple[str, str, str]
"""Path, message, suggestion."""


def _what_runs(job: JobSpec) -> Iterator[Finding]:
    if job.module is not None and job.image:
        yield "image", "both `module` and `image` are given", "keep one: `module` for wasm, `image` for oci"
    elif job.executor == "wasm" and job.module is None:
        if job.image:
            yield "executor", "executor wasm runs a module, not an image", "write `module:`, or executor: oci"
        else:
            yield "module", "is missing: there is nothing to run", "add `module: ./program.wasm`"
    elif job.executor == "oci" and not job.image:
        yield "image", "is missing: executor oci runs an image", "add `image: name@sha256:...`"
    if isinstance(job.module, Remote):
        yield "module", "a module is a path or a CID, not an address", "download it and write its path"
    if job.run and job.command:
        yield (
            "run",
            "both `run` and `command` are given",
            "keep one: `command` is a list of arguments, `run` is shell text",
        )


def _folders(job: JobSpec) -> Iterator[Finding]:
    places = [(f"inputs[{i}].path", one.path) for i, one in enumerate(job.inputs)]
    places += [(f"outputs[{i}].path", one.path) for i, one in enumerate(job.outputs)]
    for (first, one), (second, other) in combinations(places, 2):
        if nested(one, other):
            yield second, f"{other} overlaps {first}: {one}", "give every input and output a folder of its own"
    names = [output.name for output in job.outputs]
    for index, name in enumerate(names):
        if name in names[:index]:
            yield f"outputs[{index}].name", f"two outputs are called {name}", "give each its own `name:`"
    for index, given in enumerate(job.inputs):
        if isinstance(given.source, Remote) and given.source.url.startswith(("https://", "s3://")) and not given.digest:
            yield (
                f"inputs[{index}].digest",
                "is missing: what an address serves can change",
                "add `digest: sha256:<hex>`",
            )


def _sizes(job: JobSpec) -> Iterator[Finding]:
    arguments = sum(len(word.encode()) for word in job.command)
    if arguments > MAX_ARGUMENT_BYTES:
        yield (
            "command",
            f"{arguments} bytes of arguments, at most {MAX_ARGUMENT_BYTES} allowed",
            "put it into an input file",
        )
    variables = sum(len(name.encode()) + len(value.encode()) for name, value in job.env)
    if variables > MAX_ENV_BYTES:
        yield "env", f"{variables} bytes of variables, at most {MAX_ENV_BYTES} allowed", "put it into an input file"


def _money(job: JobSpec) -> Iterator[Finding]:
    market = job.market
    if market.mode == "fixed" and market.max_price is None:
        yield "market.max_price", "is missing: a fixed-price job names its price", "add `max_price: 2.50 MESH`"
    if market.max_price is not None and market.max_price.amount == 0:
        yield "market.max_price", "nobody works for nothing", "write a price above 0"
    if market.max_price is None or market.budget is None:
        return
    if market.max_price.symbol != market.budget.symbol:
        yield "market.budget", f"is in {market.budget.symbol}, max_price in {market.max_price.symbol}", "use one token"
    elif market.budget.amount < market.max_price.amount:
        yield "market.budget", "is less than max_price", "raise the budget or lower max_price"
    elif market.budget.amount < market.max_price.amount * job.verify.n:
        yield (
            "market.budget",
            f"does not cover {job.verify.n} replicas at max_price each",
            "raise the budget, lower max_price, or write a smaller verify.n",
        )


def _level(job: JobSpec) -> Iterator[Finding]:
    verify = job.verify
    for name, (level, given) in _LEVEL_KEYS.items():
        if given(verify) and verify.level != level:
            yield (
                f"verify.{name}",
                f"belongs to level {level}, this is level {verify.level}",
                f"remove it, or write level: {level}",
            )
    if verify.level == "replicate" and not 2 <= verify.agree <= verify.n:
        yield "verify.agree", f"{verify.agree} of {verify.n} can never decide", "write n: 3 and agree: 2"
    if verify.level == "canonical" and not verify.canonicalisers:
        yield (
            "verify.canonicalisers",
            "is missing: level canonical names the differences that mean nothing",
            "write canonicalisers: [sort-json], or level: exact",
        )
    if verify.level == "replicate" and verify.audit_ppm:
        yield (
            "verify.audit",
            f"level replicate has {verify.n} providers compute everything",
            "remove it, or write level: exact",
        )
    if verify.level == "none" and verify.audit_ppm:
        yield "verify.audit", "level none compares nothing", "remove it, or write level: exact"
    if job.network.allow and verify.level not in ("none", "replicate"):
        yield (
            "verify.level",
            f"a job with network cannot be checked as {verify.level}",
            "write level: none or replicate",
        )


def _judged(job: JobSpec) -> Iterator[Finding]:
    if job.verify.enforcement != "panel":
        return
    if job.verify.level in ("none", "replicate"):
        yield (
            "verify.enforcement",
            f"a panel has nothing to compare at level {job.verify.level}",
            "write level: exact, or enforcement: self",
        )
    if job.settlement == "channel":
        yield ("settlement", "a panel judges only deals that are committed on chain", "write settlement: auto")
    if job.verify.audit_ppm == 0:
        yield ("verify.audit", "what is never checked is never disputed", "leave it out, or write enforcement: self")


def _settlement(job: JobSpec) -> Iterator[Finding]:
    if job.settlement == "channel" and job.verify.level == "replicate":
        yield (
            "settlement",
            "a channel pays each deal by itself, and of replicas only those that agree are paid",
            "write settlement: auto",
        )


_CHECKS: Final[tuple[tuple[tuple[str, ...], Callable[[JobSpec], Iterator[Finding]]], ...]] = (
    (("module", "image", "executor", "run", "command"), _what_runs),
    (("inputs", "outputs"), _folders),
    (("command", "env"), _sizes),
    (("market", "verify"), _money),
    (("verify", "network"), _level),
    (("verify", "settlement"), _settlement),
    (("verify", "settlement"), _judged),
)


def check_together(job: JobSpec, root: Place) -> None:
    """Report every way in which keys contradict each other; keys that are wrong by themselves are left alone."""
    for paths, check in _CHECKS:
        if root.broken(*paths):
            continue
        for path, message, suggestion in check(job):
            root.at(path).report(message, suggestion)
