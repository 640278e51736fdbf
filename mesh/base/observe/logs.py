"""Where do log lines go, and in which form?

A part writes ``log = get_log("store")`` and ``log.info("store.opened", rows=n)``: names are dotted and past tense,
values are fields. Until ``log_to`` is entered, warnings and errors go to the standard ``logging`` module and the rest
nowhere, so that importing and testing a part needs neither structlog (0.4 s to import) nor a set-up.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Literal, TextIO, cast

import msgspec

from mesh.base.clock import log_time
from mesh.base.errors import ConfigError
from mesh.base.observe.clean import clean_fields
from mesh.base.observe.counters import Counters

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

__all__ = ["Level", "Log", "LogStatistics", "adopt_library", "get_log", "log_context", "log_statistics", "log_to"]

Level = Literal["debug", "info", "warning", "error"]
Form = Literal["auto", "json", "pretty"]
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_ROOT: Final = "mesh"
_SELF_MUTED: Final = ("libp2p",)
"""Libraries that stop their lines when they are imported."""


class LogStatistics(msgspec.Struct, frozen=True):
    """Lines handed to the log since the process started, and those lost because a disk or a pipe refused them."""

    lines: int
    lost: int


class _State:
    """The one set-up of this process; ``log_to`` swaps it in and out."""

    threshold = _LEVELS["warning"]
    structured = False
    counters = Counters(LogStatistics)


class Log:
    """A part's log with fields bound to it. Making one costs nothing; a call below the level costs 0.2 us."""

    __slots__ = ("_fields", "_logger", "_part")

    def __init__(self, part: str, fields: dict[str, object] | None = None) -> None:
        self._part = part
        self._fields = fields or {}
        self._logger: logging.Logger | None = None

    def bind(self, **fields: object) -> "Log":
        """A log that adds ``fields`` to every line."""
        return Log(self._part, {**self._fields, **fields})

    def debug(self, event: str, **fields: object) -> None:
        """For who looks for a fault in mesh itself."""
        self._emit("debug", event, fields)

    def info(self, event: str, **fields: object) -> None:
        """Something happened that an operator may want to know later."""
        self._emit("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        """Something is wrong that the node deals with by itself."""
        self._emit("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        """Something is wrong that needs a person."""
        self._emit("error", event, fields)

    def exception(self, event: str, **fields: object) -> None:
        """An error with the traceback of the exception being handled."""
        self._emit("error", event, fields, exc_info=True)

    def _emit(self, level: str, event: str, fields: dict[str, object], *, exc_info: bool = False) -> None:
        if _LEVELS[level] < _State.threshold:
            return
        _State.counters.add("lines")
        everything = {**self._fields, **fields}
        if _State.structured:
            self._structured(level, event, everything, exc_info)
        else:
            shown = " ".join(f"{name}={value}" for name, value in clean_fields(everything).items())
            logging.getLogger(f"{_ROOT}.{self._part}").log(
                _LEVELS[level], "%s", f"{event} {shown}".rstrip(), exc_info=exc_info
            )

    def _structured(self, level: str, event: str, fields: dict[str, object], exc_info: bool) -> None:
        """What structlog and `logging` would do together, at a third of their cost: one record, cleaned once."""
        import structlog

        if self._logger is None:
            self._logger = logging.getLogger(f"{_ROOT}.{self._part}")
        entry: dict[str, object] = {**structlog.contextvars.get_contextvars(), **fields, "event": event}
        entry |= {"logger": self._logger.name, "level": level}
        if exc_info or "exc_info" in entry:
            entry.setdefault("exc_info", True)
            entry = dict(structlog.processors.format_exc_info(self._logger, level, entry))
        record = logging.LogRecord(
            self._logger.name, _LEVELS[level], "", 0, _stamp_and_clean(self._logger, level, entry), None, None
        )
        record.mesh_line = True
        self._logger.handle(record)


def get_log(part: str) -> Log:
    """The log of a part, named as its folder: ``get_log("net")``."""
    return Log(part)


def log_context(**fields: object) -> AbstractContextManager[object]:
    """Within it every line of this task and of the tasks it starts carries ``fields`` (peer, deal, run)."""
    if not _State.structured:
        return ExitStack()
    from structlog.contextvars import bound_contextvars

    return bound_contextvars(**fields)


def log_statistics() -> LogStatistics:
    """Counts since the process started."""
    return _State.counters.freeze()


def adopt_library(name: str) -> None:
    """Let a library's lines through that cuts itself off when it is imported, as libp2p does.

    Call it after the import; ``log_to`` does so for a libp2p that was imported before it.
    """
    logging.getLogger(name).propagate = True


@contextmanager
def log_to(
    stream: TextIO | None = None,
    *,
    level: Level = "info",
    form: Form = "auto",
    file: Path | None = None,
    file_bytes: int = 16 << 20,
    files: int = 4,
) -> Iterator[None]:
    """Send log lines to ``stream`` (default: stderr) and to ``file`` until the block ends; then all is as before.

    The file is always JSON, has mode 0600 and never exceeds ``file_bytes * (files + 1)`` in all. Lines of libraries go
    the same way, from warning up (from info up at level debug). A line that can't be written is counted as lost and
    stops nothing. Raises ``ConfigError`` if the file can't be opened. One at a time per process.
    """
    import structlog

    target = stream or sys.stderr
    pretty = form == "pretty" or (form == "auto" and target.isatty())
    handlers: list[logging.Handler] = [_Stream(target)]
    handlers[0].setFormatter(_formatter(_console(target) if pretty else _json))
    if file is not None:
        handlers.append(_open_file(file, file_bytes, files))
        handlers[1].setFormatter(_formatter(_json))
    root = logging.getLogger()
    ours = logging.getLogger(_ROOT)
    before = (root.level, ours.level, _State.threshold, _State.structured)
    mute = [logger for logger in map(logging.getLogger, _SELF_MUTED) if not logger.propagate]
    _route_structlog()
    for handler in handlers:
        root.addHandler(handler)
    for logger in mute:
        adopt_library(logger.name)
    root.setLevel("INFO" if level == "debug" else "WARNING")
    ours.setLevel(_LEVELS[level])
    _State.threshold, _State.structured = _LEVELS[level], True
    try:
        yield
    finally:
        for handler in handlers:
            root.removeHandler(handler)
            handler.close()
        for logger in mute:
            logger.propagate = False
        root.setLevel(before[0])
        ours.setLevel(before[1])
        _State.threshold, _State.structured = before[2], before[3]
        structlog.reset_defaults()


def _route_structlog() -> None:
    """Our own lines go through the library's loggers, so that all lines meet the same handlers."""
    import structlog

    structlog.configure(
        processors=[*_common(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )


def _common() -> "list[Processor]":
    """What every line passes, ours and the libraries'."""
    import structlog

    return [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.format_exc_info,
        _stamp_and_clean,
    ]


def _stamp_and_clean(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    """Time first, everything cleaned. structlog's own entries (underscored) pass untouched."""
    own = {name: value for name, value in event.items() if name.startswith("_")}
    rest = clean_fields({name: value for name, value in event.items() if name not in own} if own else event)
    return {"time": log_time(), "level": rest.pop("level", ""), "event": rest.pop("event", ""), **rest, **own}


def _formatter(renderer: "Processor") -> logging.Formatter:
    import structlog

    formatter = structlog.stdlib.ProcessorFormatter
    return _Formatter(
        renderer, formatter(processors=[formatter.remove_processors_meta, renderer], foreign_pre_chain=_common())
    )


class _Formatter(logging.Formatter):
    """Our own records are clean already and are only rendered; those of libraries take structlog's way."""

    def __init__(self, renderer: "Processor", foreign: logging.Formatter) -> None:
        super().__init__()
        self._renderer = renderer
        self._foreign = foreign

    def format(self, record: logging.LogRecord) -> str:
        """One line, without its end."""
        if not getattr(record, "mesh_line", False):
            return self._foreign.format(record)
        # The console and the file, and whoever asks how long the line is, may want the same one.
        rendered: tuple[Processor, str] | None = getattr(record, "mesh_text", None)
        if rendered is None or rendered[0] is not self._renderer:
            text = str(self._renderer(None, record.levelname.lower(), dict(cast("EventDict", record.msg))))
            rendered = record.mesh_text = self._renderer, text
        return rendered[1]


def _json(_logger: "WrappedLogger", _method: str, event: "EventDict") -> str:
    return msgspec.json.encode(event).decode()


def _console(stream: TextIO) -> "Processor":
    import structlog

    return structlog.dev.ConsoleRenderer(
        colors=stream.isatty() and not os.environ.get("NO_COLOR"),
        exception_formatter=structlog.dev.plain_traceback,
        timestamp_key="time",
    )


class _Lossy(logging.Handler):
    """A log must not take the node down: what can't be written is counted."""

    def handleError(self, record: logging.LogRecord) -> None:
        """Count the line as lost."""
        _State.counters.add("lost")


class _Stream(_Lossy, logging.StreamHandler[TextIO]):
    """Lines to a terminal or pipe."""


class _File(_Lossy, RotatingFileHandler):
    """Lines to a file that only its owner reads."""

    _bytes = _line_bytes = 0
    """In the file, -1 for one that was just opened; of the line that is written now."""

    def _open(self) -> "IO[str]":  # type: ignore[override]
        def opener(path: str, flags: int) -> int:
            return os.open(path, flags, 0o600)

        self._bytes = -1
        return cast("IO[str]", open(self.baseFilename, self.mode, encoding=self.encoding, opener=opener))

    def shouldRollover(self, record: logging.LogRecord) -> int:
        """Whether the line would make the file too large. Counted here: the base class asks the disk three times a line."""
        if self._bytes < 0:
            self._bytes = self.stream.tell() if self.stream is not None and self.stream.seekable() else 0
        self._line_bytes = len(self.format(record).encode()) + 1
        return int(self._bytes > 0 and self._bytes + self._line_bytes > self.maxBytes)

    def emit(self, record: logging.LogRecord) -> None:
        """Write the line, into the next file if it is the first that finds no room."""
        super().emit(record)
        if self._bytes >= 0:
            self._bytes += self._line_bytes

    def close(self) -> None:
        """Close the file; what a full disk refuses is lost."""
        try:
            super().close()
        except OSError:
            _State.counters.add("lost")


def _open_file(path: Path, max_bytes: int, keep: int) -> logging.Handler:
    try:
        return _File(path, maxBytes=max_bytes, backupCount=keep, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"cannot write the log {path}", why=error.strerror or str(error), fix="mesh config set log.file false"
        ) from error
