"""How does a job file on disk, with what the command line adds, become a job, and how are its problems shown?"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

from mesh.base.errors import ConfigError
from mesh.cli.yamldoc import MAX_FILE_BYTES, Document, parse_document, parse_value
from protocols.job import JobError, JobSpec, Problem, parse_job

__all__ = ["JobFileError", "load_job", "parse_job_text", "read_job_file", "render_problems"]

_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,4})\]")
_MAX_SETS: Final = 256
"""``--set`` and ``-e`` on one command line."""


class JobFileError(ConfigError):
    """The job file cannot be used. Its message lists every problem with file, line, path and what to write instead."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(
            f"{name} has {count}\n{render_problems(name, self.problems)}",
            fix=f"correct the file, then: mesh job validate {name}",
        )
        self.name = name

    def __reduce__(self) -> tuple[type["JobFileError"], tuple[str, tuple[Problem, ...]]]:
        """A worker process reports it whole."""
        return JobFileError, (self.name, self.problems)


def render_problems(name: str, problems: Sequence[Problem]) -> str:
    """One block per problem: ``file:line: path: message``, and below it what to write.

    A path without a line was set on the command line.
    """
    blocks = []
    for problem in problems:
        beside = f"{name} (command line)" if problem.path else name
        where = f"{name}:{problem.line}" if problem.line else beside
        what = f"{problem.path}: {problem.message}" if problem.path else problem.message
        blocks.append(f"{where}: {what}" + (f"\n    {problem.suggestion}" if problem.suggestion else ""))
    return "\n".join(blocks)


def read_job_file(path: Path) -> bytes:
    """The file's bytes, one more than allowed at most. Raises ``ConfigError``."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(f"there is no file {path}", fix="ls, or write one: mesh job schema shows every key") from None
    except IsADirectoryError:
        raise ConfigError(f"{path} is a directory", fix=f"mesh submit {path}/job.yaml") from None
    except OSError as error:
        raise ConfigError(f"{path} cannot be read", why=error.strerror or str(error), fix=f"ls -l {path}") from error


def load_job(
    path: Path,
    *,
    sets: Sequence[str] = (),
    env: Sequence[str] = (),
    environ: Mapping[str, str],
    symbols: Collection[str] | None = None,
) -> JobSpec:
    """The job in a file. ``sets`` are ``--set`` texts (``market.max_price=3 MESH``), ``env`` those of ``-e`` (``K=V``,
    or ``K`` to take it from ``environ``). Raises ``JobFileError`` with all problems, ``ConfigError`` when the file
    cannot be read.
    """
    return parse_job_text(read_job_file(path), str(path), sets=sets, env=env, environ=environ, symbols=symbols)


def parse_job_text(
    raw: bytes,
    name: str,
    *,
    sets: Sequence[str] = (),
    env: Sequence[str] = (),
    environ: Mapping[str, str],
    symbols: Collection[str] | None = None,
) -> JobSpec:
    """The job in the bytes of a file called ``name``. Raises ``JobFileError``."""
    try:
        document = parse_document(raw)
        if len(sets) + len(env) > _MAX_SETS:
            raise _wrong("--set", f"more than {_MAX_SETS} of --set and -e", "write them into the file")
        for text in sets:
            key, equals, value = text.partition("=")
            if not equals:
                raise _wrong(f"--set {text[:60]}", "names no value", "write --set key=value")
            _assign(document, key.strip(), parse_value(value), f"--set {text[:60]}")
        for text in env:
            key, equals, value = text.partition("=")
            _assign_env(document, key, value if equals else environ.get(key), text)
        return parse_job(document.value, document.lines, environ, symbols)
    except JobError as error:
        raise JobFileError(name, error.problems) from None


def _wrong(where: str, message: str, suggestion: str) -> JobError:
    return JobError((Problem(where, 0, message, suggestion),))


def _assign_env(document: Document, name: str, value: str | None, text: str) -> None:
    if not name or value is None:
        raise _wrong(f"-e {text[:60]}", "has no value", f"write -e {name or 'NAME'}=value")
    if not isinstance(document.value, dict):
        return
    variables = document.value.get("env")
    if variables is None:
        variables = document.value["env"] = {}
    if isinstance(variables, dict):
        _own(variables, document, "env")[name] = value
        document.lines[f"env.{name}"] = 0


def _own(container: dict[str, object], document: Document, path: str) -> dict[str, object]:
    """A mapping that no alias shares, put in the place of the one at the top level."""
    copy = dict(container)
    if isinstance(document.value, dict):
        document.value[path] = copy
    return copy


def _assign(document: Document, path: str, value: object, where: str) -> None:
    """Put a value at a dotted path, making the mappings on the way. What shares a part by alias is left alone."""
    steps = [name or int(index) for name, index in _STEP.findall(path)]
    if not steps or len(steps) > 8 or not _STEP.sub("", path) == "":
        raise _wrong(where, f"{path[:60]!r} is not a path", "write keys with dots between: market.max_price")
    document.value = _with(document.value, steps, value, where)
    stale = [known for known in document.lines if known.startswith((f"{path}.", f"{path}["))]
    for known in stale:
        del document.lines[known]
    document.lines[path] = 0


def _with(node: object, steps: Sequence[str | int], value: object, where: str) -> object:
    if not steps:
        return value
    step, rest = steps[0], steps[1:]
    if isinstance(step, int):
        if not isinstance(node, list) or step > len(node):
            raise _wrong(where, f"there is no item [{step}]", "count items from 0; the next free one may be set")
        items = [*node, None] if step == len(node) else list(node)
        items[step] = _with(items[step], rest, value, where)
        return items
    if node is not None and not isinstance(node, dict):
        raise _wrong(where, f"{step!r} would lie inside something that is no mapping", "set the whole value instead")
    table = dict(node or {})
    table[step] = _with(table.get(step), rest, value, where)
    return table
