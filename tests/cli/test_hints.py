"""Does every "try:" that this program can print name a command that exists, with flags and arguments that it takes?

Collected from the code: whatever is passed as ``fix``, the third word of a doctor's check, and suggestions that name a verb.
"""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from typer.core import TyperGroup

from mesh.base.config import settings
from mesh.cli.app import complete_app

ROOT = Path(__file__).parents[2]
CALLS_WITH_FIX = {"bad": 2, "weak": 2}
"""Function -> place of the hint among its arguments."""
COMMAND = re.compile(r"(?<![\w/.-])mesh (?=[a-z-])")
END = re.compile(r"\s{2,}|\s\(|[`;]|, (?:or|then|and|chain\.)|\n|$|: ")
"""Where a command ends inside a sentence."""
STANDS_FOR = {
    "FILE": "file", "URL": "http://127.0.0.1:1", "MULTIADDR": "/ip4/127.0.0.1/tcp/1", "VALUE": "1", "PEER": "p",
    "JOB.yaml": "job.yaml", "NAME": "devnet",
}  # fmt: skip
"""Words in capitals that the reader has to fill in: nobody else can know them."""


def _text(node: ast.expr) -> str | None:
    """A text as it may be printed; what is computed is some word."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) or "" for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return "abcd1234"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return (_text(node.left) or "abcd1234") + (_text(node.right) or "abcd1234")
    return None


def _texts(node: ast.expr) -> Iterator[str]:
    if isinstance(node, ast.IfExp):
        yield from _texts(node.body)
        yield from _texts(node.orelse)
    elif isinstance(node, ast.BoolOp):
        for one in node.values:
            yield from _texts(one)
    elif (text := _text(node)) is not None:
        yield text


def hints() -> Iterator[tuple[str, str]]:
    """(place in the code, hint)."""
    for folder in ("mesh", "devnet", "protocols"):
        for file in sorted((ROOT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                found: list[ast.expr] = []
                if isinstance(node, ast.Call):
                    found += [word.value for word in node.keywords if word.arg == "fix"]
                    name = node.func.id if isinstance(node.func, ast.Name) else ""
                    if name in CALLS_WITH_FIX and len(node.args) > CALLS_WITH_FIX[name]:
                        found.append(node.args[CALLS_WITH_FIX[name]])
                elif isinstance(node, ast.Assign) and any(
                    isinstance(t, ast.Name) and t.id == "fix" for t in node.targets
                ):
                    found.append(node.value)
                for value in found:
                    for text in _texts(value):
                        yield f"{file.relative_to(ROOT)}:{node.lineno}", text


def commands() -> list[tuple[str, str]]:
    """(place, command) of every `mesh ...` in a hint."""
    found = []
    for place, text in hints():
        for start in COMMAND.finditer(text):
            end = END.search(text, start.start())
            assert end is not None
            found.append((place, text[start.start() : end.start()].rstrip(" .,:")))
    return sorted(set(found))


FOUND = commands()


def test_there_are_many() -> None:
    assert len(FOUND) > 80
    assert len(list(hints())) > 150


@pytest.mark.parametrize(("place", "command"), FOUND, ids=[f"{place} {command}" for place, command in FOUND])
def test_a_hint_is_a_command_that_parses(place: str, command: str) -> None:
    words = [STANDS_FOR.get(word, word) for word in shlex.split(command)][1:]
    assert not [word for word in words if re.fullmatch(r"[A-Z]{3,}", word)], "as printed it names nothing"
    context = typer.main.get_command(complete_app()).make_context("mesh", words, resilient_parsing=False)
    while isinstance(context.command, TyperGroup):
        rest = [*context._protected_args, *context.args]
        if not rest or rest[0] in ("-h", "--help"):
            return
        if rest[0] == "abcd1234":  # one of the group's verbs, which only the caller knows
            return
        command_found = context.command.get_command(context, rest[0])
        assert command_found is not None, f"there is no {context.command_path} {rest[0]}"
        if rest[1:] == ["--help"]:
            return
        context = command_found.make_context(rest[0], rest[1:], parent=context)
    name = context.params.get("name")
    if context.command_path.startswith("mesh config") and isinstance(name, str) and name != "abcd1234":
        assert name in settings()


SHELL = frozenset(
    ["cd", "chmod", "date", "df", "export", "fuser", "kill", "less", "ls", "make", "timedatectl", "ulimit", "unset"]
)
EDITS = (
    "set abcd1234 = abcd1234 under",
    "remove abcd1234 by hand",
    "abcd1234: abcd1234",
    "did you mean",
    "correct abcd1234",
)
"""Where only the reader's own hand helps: a line that this program does not dare to change."""
OURS = ("mesh/cli/", "mesh/chain/", "mesh/base/config/load", "mesh/base/config/home")
NO_COMMAND = ("mesh/cli/doctor.py", "mesh/cli/doctor_home.py", "mesh/cli/dossiers.py")
"""A machine's faults: more disk, a newer kernel; and the other party's file, which it must be asked for."""


def test_what_is_to_be_tried_begins_with_a_command() -> None:
    """A bare --yes and "write 2.5" are none: the reader has to guess where."""
    wrong = [
        (place, text)
        for place, text in hints()
        if place.startswith(OURS) and not place.startswith(NO_COMMAND) and not text.startswith(EDITS)
        if text and text.split()[0] not in SHELL | {"mesh", "abcd1234"}
    ]
    assert not wrong
