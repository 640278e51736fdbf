"""What does a YAML file from anybody say, and on which line does each value stand?

YAML 1.1 guesses: ``no`` is false, ``010`` is 8, ``1:30`` is 90, ``2026-12-01`` a date, ``on`` a key called True. Here
a plain word is text unless it is a decimal integer, true, false or null, so nothing is guessed and every digit
survives. The document is built from the parser's events without recursion, and everything that could explode is
bounded.
"""

import re
from collections.abc import Iterator
from typing import Any, Final

import yaml

from protocols.job.problems import JobError, Problem, shown

__all__ = ["MAX_DEPTH", "MAX_FILE_BYTES", "MAX_VALUES", "Document", "parse_document", "parse_value"]

MAX_FILE_BYTES: Final = 256 * 1024
"""Bytes of a job file: the largest legal ones are a tenth of it."""
MAX_DEPTH: Final = 16
"""Levels of nesting: the format has five."""
MAX_VALUES: Final = 10_000
"""Values in the file, repeated anchors counted each time they are used."""
_INTEGER: Final = re.compile(r"-?(?:0|[1-9][0-9]{0,18})", re.ASCII)
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_Loader: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Document:
    """Nested dicts, lists, text, integers, booleans and None, and the line of each by dotted path."""

    def __init__(self, value: object, lines: dict[str, int]) -> None:
        self.value = value
        self.lines = lines


class _Open:
    """A list or mapping that is still being read."""

    __slots__ = ("anchor", "key", "path", "value", "weight")

    def __init__(self, value: list[object] | dict[str, object], path: str, anchor: str | None) -> None:
        self.value = value
        self.path = path
        self.anchor = anchor
        self.key: str | None = None
        self.weight = 1


def _fail(message: str, line: int, suggestion: str, path: str = "") -> JobError:
    return JobError((Problem(path, line, message, suggestion),))


def parse_document(raw: bytes, loader: Any = _Loader) -> Document:
    """The one document in a file. Raises ``JobError`` for anything that is not plain, bounded YAML.

    ``loader`` is libyaml's where PyYAML has it (ten times as fast), else PyYAML's own; both give the same.
    """
    if len(raw) > MAX_FILE_BYTES:
        raise _fail(f"{len(raw)} bytes, at most {MAX_FILE_BYTES} allowed", 0, "put large texts into input files")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _fail(f"not UTF-8 text: byte 0x{raw[error.start]:02x}", line, "save the file as UTF-8") from None
    return _Builder().read(text, loader)


def parse_value(text: str) -> object:
    """One value as it could stand in a file, for ``--set``. Raises ``JobError``."""
    document = parse_document(f"value: {text}\n".encode("utf-8", "replace"))
    value = document.value
    if not isinstance(value, dict) or set(value) != {"value"}:
        raise _fail(f"{shown(text)} is not one value", 0, "quote it")
    return value["value"]


def _events(text: str, loader: Any) -> Iterator[Any]:
    try:
        yield from yaml.parse(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = str(error.problem or error.context or "cannot be read")
        hint = "indent with spaces" if "\\t" in said or "tab" in said else "check quotes, colons and indentation there"
        raise _fail(f"not YAML: {said}", mark.line + 1 if mark else 0, hint) from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, max(error.position, 0)) + 1 if isinstance(error.position, int) else 0
        raise _fail(f"not YAML: {error.reason}", line, "remove control characters") from None
    except yaml.YAMLError as error:
        raise _fail(f"not YAML: {shown(str(error))}", 0, "check quotes, colons and indentation") from None


class _Builder:
    """Turns events into values. One instance reads one file."""

    def __init__(self) -> None:
        self.lines: dict[str, int] = {}
        self.anchors: dict[str, tuple[object, int]] = {}
        self.stack: list[_Open] = []
        self.result: list[object] = []
        self.weight = 0

    def read(self, text: str, loader: Any) -> Document:
        documents = 0
        for event in _events(text, loader):
            line = event.start_mark.line + 1
            match event:
                case yaml.DocumentStartEvent():
                    documents += 1
                    if documents > 1:
                        raise _fail("a second document begins", line, "keep one job in each file")
                case yaml.ScalarEvent():
                    self._scalar(event, line)
                case yaml.AliasEvent():
                    self._alias(event, line)
                case yaml.SequenceStartEvent() | yaml.MappingStartEvent():
                    self._begin(event, line)
                case yaml.SequenceEndEvent() | yaml.MappingEndEvent():
                    self._end(line)
                case _:
                    pass  # the stream's and the documents' ends say nothing
        if not self.result or self.result[0] is None:
            raise _fail("the file is empty", 1, "begin with `version: 1`")
        return Document(self.result[0], self.lines)

    def _scalar(self, event: Any, line: int) -> None:
        self._untagged(event, line)
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            self._key(top, event.value, line)
            return
        plain = not event.style or event.style == "plain"
        self._place(_meaning(event.value) if plain else event.value, 1, event.anchor, line)

    def _key(self, top: _Open, name: str, line: int) -> None:
        if not name or name == "<<":
            raise _fail("merge keys and empty keys are not supported", line, "write the keys out", top.path)
        if len(name) > 256:
            raise _fail("a key of more than 256 characters", line, "shorten it", top.path)
        path = f"{top.path}.{name}" if top.path else name
        if name in top.value:
            first = self.lines.get(path, 0)
            raise _fail(f"the key stands twice, first on line {first}", line, "remove one of them", path)
        top.key = name
        self.lines[path] = line

    def _alias(self, event: Any, line: int) -> None:
        top = self.stack[-1] if self.stack else None
        if top is not None and isinstance(top.value, dict) and top.key is None:
            raise _fail("an alias as a key", line, "write the key out", top.path)
        found = self.anchors.get(event.anchor)
        if found is None:
            raise _fail(f"*{shown(event.anchor)[1:-1]} refers to itself or to nothing", line, "write the value out")
        value, weight = found
        self._place(value, weight, None, line)

    def _begin(self, event: Any, line: int) -> None:
        self._untagged(event, line)
        if len(self.stack) >= MAX_DEPTH:
            raise _fail(f"more than {MAX_DEPTH} levels of nesting", line, "a job file has five")
        path = ""
        if self.stack:
            top = self.stack[-1]
            if isinstance(top.value, dict) and top.key is None:
                raise _fail("a list or mapping as a key", line, "keys are plain words", top.path)
            path = self._path(top)
        self.lines.setdefault(path, line)
        self.anchors.pop(event.anchor, None)  # while it is being read, it cannot be referred to
        value: list[object] | dict[str, object] = {} if isinstance(event, yaml.MappingStartEvent) else []
        self.stack.append(_Open(value, path, event.anchor))

    def _end(self, line: int) -> None:
        done = self.stack.pop()
        self._place(done.value, done.weight, done.anchor, line, counted=True)

    def _place(self, value: object, weight: int, anchor: str | None, line: int, *, counted: bool = False) -> None:
        self.weight += 1 if counted else weight
        if self.weight > MAX_VALUES:
            raise _fail(f"more than {MAX_VALUES} values, anchors included", line, "put large lists into input files")
        if anchor is not None:
            self.anchors[anchor] = (value, weight)
        if not self.stack:
            self.lines.setdefault("", line)
            self.result.append(value)
            return
        top = self.stack[-1]
        top.weight += weight
        path = self._path(top)
        self.lines.setdefault(path, line)
        if isinstance(top.value, list):
            top.value.append(value)
        else:
            top.value[top.key or ""] = value
            top.key = None

    @staticmethod
    def _path(top: _Open) -> str:
        if isinstance(top.value, list):
            return f"{top.path}[{len(top.value)}]"
        return f"{top.path}.{top.key}" if top.path else str(top.key)

    @staticmethod
    def _untagged(event: Any, line: int) -> None:
        if event.tag not in (None, "!"):
            raise _fail(f"the tag {shown(event.tag)} is not supported", line, "write the plain value")


def _meaning(word: str) -> object:
    if word in _NULLS:
        return None
    if word in ("true", "false"):
        return word == "true"
    if word != "-0" and _INTEGER.fullmatch(word):
        return int(word)
    return word
