"""How is one setting changed in a file that a person wrote?

The line is replaced in place: comments, order and everything else stay. The result is parsed again and compared with
what it should say before it takes the place of the old file, so a form this editor does not know is refused, never
mangled.
"""

import json
import os
import tomllib
from contextlib import suppress
from decimal import Decimal
from pathlib import Path

from mesh.base.config.load import line_of, read_toml, setting_named
from mesh.base.config.schema import Setting, convert_leaf, tokens_text
from mesh.base.errors import ConfigError
from protocols.units import Tokens

__all__ = ["set_value"]


def set_value(file: Path, key: str, value: str | None) -> None:
    """Set ``key`` (dotted) in ``file`` to ``value`` as a person types it, or remove it (None).

    Creates the file and its folder. The old file is replaced in one step: after a crash either the old or the new one
    stands. Raises ``ConfigError`` for an unknown key, a value that cannot be used, or a file that cannot be changed.
    """
    setting = setting_named(key)
    literal = None if value is None else _literal(setting, value)
    target = file.resolve()
    text, content = read_toml(target) if target.exists() else ("", {})
    section, field = key.split(".")
    expected = {name: dict(table) if isinstance(table, dict) else table for name, table in content.items()}
    table = expected.setdefault(section, {})
    if isinstance(table, dict):
        table.pop(field, None)
        if literal is not None:
            table[field] = _parse(f"{field} = {literal}")[field]
    changed = _replace(text, section, field, literal)
    try:
        same = {k: v for k, v in _parse(changed).items() if v != {}} == {k: v for k, v in expected.items() if v != {}}
    except (ValueError, ArithmeticError):
        same = False
    if not same:
        raise ConfigError(
            f"{file} cannot be changed by this command",
            why=f"{key} is written there in a form that it does not know",
            fix=f"set {field} = {literal} under [{section}] in {file} by hand" if literal else f"remove {key} by hand",
        )
    _write(target, changed)


def _literal(setting: Setting, value: str) -> str:
    try:
        typed = convert_leaf(setting, value, text=True)
    except ValueError as error:
        raise ConfigError(
            f"{setting.name} cannot be {value!r}", why=str(error), fix=f"{setting.name}: {setting.about}"
        ) from error
    if typed is None:
        raise ConfigError(f"{setting.name} has no value to write", fix=f"mesh config set --unset {setting.name}")
    literal = _toml(typed)
    try:
        literal.encode()  # a lone surrogate, from an argument that is not UTF-8
        _parse(f"value = {literal}")
    except (ValueError, ArithmeticError) as error:
        raise ConfigError(f"{setting.name} cannot be {value!r}", why="it holds control characters") from error
    return literal


def _toml(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Tokens):
        return f'"{tokens_text(value)}"'
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, Decimal):
        return f"{value:f}"
    return json.dumps(str(value), ensure_ascii=False)


def _replace(text: str, section: str, field: str, literal: str | None) -> str:
    """The text with the one assignment replaced, removed or added."""
    lines = text.removesuffix("\n").split("\n") if text else []
    at = line_of(text, section, field)
    if at is not None:
        end = _end_of(lines, at - 1)
        old = lines[at - 1 : end]
        left = old[0].partition("=")[0]
        fresh = [] if literal is None else [f"{left.rstrip()} = {literal}{_comment(old)}"]
        lines[at - 1 : end] = fresh
    elif literal is not None:
        header = line_of(text, section)
        if header is None:
            lines += [*([""] if lines else []), f"[{section}]", f"{field} = {literal}"]
        else:
            lines.insert(header, f"{field} = {literal}")
    return "\n".join(lines) + "\n" if lines else ""


def _end_of(lines: list[str], start: int) -> int:
    """Where the assignment that begins at ``start`` ends: the first line with which it parses."""
    for end in range(start + 1, len(lines) + 1):
        with suppress(ValueError, ArithmeticError):
            _parse("\n".join(lines[start:end]))
            return end
    return start + 1


def _comment(old: list[str]) -> str:
    """The comment behind a one-line assignment, with the space before it."""
    if len(old) != 1:
        return ""
    line = old[0]
    for at, letter in enumerate(line):
        if letter == "#":
            with suppress(ValueError, ArithmeticError):
                _parse(line[:at])
                return line[len(line[:at].rstrip()) :]
    return ""


def _parse(text: str) -> dict[str, object]:
    return tomllib.loads(text, parse_float=Decimal)


def _write(target: Path, text: str) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        mode = target.stat().st_mode & 0o777 if target.exists() else 0o644
        with temporary.open("w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        temporary.replace(target)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise ConfigError(
            f"cannot write {target}", why=error.strerror or str(error), fix=f"ls -ld {target.parent}"
        ) from error
