"""Where does each setting come from, and what is it in the end?

Precedence: flags > ``MESH_*`` variables > ./mesh.toml > the user's config.toml > the network's preset > defaults.
Every value is checked where it stands, also one that a stronger layer hides: a broken file is found on the day it
breaks. ``origins`` says for each setting which layer won.
"""

import difflib
import os
import tomllib
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Final, Literal, cast

import msgspec

from mesh.base.config.home import mesh_home, user_config_file
from mesh.base.config.schema import Config, Setting, convert_leaf, settings, tokens_text
from mesh.base.errors import ConfigError, UsageError
from protocols.units import Tokens

__all__ = [
    "MAX_FILE_BYTES",
    "LoadedConfig",
    "Origin",
    "line_of",
    "load_config",
    "read_toml",
    "setting_named",
    "value_text",
]

MAX_FILE_BYTES: Final = 256 * 1024
"""A configuration file in use has 1-3 KiB; a larger one is another file given by mistake."""
_SIMILAR: Final = 0.8
"""Least similarity at which an unknown MESH_ variable counts as a typing error and not as somebody else's."""

Preset = Mapping[str, object] | Callable[[str], Mapping[str, object]]


class Origin(msgspec.Struct, frozen=True):
    """Which layer a value comes from, and where in it."""

    source: Literal["flag", "env", "file", "preset", "default"]
    where: str = ""

    def __str__(self) -> str:
        """For a table: ``./mesh.toml:12``, ``MESH_LOG_LEVEL``, ``preset devnet``, ``default``."""
        return f"preset {self.where}" if self.source == "preset" else self.where or self.source


class LoadedConfig(msgspec.Struct, frozen=True):
    """The settings of this process with their origins, the node's home, and the files that were read."""

    config: Config
    origins: Mapping[str, Origin]
    home: Path
    files: tuple[Path, ...]

    def value(self, name: str) -> object:
        """The value of a dotted name. Raises ``ConfigError`` for a name that does not exist."""
        setting_named(name)
        section, field = name.split(".")
        return cast(object, getattr(getattr(self.config, section), field))

    def rows(self) -> Iterator[tuple[str, str, Origin]]:
        """Name, value as text and origin of every setting, in the order of the reference page."""
        for name in settings():
            yield name, value_text(self.value(name)), self.origins[name]


_Layer = dict[str, tuple[object, Origin]]


def load_config(
    *,
    flags: Mapping[str, object] | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    file: Path | None = None,
    preset: Preset | None = None,
    flag_names: Mapping[str, str] | None = None,
) -> LoadedConfig:
    """Read every layer and put them on top of each other.

    ``flags`` maps dotted names to values or texts; None means not given. ``flag_names`` says how a flag is typed where
    it is not called like its field. ``env`` defaults to this process's
    environment; an empty variable counts as not set. ``file`` takes the place of ./mesh.toml and must exist.
    ``preset`` is what the network brings, written as a TOML file would be (``{section: {field: value}}``, amounts as
    text), or a function to it from the network's name (``chain.preset`` if set, else ``network.name``).
    Raises ``ConfigError`` naming the file, the line, the setting and the nearest known one, ``UsageError`` for a flag.
    """
    env = os.environ if env is None else env
    local = file or (cwd or Path.cwd()) / "mesh.toml"
    found = [path for path in (local, user_config_file(env)) if path == file or path.is_file()]
    layers = [_flags(flags or {}, flag_names or {}), _env(env), *(_file(path) for path in found)]
    name = _strongest(layers, "chain.preset") or _strongest(layers, "network.name") or Config().network.name
    brought = preset(str(name)) if callable(preset) else preset or {}
    layers.append(_sections(brought, lambda *_: Origin("preset", str(name))))
    values: dict[str, dict[str, object]] = {}
    origins: dict[str, Origin] = {}
    for setting in settings().values():
        value, origin = next((layer[setting.name] for layer in layers if setting.name in layer), (None, None))
        if origin is not None:
            section, field = setting.name.split(".")
            values.setdefault(section, {})[field] = value
        origins[setting.name] = origin or Origin("default")
    sections = {name: type(getattr(Config(), name))(**fields) for name, fields in values.items()}
    return LoadedConfig(Config(**sections), MappingProxyType(origins), mesh_home(env), tuple(found))


def setting_named(name: str) -> Setting:
    """The setting of a dotted name. Raises ``ConfigError`` with the nearest known one."""
    if name in settings():
        return settings()[name]
    raise ConfigError(f"there is no setting {name!r}", fix=_suggest(name))


def read_toml(path: Path) -> tuple[str, dict[str, object]]:
    """Text and content of a TOML file, decimals exact.

    Raises ``ConfigError`` for one that is missing, unreadable, too long or not TOML.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"cannot read {path}", why=error.strerror or str(error), fix=f"ls -l {path}") from error
    if len(raw) > MAX_FILE_BYTES:
        raise ConfigError(f"{path} is too long for a configuration file", why=f"more than {MAX_FILE_BYTES} bytes")
    try:
        text = raw.decode()
        return text, tomllib.loads(text, parse_float=Decimal)
    except (
        ValueError,
        ArithmeticError,
        RecursionError,
    ) as error:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ConfigError(
            f"{path} is not TOML", why=str(error), fix=f"mesh config view   (after correcting {path})"
        ) from error


def value_text(value: object) -> str:
    """A value as a person writes it; an amount as decimal tokens, an unset one as ``-``."""
    if isinstance(value, tuple):
        return ",".join(map(value_text, value))
    if isinstance(value, Tokens):
        return tokens_text(value)
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


def line_of(text: str, section: str, field: str = "") -> int | None:
    """The 1-based line where a key, or with no ``field`` a section, stands; None where it can't be told cheaply.

    tomllib keeps no positions. This reads headers and keys line by line, which covers every form but a key inside an
    inline table or quoted keys with escapes.
    """
    table = ""
    for number, line in enumerate(text.split("\n"), 1):
        bare = line.strip()
        if bare.startswith("["):
            table = bare.strip("[]").split("#")[0].strip(" ]\"'")
            if table == section and not field:
                return number
        key = ".".join(part.strip(" \"'") for part in bare.split("=")[0].split("."))
        full = f"{table}.{key}" if table else key
        if "=" in bare and (full == f"{section}.{field}" if field else full == section):
            return number
    return None


def _flags(flags: Mapping[str, object], names: Mapping[str, str]) -> _Layer:
    layer: _Layer = {}
    for name, value in flags.items():
        if value is not None:
            flag = names.get(name) or f"--{name.split('.')[-1].replace('_', '-')}"
            setting = setting_named(name)
            try:
                leaf = convert_leaf(setting, value, text=True)
            except ValueError as error:
                raise UsageError(f"{flag} {value} cannot be used: {error}", why=setting.about) from error
            layer[name] = (leaf, Origin("flag", flag))
    return layer


def _env(env: Mapping[str, str]) -> _Layer:
    known = {setting.variable: setting for setting in settings().values()}
    layer: _Layer = {}
    for variable in sorted(name for name, value in env.items() if name.startswith("MESH_") and value):
        if variable in known:
            setting = known[variable]
            fix = f"unset {variable}   (or correct it)"
            layer[setting.name] = (_leaf(setting, env[variable], variable, fix, text=True), Origin("env", variable))
        elif near := difflib.get_close_matches(variable, known, n=1, cutoff=_SIMILAR):
            raise ConfigError(
                f"there is no variable {variable}",
                why="nothing reads it",
                fix=f"unset {variable}   (did you mean {near[0]}?)",
            )
    return layer


def _file(path: Path) -> _Layer:
    text, content = read_toml(path)

    def origin(section: str, field: str = "") -> Origin:
        line = line_of(text, section, field)
        return Origin("file", f"{path}:{line}" if line else str(path))

    return _sections(content, origin)


def _sections(content: Mapping[str, object], origin: Callable[..., Origin]) -> _Layer:
    layer: _Layer = {}
    tables = {name.split(".")[0] for name in settings()}
    for section, fields in content.items():
        where = origin(section)
        if section not in tables:
            raise ConfigError(f"{where}: there is no section [{section}]", fix=_suggest(section))
        if not isinstance(fields, Mapping):
            raise ConfigError(
                f"{where}: {section} is a section, not a value",
                fix=f"mesh config view   (after writing [{section}] on its own line)",
            )
        for field, value in fields.items():
            at = origin(section, field)
            name = f"{section}.{field}"
            if name not in settings():
                raise ConfigError(f"{at}: there is no setting {name}", fix=_suggest(name))
            fix = f"mesh config get {name}   (after correcting {at.where.split(':')[0]})"
            layer[name] = (_leaf(settings()[name], value, str(at), fix, text=False), at)
    return layer


def _leaf(setting: Setting, value: object, where: str, fix: str, *, text: bool) -> object:
    try:
        return convert_leaf(setting, value, text=text)
    except ValueError as error:
        raise ConfigError(
            f"{where}: {setting.name} cannot be used", why=f"{error} ({setting.about.rstrip('.')})", fix=fix
        ) from error


def _strongest(layers: list[_Layer], name: str) -> object:
    return next((layer[name][0] for layer in layers if name in layer), None)


def _suggest(name: str) -> str:
    """What the writer of an unknown name probably meant."""
    known = list(settings())
    field = name.rpartition(".")[2]
    tables = sorted({n.split(".")[0] for n in known})
    same_field = [n for n in known if n.split(".")[1] == field]
    near = same_field or difflib.get_close_matches(name, known, n=1) or difflib.get_close_matches(name, tables, n=1)
    return (
        f"did you mean {near[0]}?  (mesh config view lists all)" if near else "mesh config view   (lists all settings)"
    )
