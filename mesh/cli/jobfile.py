"""How does a job file on disk, with what the command line adds, become a job, and how are its problems shown?"""

import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import msgspec

from mesh.base.errors import ConfigError, UsageError
from mesh.cli.jobparts import missing_parts
from mesh.cli.yamldoc import MAX_FILE_BYTES, Document, parse_document, parse_value
from protocols.job import JobError, JobSpec, Problem, parse_job

__all__ = ["JobFileError", "JobFlagError", "load_job", "parse_job_text", "read_job_file", "render_problems"]

_STEP: Final = re.compile(r"\.?([^.\[\]]+)|\[(\d{1,4})\]")
_MAX_SETS: Final = 256
"""``--set`` and ``-e`` on one command line."""


class JobFileError(ConfigError):
    """The job file cannot be used. Its message lists every problem with file, line, path and what to write instead."""

    def __init__(self, name: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(
            f"{self._place(name)} has {count}\n{render_problems(name, self.problems)}", fix=self._next(name)
        )
        self.name = name

    def _place(self, name: str) -> str:
        return name

    def _next(self, name: str) -> str:
        return f"mesh job validate {name}   (after correcting it)"

    def __reduce__(self) -> tuple[type["JobFileError"], tuple[str, tuple[Problem, ...]]]:
        """A worker process reports it whole."""
        return type(self), (self.name, self.problems)


class JobFlagError(JobFileError, UsageError):
    """The job file is in order; what ``--set`` or ``-e`` puts into it is not."""

    exit_code = UsageError.exit_code

    def _place(self, name: str) -> str:
        return "the command line"

    def _next(self, name: str) -> str:
        return "mesh job schema   (every key; correct the flag)"


def render_problems(name: str, problems: Sequence[Problem]) -> str:
    """One block per problem: ``file:line: path: message``, and below it what to write.

    A problem without a line is a flag's, which then stands before its path, or the whole file's.
    """
    blocks = []
    for problem in problems:
        beside = "" if problem.path.startswith("-") else f"{name}: "
        where = f"{name}:{problem.line}: " if problem.line else beside
        what = f"{problem.path}: {problem.message}" if problem.path else problem.message
        blocks.append(f"{where}{what}" + (f"\n    {problem.suggestion}" if problem.suggestion else ""))
    return "\n".join(blocks)


def read_job_file(path: Path) -> bytes:
    """The file's bytes, one more than allowed at most. Raises ``ConfigError``."""
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        raise ConfigError(
            f"there is no file {path}", fix=f"ls {path.parent}   (`mesh job schema` shows how to write one)"
        ) from None
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
    beside: bool = False,
) -> JobSpec:
    """The job in a file. ``sets`` are ``--set`` texts (``market.max_price=3 MESH``), ``env`` those of ``-e`` (``K=V``,
    or ``K`` to take it from ``environ``). ``symbols``: the network's tokens, None leaves them unchecked. ``beside``:
    the local files that it names must be there. Raises ``JobFileError`` with all problems, ``JobFlagError`` when only
    the command line is at fault, ``ConfigError`` when the file cannot be read.
    """
    return parse_job_text(
        read_job_file(path),
        str(path),
        sets=sets,
        env=env,
        environ=environ,
        symbols=symbols,
        base=path.parent if beside else None,
    )


def parse_job_text(
    raw: bytes,
    name: str,
    *,
    sets: Sequence[str] = (),
    env: Sequence[str] = (),
    environ: Mapping[str, str],
    symbols: Collection[str] | None = None,
    base: Path | None = None,
) -> JobSpec:
    """The job in the bytes of a file called ``name``; ``base``: the folder in which what it names must lie.

    Raises ``JobFileError``.
    """
    flags: dict[str, str] = {}
    try:
        document = parse_document(raw)
        if len(sets) + len(env) > _MAX_SETS:
            raise _wrong("--set", f"more than {_MAX_SETS} of --set and -e", "write them into the file")
        for text in sets:
            flags[_set(document, text)] = _flag("--set", text)
        for text in env:
            key, equals, value = text.partition("=")
            _assign_env(document, key, value if equals else environ.get(key), text)
            flags[f"env.{key}"] = _flag("-e", text)
        job = parse_job(document.value, document.lines, environ, symbols)
        if base is not None and (missing := missing_parts(job, document.lines, base)):
            raise JobError(missing)
        return job
    except JobError as error:
        raise _blamed(name, error.problems, flags) from None


def _flag(flag: str, text: str) -> str:
    return f"{flag} {text if len(text) <= 60 else text[:57] + '...'}"


def _blamed(name: str, problems: Sequence[Problem], flags: Mapping[str, str]) -> JobFileError:
    """Problems with what a flag has put into the file are the flag's: its text stands in place of a line."""
    found = []
    for one in problems:
        flag = next((text for path, text in flags.items() if _within(one.path, path) or _within(path, one.path)), None)
        if one.path.startswith("-") or flag is None or (one.line and one.path not in flags):
            found.append(one)
        else:
            found.append(msgspec.structs.replace(one, line=0, path=f"{flag}: {one.path}"))
    kind = JobFlagError if all(one.path.startswith("-") for one in found) else JobFileError
    return kind(name, found)


def _within(path: str, outer: str) -> bool:
    return path == outer or path.startswith((f"{outer}.", f"{outer}["))


def _wrong(where: str, message: str, suggestion: str) -> JobError:
    return JobError((Problem(where, 0, message, suggestion),))


def _set(document: Document, text: str) -> str:
    """Put one ``--set`` into the document; the path it has set. Raises ``JobError`` that names the flag."""
    where = _flag("--set", text)
    key, equals, given = text.partition("=")
    if not equals:
        raise _wrong(where, "names no value", "write --set key=value")
    try:
        value = parse_value(given)
    except JobError as error:
        raise JobError(msgspec.structs.replace(one, path=where, line=0) for one in error.problems) from None
    _assign(document, key.strip(), value, where)
    return key.strip()


def _assign_env(document: Document, name: str, value: str | None, text: str) -> None:
    if not name or value is None:
        raise _wrong(_flag("-e", text), "has no value", f"write -e {name or 'NAME'}=value")
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
    for end in (at for at, letter in enumerate(path) if letter in ".["):
        document.lines.setdefault(path[:end], 0)  # what the flag has made on the way is the flag's, too
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
