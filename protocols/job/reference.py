"""How is the job format explained, to people (a reference page) and to editors (JSON Schema)?

Both come from the tables that parse job files, so they cannot say anything else.
"""

from collections.abc import Iterator
from typing import Any, Final

from protocols.job.keys import JOB
from protocols.job.keys_run import GPUS
from protocols.job.kinds import REQUIRED, Items, Key, Table
from protocols.job.not_yet import NOT_YET

__all__ = ["json_schema", "reference"]

_INTRO: Final = """# job.yaml

Version 1. Generated from the schema: `mesh job schema` prints it for editors, `mesh job validate FILE` checks a file.

- An unknown key is an error that names the line, the path and the nearest known key. All problems are listed at once.
- Plain words are text: `no`, `010`, `1:30` and dates are never guessed into something else. Switches: `true`, `false`.
- A range is `a` or `a+` (at least), `a..b`, or `..b`. The low end is reserved for the job and is its hard limit; the
  high end leaves out larger machines.
- Sizes have a unit (`512MiB`, `1GB`), durations too (`30s`, `5m`, `1h30m`), money its token (`2.50 MESH`, to the wei).
- A constraint compares a published property: `region in [eu, us]`, `cpus >= 4 and measured.inet_down >= 200`.
  Operators are `< <= == != >= > in notin`, joined by `and`, `or` and parentheses. `measured.` refuses what is merely
  declared; `reliability` is what your own node has seen.
- A fixed price pays for `limits.wall` seconds of the low ends of `resources`, or the provider's minimum.
"""


def reference() -> str:
    """The reference page, as Markdown."""
    lines = [_INTRO, *_table("Keys", JOB)]
    for key in JOB.keys:
        inner = _inner(key.kind)
        if inner is not None:
            lines += _table(f"`{key.name}`", inner)
    lines += _table("`resources.gpus`, long form", GPUS.table)
    lines += ["## Not supported by this version", "", "These are checked like all others; then the job is refused.", ""]
    lines += ["| what | instead |", "|---|---|"]
    lines += [f"| {row.what} | {row.instead} |" for row in NOT_YET]
    return "\n".join(lines) + "\n"


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a job file. It knows forms, not how keys fit together."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "mesh job, version 1",
        **JOB.json,
    }


def _inner(kind: object) -> Table[Any] | None:
    if isinstance(kind, Items):
        return _inner(kind.item)
    return kind if isinstance(kind, Table) else None


def _table(title: str, table: Table[Any]) -> Iterator[str]:
    yield f"## {title}"
    yield ""
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for key in table.keys:
        yield f"| `{key.name}` | {_cell(key.kind.words)} | {_default(key)} | {_cell(key.about)} |"
    yield ""


def _default(key: Key[Any]) -> str:
    if key.default is REQUIRED:
        return "**required**"
    if key.shown_default:
        return key.shown_default if "`" in key.shown_default or " " in key.shown_default else f"`{key.shown_default}`"
    if isinstance(key.kind, Table):
        return "see below"
    if key.default in ((), "", None):
        return "none"
    return f"`{str(key.default).lower() if isinstance(key.default, bool) else key.default}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
