"""What kinds of value may a key hold? Each kind reads a value, describes itself to people and to JSON Schema.

``Key`` binds a name, a kind, a default and its explanation; ``Table`` is a mapping of known keys. One table per section
is the only description of the job file: parsing, the reference page and the JSON Schema all come from it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, Protocol, TypeVar, cast

from protocols.job.problems import BadValue, Place, Unread, nearest, shown

__all__ = ["REQUIRED", "Choice", "Items", "Key", "Kind", "Pairs", "Scalar", "Table", "Values"]

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Required:
    """Stands for "no default" in a ``Key``."""


REQUIRED: Final = _Required()


class Kind(Protocol[T_co]):
    """A kind of value. ``words`` says what it is, ``json`` is its JSON Schema."""

    @property
    def words(self) -> str: ...
    @property
    def json(self) -> dict[str, Any]: ...
    def read(self, value: object, place: Place) -> T_co:
        """The value's meaning. Raises ``BadValue`` (the caller reports it) or ``Unread`` (already reported)."""
        ...


class Key(Generic[T]):
    """One key of a table.

    ``default`` is the parsed value of an absent key, ``shown_default`` how the reference prints it.
    ``fallback`` stands in for a required value that is missing or wrong, so that the rest can still be checked.
    """

    def __init__(
        self,
        name: str,
        kind: Kind[T],
        default: T | _Required,
        about: str,
        *,
        shown_default: str = "",
        fallback: T | _Required = REQUIRED,
    ) -> None:
        self.name = name
        self.kind = kind
        self.default = default
        self.about = about
        self.shown_default = shown_default
        self.fallback = fallback if isinstance(default, _Required) else default

    @property
    def json(self) -> dict[str, Any]:
        """The JSON Schema of its value. An empty value means the default, wherever there is one."""
        required = isinstance(self.default, _Required)
        return {
            **(self.kind.json if required else {"anyOf": [self.kind.json, {"type": "null"}]}),
            "description": self.about,
        }

    def read(self, table: Mapping[object, object], place: Place) -> T:
        """This key's value out of a table, or its default. Raises ``Unread`` when there is no usable value."""
        value = table.get(self.name)
        if value is None:
            if isinstance(self.default, _Required):
                place.key(self.name).report("is missing", f"add `{self.name}:` ({self.kind.words})")
                raise Unread
            return self.default
        here = place.key(self.name)
        try:
            return self.kind.read(value, here)
        except BadValue as error:
            here.report(error.message, error.suggestion)
            raise Unread from None


class Values:
    """The values of one table, by key."""

    def __init__(self, values: dict[str, object]) -> None:
        self._values = values

    def __getitem__(self, key: Key[T]) -> T:
        return cast(T, self._values[key.name])


class Scalar(Generic[T]):
    """A single value, read by a function that raises ``BadValue``."""

    def __init__(self, words: str, one: Callable[[object], T], json: dict[str, Any]) -> None:
        self.words = words
        self.json = json
        self._one = one

    def read(self, value: object, place: Place) -> T:
        return self._one(value)


class Choice:
    """One of a few words."""

    def __init__(self, *choices: str) -> None:
        self.choices = choices
        self.words = " or ".join(f"`{c}`" for c in choices)
        self.json: dict[str, Any] = {"enum": list(choices)}

    def read(self, value: object, place: Place) -> str:
        if isinstance(value, str) and value in self.choices:
            return value
        meant = nearest(value, self.choices) if isinstance(value, str) else ""
        listed = ", ".join(self.choices)
        raise BadValue(
            f"{shown(value)} is not one of {listed}", f"did you mean {meant}?" if meant else f"write one of {listed}"
        )


class Items(Generic[T]):
    """A list of one kind, bounded, all its problems reported."""

    def __init__(self, item: Kind[T], most: int, *, unique: bool = False) -> None:
        self.item = item
        self.most = most
        self.unique = unique
        self.words = f"list of {item.words}, at most {most}"
        self.json: dict[str, Any] = {"type": "array", "items": item.json, "maxItems": most}

    def read(self, value: object, place: Place) -> tuple[T, ...]:
        if not isinstance(value, list):
            wrapped = f"[{value}]" if isinstance(value, str | int) and len(str(value)[:50]) < 40 else "[...]"
            raise BadValue(f"{shown(value)} is not a list", f"write {wrapped}")
        if len(value) > self.most:
            raise BadValue(f"{len(value)} items, at most {self.most} allowed", "remove some")
        found: list[T] = []
        whole = True
        for index, item in enumerate(value):
            here = place.item(index)
            try:
                one = self.item.read(item, here)
                if self.unique and one in found:
                    here.report(f"{shown(item)} is listed twice", "remove one of them")
                found.append(one)
            except BadValue as error:
                here.report(error.message, error.suggestion)
                whole = False
            except Unread:
                whole = False
        if not whole:
            raise Unread
        return tuple(found)


class Pairs(Generic[T]):
    """A mapping with names of the author's choice, bounded, sorted by name."""

    def __init__(self, name: Callable[[object], str], item: Kind[T], most: int, words: str) -> None:
        self._name = name
        self.item = item
        self.most = most
        self.words = f"{words}, at most {most}"
        self.json: dict[str, Any] = {"type": "object", "additionalProperties": item.json, "maxProperties": most}

    def read(self, value: object, place: Place) -> tuple[tuple[str, T], ...]:
        if not isinstance(value, dict):
            raise BadValue(f"{shown(value)} is not a mapping", "write NAME: value, one a line, indented")
        if len(value) > self.most:
            raise BadValue(f"{len(value)} entries, at most {self.most} allowed", "remove some")
        found: dict[str, T] = {}
        whole = True
        for key, item in value.items():
            here = place.key(str(key))
            try:
                found[self._name(key)] = self.item.read(item, here)
            except BadValue as error:
                here.report(error.message, error.suggestion)
                whole = False
        if not whole:
            raise Unread
        return tuple(sorted(found.items()))


class Table(Generic[T]):
    """A mapping with known keys, built into a struct. Unknown keys are problems that name the nearest known one."""

    def __init__(
        self,
        keys: tuple[Key[Any], ...],
        build: Callable[[Values], T],
        words: str = "mapping",
        aliases: Mapping[str, str] | None = None,
    ) -> None:
        self.keys = keys
        self.words = words
        self._build = build
        self._aliases = aliases or {}
        self._names = {key.name for key in keys}

    @property
    def json(self) -> dict[str, Any]:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": [key.name for key in self.keys if isinstance(key.default, _Required)],
            "properties": {key.name: key.json for key in self.keys},
        }

    def read(self, value: object, place: Place) -> T:
        if not isinstance(value, dict):
            first = self.keys[0].name
            raise BadValue(f"{shown(value)} is not a mapping", f"write {{{first}: ...}}")
        for name in value:
            if name not in self._names:
                self._unknown(name, place)
        values: dict[str, object] = {}
        whole = True
        for key in self.keys:
            try:
                values[key.name] = key.read(value, place)
            except Unread:
                whole = False
                values[key.name] = key.fallback
        if not whole and any(isinstance(v, _Required) for v in values.values()):
            raise Unread
        return self._build(Values(values))

    def defaults(self) -> T:
        """What an absent or empty table means. Only for tables without required keys."""
        return self._build(Values({key.name: key.default for key in self.keys}))

    def _unknown(self, name: object, place: Place) -> None:
        here = place.key(str(name) if isinstance(name, str | int) else shown(name))
        meant = self._aliases.get(str(name)) or nearest(str(name), self._names)
        listed = ", ".join(key.name for key in self.keys)
        if meant:
            place.key(meant).suspect()
        here.report("unknown key", f"did you mean {meant}?" if meant else f"known keys here: {listed}")
