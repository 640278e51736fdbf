"""Does the command line start light, know its verbs, and end every error with the next command?"""

import subprocess
import sys

import pytest

from mesh.base.errors import EXIT_CODES, Defect, MeshError
from mesh.cli.app import app, told

HEAVY = {
    "web3",
    "libp2p",
    "wasmtime",
    "structlog",
    "httpx",
    "trio",
    "hypercorn",
    "starlette",
    "coincurve",
    "numpy",
    "yaml",
}
VERBS = {
    *(
        "up",
        "down",
        "drain",
        "resume",
        "status",
        "doctor",
        "submit",
        "quote",
        "run",
        "ps",
        "describe",
        "spend",
        "events",
        "logs",
    ),
    *("wait", "get", "cancel", "retry", "offers", "gpus", "peers", "deals", "completion", "version", "help"),
}
GROUPS = {"job", "deal", "mediator", "wallet", "chain", "key", "config", "policy"}
MODULES_AFTER = """
import sys
from mesh.cli.app import main
try:
    main(sys.argv[1:])
finally:
    print(*sys.modules, file=sys.stderr)
"""
LISTS = ["", *sorted(GROUPS), "wallet channels", "devnet"]
LATER = ["pow", "rewards", "leaderboard", "emission"]


def in_a_process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    import os

    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )


@pytest.mark.parametrize("arguments", [["--help"], ["submit", "--help"], ["wallet", "deposit", "-h"], ["devnet", "-h"]])
def test_help_is_light(arguments) -> None:
    said = in_a_process("-c", MODULES_AFTER, *arguments)
    assert said.returncode == 0
    assert said.stdout.startswith("Usage: mesh")
    assert {name.split(".")[0] for name in said.stderr.split()} & HEAVY == set()


def test_the_verbs_of_this_milestone_and_no_others(mesh) -> None:
    assert {one.name or one.callback.__name__ for one in app.registered_commands if one.callback} == VERBS
    assert GROUPS <= {one.name for one in app.registered_groups} <= GROUPS | {"devnet"}
    for name in LATER:
        said = mesh(name)
        assert (said.code, said.out) == (2, "")
        assert "No such command" in said.talk


def test_every_verb_says_what_it_does(mesh) -> None:
    for group in [[], *[[name] for name in sorted(GROUPS)]]:
        listed = mesh(*group, "--help").out.partition("Commands:")[2].strip().splitlines()
        assert listed
        for line in listed:
            assert len(line.split(maxsplit=1)) == 2, line


def test_a_usage_error_names_the_help(mesh) -> None:
    for arguments in (["statu"], ["submit"], ["ps", "--nope"]):
        said = mesh(*arguments)
        assert said.code == 2
        assert "-h" in said.talk


def test_help_and_version_as_everywhere(mesh) -> None:
    assert mesh("help").out == mesh("--help").out
    assert mesh("help", "submit").out == mesh("submit", "--help").out
    assert mesh("help", "wallet", "deposit").out == mesh("wallet", "deposit", "-h").out
    mesh("help", "submitt").failed(2, "there is no mesh submitt", "mesh --help")
    mesh("help", "wallet", "burn").failed(2, "there is no mesh wallet burn", "mesh wallet --help")
    mesh("help", "ps", "more").failed(2, "there is no mesh ps more", "mesh ps --help")
    assert mesh("--version").out.split()[0] == "mesh"
    assert mesh("--version").out.split()[1] == mesh("version", "-o", "json").json["mesh-compute"]


def test_version(mesh) -> None:
    assert "wasmtime" in mesh("version").out
    assert set(mesh("version", "-o", "json").json) == {"mesh-compute", "wasmtime", "libp2p"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(mesh, shell) -> None:
    assert "_MESH_COMPLETE" in mesh("completion", shell).out


def test_completion_knows_verbs() -> None:
    words = {"COMP_WORDS": "mesh sub", "COMP_CWORD": "1", "_MESH_COMPLETE": "complete_bash"}
    said = in_a_process("-m", "mesh.cli.app", **words)
    assert said.stdout.split() == ["submit"]


def test_an_unknown_shell(mesh) -> None:
    assert mesh("completion", "cmd").code == 2


@pytest.mark.parametrize("kind", [*EXIT_CODES.values(), Defect])
def test_every_error_ends_with_what_to_type(kind) -> None:
    assert told(kind("it broke")).splitlines()[-1] == "  try: mesh --help"
    assert told(kind("it broke", why="no disk", fix="df -h")).splitlines() == [
        "mesh: it broke: no disk",
        "  try: df -h",
    ]


def test_strangers_words_in_errors_move_no_cursor() -> None:
    shown = told(MeshError("refused", why="\x1b[31mred\x07", fix="mesh ps\r"))
    assert shown == "mesh: refused: \\x1b[31mred\\x07\n  try: mesh ps\\x0d"


def test_a_fault_of_ours_shows_its_traceback_and_ends_with_what_to_type(mesh, node) -> None:
    node.story = ["not a run"]
    said = mesh("ps")
    assert said.code == 1
    assert said.talk.splitlines()[-1].startswith("  try: ")


@pytest.mark.parametrize(
    "arguments", [["config", "view", "-o", "jsonl"], ["ps", "-a", "-o", "json"], ["logs", "0x1f3a"]]
)
def test_a_reader_that_has_seen_enough(node, arguments) -> None:
    code = [sys.executable, "-m", "mesh.cli.app", *arguments]
    writer = subprocess.Popen(code, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stderr is not None
    writer.stdout.close()
    complaints = writer.stderr.read()
    writer.stderr.close()
    assert writer.wait(60) == 1
    assert complaints == b""


def test_colours_are_never_printed_to_a_pipe(mesh, node) -> None:
    for verb in (["status"], ["ps", "-a"], ["--help"], ["offers"]):
        said = mesh(*verb)
        assert "\x1b" not in said.out + said.talk


@pytest.mark.parametrize("group", LISTS)
def test_a_list_of_verbs_cuts_no_sentence_short(group) -> None:
    said = in_a_process("-m", "mesh.cli.app", *group.split(), "--help", COLUMNS="80").stdout
    assert [line for line in said.splitlines() if line.endswith("...") and not line.startswith("Usage:")] == []
