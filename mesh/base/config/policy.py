"""Which jobs does this machine's owner want? The policy file, read into the rules' own value.

TOML, like every other setting. Every key is optional, an unknown one is an error with its nearest relative, and nothing in
it can widen what the offer says: a policy only refuses.
"""

import difflib
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from mesh.base.config.load import line_of, read_toml
from mesh.base.errors import ConfigError
from protocols.errors import RemoteProtocolError
from protocols.job.peers import peer_from_text
from protocols.job.problems import BadValue, shown
from protocols.job.units import duration_ms
from protocols.offers.policy import DAY_MINUTES, MAX_POLICY_ENTRIES, Hours, OwnUse, Policy
from protocols.transfer.cid import parse_cid

__all__ = ["PolicyFile", "parse_policy", "read_policy"]

EXECUTORS: Final = ("wasm", "oci", "process")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
MAX_PROGRAMS: Final = 64
"""Names looked for in the process list at every probe."""
MAX_PROGRAM_CHARS: Final = 15
"""What the kernel keeps of a program's name (TASK_COMM_LEN less its end)."""
_HOURS: Final = re.compile(r"(?:([a-z,-]+) )?(\d\d):(\d\d)-(\d\d):(\d\d)", re.ASCII)
_ZONE: Final = re.compile(r"UTC|([+-])(\d\d):(\d\d)", re.ASCII)


class PolicyFile(msgspec.Struct, frozen=True):
    """What the file says: the rules' part, and the programs by which the shell knows that the owner is at work."""

    policy: Policy = Policy()
    programs: tuple[str, ...] = ()


def read_policy(path: Path) -> PolicyFile:
    """The policy in a file. Raises ``ConfigError`` naming file, line, key and what to write."""
    text, content = read_toml(path)
    return parse_policy(content, str(path), text)


def parse_policy(content: Mapping[str, Any], name: str, text: str) -> PolicyFile:
    """The policy in a TOML document called ``name``; ``text`` tells its lines. Raises ``ConfigError``."""
    found: dict[str, Any] = {}
    programs: tuple[str, ...] = ()
    for key, value in _flat(content):
        reader = _KEYS.get(key)
        if reader is None:
            near = difflib.get_close_matches(key, _KEYS, n=1)
            raise _wrong(name, text, key, "there is no such key", f"did you mean {near[0]}?" if near else "")
        field, read = reader
        try:
            given = read(value)
        except (BadValue, ValueError, RemoteProtocolError) as error:
            raise _wrong(name, text, key, str(error), getattr(error, "suggestion", "")) from error
        if field == "programs":
            programs = given
        else:
            found[field] = given
    return PolicyFile(Policy(**found), programs)


def _flat(content: Mapping[str, Any]) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = []
    for key, value in content.items():
        if isinstance(value, Mapping):
            rows += [(f"{key}.{inner}", one) for inner, one in value.items()] or [(key, value)]
        else:
            rows.append((key, value))
    return rows


def _wrong(name: str, text: str, key: str, message: str, advice: str) -> ConfigError:
    section, _, field = key.rpartition(".")
    line = line_of(text, section, field) if section else line_of(text, field)
    where = f"{name}:{line}" if line else name
    why = f"{message}: {advice}" if advice else message
    return ConfigError(
        f"{where}: {key} cannot be used", why=why, fix=f"correct {name}   (docs/how-to/my-box-my-rules.md)"
    )


def _list(value: object) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
        raise BadValue(f"{shown(value)} is no list of texts", 'write ["...", "..."]')
    if len(value) > MAX_POLICY_ENTRIES:
        raise BadValue(f"{len(value)} entries, at most {MAX_POLICY_ENTRIES} allowed")
    return value


def _executors(value: object) -> tuple[str, ...]:
    names = _list(value)
    for one in names:
        if one not in EXECUTORS:
            raise BadValue(f"{shown(one)} is no executor", f"one of {', '.join(EXECUTORS)}")
    return tuple(names)


def _programs(value: object) -> tuple[str, ...]:
    names = _list(value)
    for one in names:
        if not one or "/" in one:
            raise BadValue(f"{shown(one)} is no program's name", "write it as `ps -e` shows it, without its folder")
    if len(names) > MAX_PROGRAMS:
        raise BadValue(f"{len(names)} programs, at most {MAX_PROGRAMS} allowed")
    return tuple(one[:MAX_PROGRAM_CHARS] for one in names)


def _number(least: int, most: int) -> Callable[[object], int]:
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise BadValue(f"{shown(value)} is no number from {least} to {most}")
        return value

    return read


def _seconds(value: object) -> int:
    return max(duration_ms(value) // 1000, 1)


def _own_use(value: object) -> OwnUse:
    if value not in ("refuse", "stop"):
        raise BadValue(f"{shown(value)} is neither refuse nor stop", "refuse lets running jobs end, stop ends them")
    return OwnUse(stop=value == "stop")


def _zone(value: object) -> int:
    found = _ZONE.fullmatch(value) if isinstance(value, str) else None
    if found is None or int(found[2] or 0) > 14 or int(found[3] or 0) > 59:
        raise BadValue(f"{shown(value)} is no offset from UTC", 'write "+01:00", "-05:30" or "UTC"')
    minutes = int(found[2] or 0) * 60 + int(found[3] or 0)
    return -minutes if found[1] == "-" else minutes


def _hours(value: object) -> tuple[Hours, ...]:
    return tuple(_hours_of(one) for one in _list(value))


def _hours_of(text: str) -> Hours:
    advice = 'write "mon-fri 22:00-06:00", "sat,sun 00:00-24:00" or "22:00-06:00"'
    found = _HOURS.fullmatch(text)
    if found is None:
        raise BadValue(f"{shown(text)} is no part of the week", advice)
    start, end = int(found[2]) * 60 + int(found[3]), int(found[4]) * 60 + int(found[5])
    if start >= DAY_MINUTES or end > DAY_MINUTES or int(found[3]) > 59 or int(found[5]) > 59:
        raise BadValue(f"{shown(text)} names an hour that no day has", advice)
    return Hours(days=_days(found[1] or "mon-sun", text, advice), start=start, end=end)


def _days(words: str, text: str, advice: str) -> tuple[int, ...]:
    days: set[int] = set()
    for word in words.split(","):
        first, dash, last = word.partition("-")
        if first not in DAYS or (dash and last not in DAYS):
            raise BadValue(f"{shown(text)} names a day that no week has", advice)
        begin, stop = DAYS.index(first), DAYS.index(last or first)
        days.update((begin + step) % 7 for step in range((stop - begin) % 7 + 1))
    return tuple(sorted(days))


_KEYS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "executors": ("executors", _executors),
    "max_wall": ("max_wall_s", _seconds),
    "modules.allow": ("modules", lambda value: tuple(map(parse_cid, _list(value)))),
    "modules.refuse": ("refuse_modules", lambda value: tuple(map(parse_cid, _list(value)))),
    "clients.allow": ("clients", lambda value: tuple(map(peer_from_text, _list(value)))),
    "clients.refuse": ("refuse_clients", lambda value: tuple(map(peer_from_text, _list(value)))),
    "hours.lend": ("hours", _hours),
    "hours.zone": ("utc_offset_min", _zone),
    "gpu.max_watts": ("max_gpu_watts", _number(1, 10_000)),
    "gpu.max_celsius": ("max_gpu_celsius", _number(1, 150)),
    "own_use.programs": ("programs", _programs),
    "own_use.then": ("own_use", _own_use),
}
"""Key -> the field of the policy that it sets, and its reader."""
