"""Would this machine take that job, and if not, why not? The answer of `mesh policy test`, without a node or a network."""

from pathlib import Path
from typing import Final

import msgspec

from mesh.base.clock import SystemClock
from mesh.base.config import LoadedConfig
from mesh.base.config.policy import PolicyFile, read_policy
from mesh.base.errors import ConfigError, NoMatch, UsageError
from mesh.chain.presets import chain_preset
from mesh.cli.options import Form
from mesh.cli.render import emit, pairs, when
from mesh.cli.submitting import read_job
from mesh.provider import conditions_now, offer_for
from mesh.store.blobs.importing import ImportRules, import_steps
from protocols.job.canonical import CanonicalJob, Resolved, canonical_job
from protocols.job.peers import peer_from_text
from protocols.job.problems import BadValue
from protocols.job.schema import JobSpec
from protocols.job.sources import LocalPath, Source
from protocols.job.units import moment
from protocols.offers.matching import match
from protocols.offers.policy import objections
from protocols.transfer.unixfs import Root
from protocols.units import PeerId, UnixSeconds

__all__ = ["try_policy"]

NOBODY: Final = PeerId(bytes(39))
"""Stands for this machine in its own offer: the question is not who offers."""
MAX_BYTES: Final = 1 << 40
HOW_TO: Final = "docs/how-to/my-box-my-rules.md"


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """``takes``: whether a request for this job would get a quote, a free slot assumed."""

    takes: bool
    policy: str
    """The file; empty when there is none."""
    at: int
    offer: tuple[str, ...]
    """What the machine itself cannot do."""
    owner: tuple[str, ...]
    """What its owner does not want: the words of a refusal with code ``policy``."""


def try_policy(
    loaded: LoadedConfig, file: Path, policy: Path | None, client: str | None, at: str | None, output: Form
) -> None:
    """`mesh policy test`. Raises ``NoMatch`` when this machine would refuse."""
    named = str(policy) if policy else loaded.config.provider.policy_file
    rules = read_policy(Path(named).expanduser()) if named else PolicyFile()
    now = _moment(at)
    job = _canonical(read_job(loaded, file, sets=(), env=()), file.parent)
    offer = offer_for(loaded.config, NOBODY, chain_preset(loaded.config.network.name).params)
    unfit = tuple(reason.sentence for reason in match(offer, job))
    unwanted = objections(rules.policy, job, _client(client), now, conditions_now(rules.programs))
    verdict = Verdict(takes=not unfit and not unwanted, policy=named, at=now, offer=unfit, owner=unwanted)
    emit(verdict, output, lambda: _text(verdict))
    if not verdict.takes:
        raise NoMatch(
            "this machine would not take the job",
            why="; ".join((*unfit, *unwanted)),
            fix=f"mesh config get provider.policy_file   ({HOW_TO})",
        )


def _text(verdict: Verdict) -> str:
    rows = [
        ("policy", verdict.policy or "none: everything that fits is taken"),
        ("at", f"{when(verdict.at)} UTC"),
        *(("unfit", one) for one in verdict.offer),
        *(("unwanted", one) for one in verdict.owner),
        ("verdict", "refused" if verdict.offer or verdict.owner else "taken"),
    ]
    return pairs(rows)


def _moment(at: str | None) -> UnixSeconds:
    if at is None:
        return SystemClock().unix_s()
    try:
        return UnixSeconds(moment(at))
    except BadValue as error:
        raise UsageError(f"--at {at} is no moment", why=str(error), fix="mesh policy test --help") from error


def _client(text: str | None) -> PeerId | None:
    if text is None:
        return None
    try:
        return peer_from_text(text)
    except BadValue as error:
        raise UsageError(f"--client {text} is no PeerId", why=error.suggestion, fix="mesh peers") from error


def _canonical(spec: JobSpec, base: Path) -> CanonicalJob:
    assert spec.module is not None
    module = _root(spec.module, base)
    inputs = tuple((one.cid, one.content_bytes) for one in (_root(one.source, base) for one in spec.inputs))
    return canonical_job(spec, Resolved(module.cid, module.content_bytes, inputs))


def _root(source: Source, base: Path) -> Root:
    """The content id of a local file or folder, which nothing is stored for."""
    if not isinstance(source, LocalPath):
        raise ConfigError("only local files can be looked at here", why=str(source), fix="mesh job schema")
    steps = import_steps((base / source.path).expanduser(), ImportRules(max_content_bytes=MAX_BYTES))
    while True:
        try:
            next(steps)
        except StopIteration as done:
            root: Root = done.value
            return root
