"""What do the reference pages say? Markdown out of the code that they describe; pure functions, nothing is written here."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from mesh.base.config import settings
from mesh.base.config.load import value_text
from mesh.base.errors import EXIT_CODES
from protocols.job.reference import reference

__all__ = ["cli_page", "config_page", "exit_codes_page", "pages"]

_CLI: Final = """# Command line

Generated from the code by `make docs`; `mesh VERB -h` says the same.

- stdout is data, stderr is talk. `-o json` prints one JSON value, `-o jsonl` one per line; amounts are decimal strings
  in wei, ids hexadecimal with `0x`. Fields are added in later versions, never renamed.
- A run or deal is named by its id or by its first four hexadecimal digits or more, as long as they are unambiguous.
- Verbs talk to the node that runs in this home (`MESH_HOME`) through its socket. Those that look after jobs and money
  start a client node for themselves when none runs, and say so; that also resumes what an earlier command left behind.
- Ctrl-C leaves a run to itself, it does not cancel it.
- How a command ends: [exit codes](exit-codes.md). What can be set: [configuration](config.md).
"""
_CONFIG: Final = """# Configuration

Generated from the code by `make docs`; `mesh config view --origins` prints the values in force and where each is from.

The first that says something decides: a flag, a `MESH_` variable (an empty one counts as not set), `./mesh.toml` or,
where there is none, the one in the node's home, `~/.config/mesh/config.toml`, the preset of the network, the default.
`mesh config set NAME VALUE` writes the file that this home's node reads and names it: the home's mesh.toml with
`MESH_HOME` set, else your config.toml; `--local` is ./mesh.toml, `--user` your config.toml in any case. Amounts are decimal
numbers of whole tokens, lists in variables have commas.
`MESH_HOME` is the folder of the node: key, store, blobs, log, socket.

```toml
[network]
name = "arbitrum-sepolia"

[provider]
roles = ["client", "provider"]
price_per_cpu_s = "0.00001"
```
"""
_EXIT_CODES: Final = """# Exit codes

Generated from the code by `make docs`.

`mesh submit -f` ends with the job's own code when the job ran: 0 to 125 as it is, 1 for everything else that a job can
end with. Otherwise:

| code | when |
|---|---|
| 0 | All went well. |
"""


def pages() -> Mapping[str, str]:
    """File name -> page."""
    from typer.main import get_command

    from mesh.cli.app import complete_app

    return {
        "cli.md": cli_page(get_command(complete_app())),
        "config.md": config_page(),
        "exit-codes.md": exit_codes_page(),
        "job-yaml.md": reference(),
    }


def cli_page(root: Any) -> str:
    """Every verb that is not hidden, groups after the plain ones. ``root``: typer's command for the whole program."""
    lines = [_CLI]
    for name, command in _walk(root, "mesh"):
        lines += _verb(name, command)
    return "\n".join(lines).rstrip() + "\n"


def _walk(group: Any, path: str) -> Iterator[tuple[str, Any]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        if hasattr(command, "commands"):
            yield from _walk(command, f"{path} {name}")
        else:
            yield f"{path} {name}", command


def _verb(name: str, command: Any) -> Iterator[str]:
    context = command.make_context(name, [], resilient_parsing=True)
    usage = [_piece(piece) for piece in command.collect_usage_pieces(context)]
    yield f"## {name}"
    yield ""
    yield f"`{' '.join([name, *usage])}`"
    yield ""
    yield from (command.help or "").replace("\n", " ").split("  ")
    yield ""
    rows = [one.get_help_record(context) for one in command.params if not getattr(one, "hidden", False)]
    if rows:
        yield "| | |"
        yield "|---|---|"
        yield from (f"| `{_cell(row[0])}` | {_cell(row[1])} |" for row in rows if row)
        yield ""


def _piece(piece: str) -> str:
    """typer writes what is required in braces."""
    return piece[1:-1] if piece.startswith("{") else piece


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def config_page() -> str:
    """Every setting, by section."""
    lines = [_CONFIG]
    section = ""
    for name, setting in settings().items():
        if name.split(".")[0] != section:
            section = name.split(".")[0]
            lines += [f"## {section}", "", "| setting | default | meaning |", "|---|---|---|"]
        default = value_text(setting.default)
        shown = "unset" if default == "-" else f"`{default}`" if default else "empty"
        lines.append(f"| `{name}`<br>`{setting.variable}` | {shown} | {_cell(setting.about)} |")
        if name == list(_section(section))[-1]:
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _section(section: str) -> Iterator[str]:
    return (name for name in settings() if name.startswith(f"{section}."))


def exit_codes_page() -> str:
    """Every code with the docstring of its error."""
    rows = [
        f"| {code} | {_cell((kind.__doc__ or '').split(chr(10) * 2)[0])} |" for code, kind in sorted(EXIT_CODES.items())
    ]
    return _EXIT_CODES + "\n".join(rows) + "\n"
