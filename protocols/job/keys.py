"""Which keys does a job file have? The whole file as one table; the market's keys are here too."""

from typing import Any, Final, NamedTuple

from protocols.job import scalars as s
from protocols.job.constraints import Constraint
from protocols.job.keys_run import CHECKPOINT, INPUT, LIMITS, MAX_FOLDERS, NETWORK, OUTPUT, RESOURCES, VERIFY
from protocols.job.kinds import REQUIRED, Choice, Items, Key, Pairs, Scalar, Table, Values
from protocols.job.problems import BadValue, shown
from protocols.job.schema import (
    Checkpoint,
    Deadline,
    JobSpec,
    Limits,
    Market,
    Network,
    Notify,
    Resources,
    Retry,
    Verify,
)
from protocols.job.sources import Source
from protocols.job.units import Money
from protocols.units import PeerId

__all__ = ["JOB", "MAX_ATTEMPTS", "MAX_SEED", "Draft"]

MAX_ATTEMPTS: Final = 16
"""Deals one run may sign; the same bound as ``protocols.limits``."""
MAX_SEED: Final = (1 << 63) - 1

_MODE: Final = Key(
    "mode", Choice("market", "fixed"), "market", "`market`: best score; `fixed`: best at or under `max_price`."
)
_MAX_PRICE: Final[Key[Money | None]] = Key(
    "max_price", s.MONEY, None, "Most that one deal may cost.", shown_default="from your configuration"
)
_BUDGET: Final[Key[Money | None]] = Key(
    "budget",
    s.MONEY,
    None,
    "Most that all of it may cost: retries, audits, replicas, fees.",
    shown_default="`max_price`, for each replica",
)
_WINDOW: Final[Key[int | None]] = Key(
    "bid_window", s.WINDOW, None, "How long to wait for quotes.", shown_default="the network's, at most 2s"
)
_TARGET: Final[Key[PeerId | None]] = Key(
    "target", s.PEER, None, "Ask this provider only; every check still holds.", shown_default="none"
)
_REPUTATION: Final = Key("min_reputation", s.SHARE, 0, "Least reliability your node must have seen.", shown_default="0")
_MARKET: Final = Table(
    (_MODE, _MAX_PRICE, _BUDGET, _WINDOW, _TARGET, _REPUTATION),
    lambda v: Market(v[_MODE], v[_MAX_PRICE], v[_BUDGET], v[_WINDOW], v[_TARGET], v[_REPUTATION]),
    aliases={"price": "max_price", "reputation": "min_reputation"},
)
_RETRY_ON: Final = Key(
    "on",
    Items(Choice("no-capacity", "provider-lost", "infra-error"), 3, unique=True),
    ("no-capacity", "provider-lost", "infra-error"),
    "After which failures the job is tried elsewhere.",
    shown_default="all three",
)
_ATTEMPTS: Final = Key("max_attempts", s.number(1, MAX_ATTEMPTS), 3, "Deals it may sign in all.")
_RETRY: Final = Table(
    (_RETRY_ON, _ATTEMPTS), lambda v: Retry(v[_RETRY_ON], v[_ATTEMPTS]), aliases={"attempts": "max_attempts"}
)
_NOTIFY_ON: Final = Key("on", Items(Choice("start", "fail", "done"), 3, unique=True), (), "Events.")
_EXEC: Final = Key("exec", s.text("path of a program", 1024), "", "Program to run on your machine.")
_WEBHOOK: Final = Key(
    "webhook", s.pattern("an https address", r"https://\S{1,1000}", "write https://..."), "", "Address to post to."
)
_NOTIFY: Final = Table((_NOTIFY_ON, _EXEC, _WEBHOOK), lambda v: Notify(v[_NOTIFY_ON], v[_EXEC], v[_WEBHOOK]))


def _seed(value: object) -> int | None:
    if value == "deal":
        return None
    try:
        return s.whole(value, 0, MAX_SEED)
    except BadValue as error:
        raise BadValue(f"{shown(value)} is not a seed", "write deal, or a number") from error


def _version(value: object) -> int:
    if value == 1 and not isinstance(value, bool):
        return 1
    raise BadValue(f"{shown(value)} is not a version this node reads", "write version: 1")


VERSION: Final = Key("version", Scalar("`1`", _version, {"const": 1}), REQUIRED, "Version of this format.", fallback=1)
NAME: Final = Key(
    "name",
    s.pattern("a job name", r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?", "write lower-case letters, digits, and . _ -"),
    "job",
    "For people; both sides see it.",
)
LABELS: Final = Key(
    "labels", Pairs(s.label_name, s.text("text", 63), 32, "names and values"), (), "For people; not part of the job id."
)
EXECUTOR: Final = Key(
    "executor", Choice("wasm", "oci", "process"), "", "What runs it.", shown_default="from `module` or `image`"
)
MODULE: Final[Key[Source | None]] = Key("module", s.SOURCE, None, "wasm: the module, as path or CID.")
IMAGE: Final = Key("image", s.text("image", 512), "", "oci: `name@sha256:...`, `oci:./layout` or `./image.tar`.")
COMMAND: Final = Key("command", Items(s.ARGUMENT, 256), (), "Arguments, one an item (exec form).")
RUN: Final = Key("run", s.text("shell text", 16_384, multiline=True), "", "Shell form, for oci and process.")
WORKDIR: Final = Key(
    "workdir", s.text("path", 1024), "", "Folder packed and unpacked at the provider; honours `.meshignore`."
)
SETUP: Final = Key("setup", s.text("shell text", 16_384, multiline=True), "", "Runs before `run`; cached by its hash.")
ENV: Final = Key(
    "env", Pairs(s.env_name, s.ENV_VALUE, 128, "variables"), (), "An empty value is required from your environment."
)
SECRETS: Final = Key(
    "secrets",
    Items(Scalar("variable name", s.env_name, {"type": "string"}), 32, unique=True),
    (),
    "Sealed to the provider after signing; never part of the job id.",
)
INPUTS: Final = Key("inputs", Items(INPUT, MAX_FOLDERS), (), "What the job reads.")
OUTPUTS: Final = Key("outputs", Items(OUTPUT, MAX_FOLDERS), (), "What comes back besides stdout and stderr.")
_RES: Final[Key[Resources]] = Key("resources", RESOURCES, RESOURCES.defaults(), "What the job needs.")
CONSTRAINTS: Final[Key[tuple[Constraint, ...]]] = Key(
    "constraints", Items(s.CONSTRAINT, 16), (), "Demands on published properties; all must hold."
)
RECEIPT: Final[Key[int | None]] = Key(
    "receipt", s.SECONDS, None, "Newest GPU proof not older than this.", shown_default="none"
)
_LIM: Final[Key[Limits]] = Key("limits", LIMITS, LIMITS.defaults(), "Where a run is ended.")
RUNTIME: Final = Key("runtime", Choice("any", "runsc"), "any", "Container runtime.")
_NET: Final[Key[Network]] = Key("network", NETWORK, Network(), "What the job may reach.", shown_default="none")
_VER: Final[Key[Verify]] = Key("verify", VERIFY, VERIFY.defaults(), "How the result is checked.")
SEED: Final[Key[int | None]] = Key(
    "seed",
    Scalar("`deal` or a number", _seed, {"anyOf": [{"const": "deal"}, {"type": "integer", "minimum": 0}]}),
    None,
    "Where randomness in the job starts.",
    shown_default="deal",
)
_MAR: Final[Key[Market]] = Key("market", _MARKET, _MARKET.defaults(), "What you are ready to pay.")
SETTLEMENT: Final = Key(
    "settlement",
    Choice("auto", "commit", "channel"),
    "auto",
    "How it is paid. In a channel no collateral is at stake: an audit withholds the price, or ends the channel.",
)
DEADLINE: Final[Key[Deadline | None]] = Key("deadline", s.DEADLINE, None, "Useless afterwards.", shown_default="none")
_RET: Final[Key[Retry]] = Key("retry", _RETRY, _RETRY.defaults(), "When to try elsewhere.")
_CKPT: Final[Key[Checkpoint | None]] = Key(
    "checkpoint", CHECKPOINT, None, "State that outlives an attempt.", shown_default="none"
)
ARRAY: Final = Key("array", s.number(0, 10_000), 0, "Independent runs, told apart by MESH_TASK_INDEX.")
NODES: Final = Key("num_nodes", s.number(1, 64), 1, "Nodes of a gang.")
_NOT: Final[Key[Notify]] = Key("notify", _NOTIFY, Notify(), "Whom to tell.", shown_default="nobody")


def _executor(v: Values) -> str:
    return v[EXECUTOR] or ("oci" if v[IMAGE] else "wasm")


class Draft(NamedTuple):
    """A job whose environment is still to be filled in; a value of None is demanded from the caller."""

    job: JobSpec
    env: tuple[tuple[str, str | None], ...]


def _build(v: Values) -> Draft:
    job = JobSpec(
        version=v[VERSION],
        name=v[NAME],
        labels=v[LABELS],
        executor=_executor(v),
        module=v[MODULE],
        image=v[IMAGE],
        command=v[COMMAND],
        run=v[RUN],
        workdir=v[WORKDIR],
        setup=v[SETUP],
        env=(),
        secrets=v[SECRETS],
        inputs=v[INPUTS],
        outputs=v[OUTPUTS],
        resources=v[_RES],
        constraints=v[CONSTRAINTS],
        receipt_s=v[RECEIPT],
        limits=v[_LIM],
        runtime=v[RUNTIME],
        network=v[_NET],
        verify=v[_VER],
        seed=v[SEED],
        market=v[_MAR],
        settlement=v[SETTLEMENT],
        deadline=v[DEADLINE],
        retry=v[_RET],
        checkpoint=v[_CKPT],
        array=v[ARRAY],
        num_nodes=v[NODES],
        notify=v[_NOT],
    )
    return Draft(job, v[ENV])


_KEYS: Final[tuple[Key[Any], ...]] = (
    VERSION, NAME, LABELS, EXECUTOR, MODULE, IMAGE, COMMAND, RUN, WORKDIR, SETUP, ENV, SECRETS, INPUTS, OUTPUTS, _RES,
    CONSTRAINTS, RECEIPT, _LIM, RUNTIME, _NET, _VER, SEED, _MAR, SETTLEMENT, DEADLINE, _RET, _CKPT, ARRAY, NODES, _NOT,
)  # fmt: skip
JOB: Final = Table(
    _KEYS,
    _build,
    aliases={
        "args": "command",
        "cmd": "command",
        "entrypoint": "command",
        "environment": "env",
        "envs": "env",
        "file_mounts": "inputs",
        "verification": "verify",
        "timeout": "limits",
        "max_price": "market",
        "budget": "market",
        "cpus": "resources",
        "memory": "resources",
        "gpus": "resources",
        "wasm": "module",
    },
)
