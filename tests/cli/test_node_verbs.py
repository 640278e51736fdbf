"""Do up, down, drain, resume and status do what they say, and fail with the next command to type?"""

import subprocess
import sys

import msgspec
import pytest
import trio

from mesh.base.clock import SystemClock
from mesh.base.keys import create_key
from mesh.store import Store


def test_status(mesh, node) -> None:
    said = mesh("status")
    assert said.code == 0
    for word in ("16Uiu2HAmPeer", "devnet, chain 31337", "1h01m", "127.0.0.1: serves", "offers wasm (L2)", "1 of 2"):
        if word != "1 of 2":
            assert word in said.out
    assert mesh("status", "-o", "json").json["peers"] == 3


def test_status_says_why_nothing_is_offered(mesh, node) -> None:
    mine = msgspec.structs.replace(node.about.provider, offering=False, reason="no Landlock")
    node.about = msgspec.structs.replace(node.about, provider=mine)
    assert "offers nothing: no Landlock" in mesh("status").out
    node.about = msgspec.structs.replace(node.about, provider=msgspec.structs.replace(mine, draining=True))
    assert "draining" in mesh("status").out


@pytest.mark.parametrize("verb", [["status"], ["down"], ["drain"], ["resume"], ["peers"], ["offers"], ["gpus"]])
def test_without_a_node(mesh, home, verb) -> None:
    mesh(*verb).failed(4, "no node runs here", "mesh up --detach")


def test_drain_and_resume(mesh, node) -> None:
    assert "mesh resume" in mesh("drain").talk
    assert node.arguments("drain") == {"draining": True}
    assert mesh("resume").code == 0
    assert node.arguments("drain") == {"draining": False}


def test_down_stops_the_node(mesh, node) -> None:
    said = mesh("down")
    assert said.code == 0
    assert "stopped; 1 deals wait for `mesh up`" in said.talk
    assert node.stopped.is_set()
    assert "drain" not in dict(node.asked)


def test_down_waits_until_the_home_is_free(mesh, node, home) -> None:
    """Another process holds the store's lock, as a node that is still stopping does."""
    lock = home / "node.db.lock"
    lock.touch()
    assert mesh("down").code == 0


def test_down_lets_jobs_end_first(mesh, node) -> None:
    node.busy = [2, 2, 1, 0]
    said = mesh("down", "--drain", "1m")
    assert said.code == 0
    assert "draining: 1 jobs" in said.talk
    assert [name for name, _ in node.asked if name in ("drain", "stop")] == ["drain", "stop"]


def test_down_does_not_wait_for_ever(mesh, node) -> None:
    node.busy = [1]
    said = mesh("down", "--drain", "1s")
    assert "not everything was done in time" in said.talk
    assert node.stopped.is_set()


def test_down_with_a_wrong_duration(mesh, node) -> None:
    mesh("down", "--drain", "10").failed(2, "no duration", "10m")
    assert node.asked == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--gpus", "0,2"], "--gpus 0,2 is not supported"),
        (["--role", "provider,relay"], "--role relay is not supported"),
    ],
)
def test_up_refuses_what_is_not_built(mesh, home, arguments, says) -> None:
    mesh("up", *arguments).failed(2, says, "by this version")
    assert not home.exists()


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["--price", "1"], 2, "--price 1 cannot be read"),
        (["--price", "1/gpu"], 2, "gpu-h"),
        (["--price", "much/job"], 2, "'much' is no amount"),
        (["--price", "1/gpu-h", "--price", "1/gpu-s"], 2, "twice"),
        (["--role", "wizard"], 2, "--role wizard"),
        (["--slots", "0"], 2, "--slots 0"),
        (["--listen", "here"], 2, "--listen here"),
        (["--bootstrap", "there"], 2, "--bootstrap there"),
        (["--rpc", "file:///etc"], 2, "--rpc file:///etc"),
        (["--network", "mars"], 2, "there is no network 'mars'"),
    ],
)
def test_up_with_bad_flags(mesh, home, arguments, code, says) -> None:
    mesh("up", *arguments).failed(code, says)


@pytest.mark.parametrize(
    "arguments",
    [
        ["offers", "--bootstrap", "there"],
        ["submit", "job.yaml", "--rpc", "ftp://x"],
        ["submit", "job.yaml", "--network", "mars"],
        ["wallet", "show", "--rpc", "x"],
        ["chain", "deploy", "--network", "mars"],
        ["chain", "deploy", "--network", "devnet", "--rpc", "http://127.0.0.1:9", "--token", "0x12"],
        ["doctor", "--network", "mars"],
        ["down", "--drain", "soon"],
        ["events", "--since", "x"],
        ["ps", "-o", "yaml"],
        ["submit", "job.yaml", "--set", "market.max_prize=3 MESH"],
        ["submit", "job.yaml", "-e", "NOT_SET"],
        ["job", "validate", "job.yaml", "--set", "nothing"],
        ["wallet", "deposit", "much"],
    ],
    ids=" ".join,
)
def test_a_bad_flag_ends_every_verb_with_the_same_code(mesh, node, job, arguments) -> None:
    said = mesh(*arguments)
    assert (said.code, said.out) == (2, "")


TROUBLE = "no room to write to the store /h/node.db: its disk has 0 KiB left\n  try: make room: df -h /h"


def test_a_node_without_room_says_so(mesh, node) -> None:
    assert "IN TROUBLE" not in mesh("status").out
    node.about = msgspec.structs.replace(node.about, trouble=TROUBLE)
    said = mesh("status")
    assert said.code == 0
    assert TROUBLE in said.out
    assert mesh("status", "-o", "json").json["trouble"] == TROUBLE


def test_a_bad_flag_names_the_verbs_help(mesh, home) -> None:
    assert mesh("up", "--slots", "0").talk.endswith("  try: mesh up --help\n")
    assert mesh("chain", "deploy", "--network", "mars").talk.endswith("  try: mesh chain deploy --help\n")


def test_up_without_contracts_says_so(mesh, home, monkeypatch) -> None:
    monkeypatch.setenv("MESH_CHAIN_RPC", "http://127.0.0.1:9")
    said = mesh("up", "--role", "provider", "--slots", "2", "--price", "0.036/cpu-h")
    said.failed(3, "no escrow is known on devnet", "mesh chain deploy")
    assert (home / "node.key").stat().st_mode & 0o777 == 0o600


def test_up_detached_reports_what_the_process_said(mesh, home, monkeypatch) -> None:
    monkeypatch.setenv("MESH_CHAIN_RPC", "http://127.0.0.1:9")
    said = mesh("up", "--detach", "--slots", "2")
    said.failed(3, "the node did not start", "no escrow is known on devnet", "mesh chain deploy")
    assert (home / "up.log").exists()
    assert not list(home.glob(".ready*"))


async def test_two_nodes_in_one_home(home) -> None:
    home.mkdir(mode=0o700)
    async with await Store.open(home / "node.db", clock=SystemClock()):
        with process_of("up") as process:
            _, talk = await trio.to_thread.run_sync(process.communicate)
    assert process.returncode == 3
    assert "is in use" in talk
    assert talk.splitlines()[-1].startswith("  try: ")


async def test_a_node_that_is_just_starting_is_waited_for(home, serve, new_node) -> None:
    """It holds the store and does not listen yet."""
    create_key(home / "node.key")
    async with await Store.open(home / "node.db", clock=SystemClock()):
        with process_of("wait", "0x1f3a") as process:
            try:
                assert process.stderr is not None
                for word in ("starting a client node", "waiting for it"):
                    assert word in await trio.to_thread.run_sync(process.stderr.readline)
                with serve(new_node(), home / "api.sock"):
                    out, _ = await trio.to_thread.run_sync(process.communicate)
            finally:
                process.kill()
    assert process.returncode == 0
    assert "0x1f3acdcd" in out


def process_of(*arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "mesh.cli.app", *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
