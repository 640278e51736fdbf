"""Does `mesh submit` carry a job from its file to its result, and end as it should? And `mesh quote`, `mesh run`?"""

from pathlib import Path

import pytest

from mesh.base.errors import ChainOrFunds
from protocols.job.canonical import CanonicalJob

TOKEN = 10**18
RUN = "0x1f3acdcd"


def test_submit_prints_the_jobs_output_as_data_and_the_rest_as_talk(mesh, node, job, run_of, searching) -> None:
    node.story = [searching, run_of()]
    said = mesh("submit", str(job))
    assert (said.code, said.out) == (0, "3.14159\n")
    for word in (f"run {RUN}", "settled 0xfefefefe", "commitment  0x9b0101", "paid        0.5 MESH", "mesh get"):
        assert word in said.talk


def test_what_is_submitted(mesh, node, job) -> None:
    mesh("submit", str(job), "--set", "limits.wall=90s", "-e", "SEED=7")
    sent = node.arguments("submit")["submission"]
    assert (sent.max_price, sent.budget) == (str(2 * TOKEN), str(3 * TOKEN))
    canonical = CanonicalJob.decode(sent.job)
    assert canonical.name == "pi"
    assert "SEED" in str(canonical)
    assert node.arguments("add")["path"] == Path("pi.wasm").resolve()


def test_submit_json(mesh, node, job) -> None:
    said = mesh("submit", str(job), "-o", "json")
    assert said.json["deals"][0]["final_tx"].startswith("0xfe")
    assert mesh("submit", str(job), "-f", "-o", "jsonl").lines[0]["status"] == "done"


def test_submit_quietly(mesh, node, job) -> None:
    said = mesh("submit", str(job), "-q")
    assert said.out == f"{RUN}{'cd' * 28}\n"
    assert said.talk == ""


def test_submit_detached(mesh, node, job) -> None:
    said = mesh("submit", str(job), "--detach")
    assert said.out.strip().startswith(RUN)
    assert "run" not in dict(node.asked)
    assert mesh("submit", str(job), "--detach", "-o", "json").json["run_id"].startswith(RUN)


@pytest.mark.parametrize(
    ("outcome", "exit_code", "code"),
    [("exited", 0, 0), ("failed", 3, 3), ("failed", 125, 125), ("failed", 200, 1), ("timeout", -1, 1), ("fuel", -1, 1)],
)
def test_following_ends_with_the_jobs_code(mesh, node, job, run_of, outcome, exit_code, code) -> None:
    node.story = [run_of(outcome=outcome, exit_code=exit_code)]
    assert mesh("submit", str(job), "-f").code == code
    assert mesh("submit", str(job)).code == 0


def test_following_copies_the_log_as_it_comes(mesh, node, job, run_of, searching) -> None:
    node.story = [searching] * 4 + [run_of()]
    node.log = {"stdout": b"one\ntwo\n", "stderr": b"careful\n"}
    said = mesh("submit", str(job), "-f")
    assert (said.code, said.out) == (0, "one\ntwo\n")
    assert "careful\n" in said.talk


def test_a_log_that_cannot_be_had_does_not_end_the_run(mesh, node, job, run_of, searching) -> None:
    node.failing["logs"] = ChainOrFunds("the provider is gone")
    node.story = [searching] * 3 + [run_of()]
    assert mesh("submit", str(job), "-f").code == 0


def test_the_result_is_put_where_it_is_wanted(mesh, node, job, monkeypatch) -> None:
    mesh("submit", str(job), "-d", "out")
    assert Path("out/result.json").exists()
    monkeypatch.setenv("MESH_CLIENT_DOWNLOAD_DIR", "all")
    mesh("submit", str(job))
    assert Path("all/pi-1f3acdcd/stdout").read_text() == "3.14159\n"


def test_a_run_that_fails_ends_with_its_code(mesh, node, job, run_of, searching) -> None:
    node.story = [searching, run_of(status="failed", code="no-match", detail="2 of 3 are busy", settled=False)]
    said = mesh("submit", str(job))
    said.failed(5, "no provider took run", "2 of 3 are busy", f"mesh describe {RUN}", "refused", "no slot")


def test_a_run_that_was_cancelled_elsewhere(mesh, node, job, run_of) -> None:
    node.story = [run_of(status="cancelled", settled=False)]
    mesh("submit", str(job)).failed(1, "was cancelled", f"mesh retry {RUN}")


def test_the_bond_of_a_dispute_is_said_before_anything_is_signed(mesh, node, job) -> None:
    """It is taken from the free balance unasked, and the budget does not cover it."""
    said = mesh("submit", str(job), "--set", "verify.enforcement=panel", "--set", "market.max_price=1 MESH")
    assert "a bond of up to 4.1 MESH from your free balance" in said.talk
    assert dict(node.asked)["submit"]["submission"].enforcement == "panel"
    assert "bond" not in mesh("submit", str(job)).talk


PANEL = ("--set", "verify.enforcement=panel", "--set", "market.max_price=1 MESH")


def test_so_is_the_deposit_of_an_appeal_and_when_it_is_paid(mesh, node, job, monkeypatch) -> None:
    """A dispute whose appeal nobody answers is lost: who submits must know that the node may put up more than the bond."""
    talk = mesh("submit", str(job), *PANEL).talk
    assert "a deposit of up to 8.4 MESH more, to defend a verdict" in talk
    assert "dispute.appeal when_sure, dispute.max_deposit 100 MESH" in talk
    monkeypatch.setenv("MESH_DISPUTE_MAX_DEPOSIT", "2")
    assert "a deposit of up to 2 MESH more" in mesh("submit", str(job), *PANEL).talk
    monkeypatch.setenv("MESH_DISPUTE_APPEAL", "never")
    assert "never paid for" in mesh("submit", str(job), *PANEL).talk


def test_programs_are_told_of_bond_and_deposit_too(mesh, node, job, monkeypatch) -> None:
    stakes = {
        "bond": str(41 * TOKEN // 10),
        "appeal_deposit": str(84 * TOKEN // 10),
        "appeal": "when_sure",
        "max_deposit": str(100 * TOKEN),
    }
    assert mesh("submit", str(job), *PANEL, "-o", "json").json["dispute"] == stakes
    assert mesh("submit", str(job), *PANEL, "--detach", "-o", "jsonl").lines[0]["dispute"] == stakes
    monkeypatch.setenv("MESH_DISPUTE_APPEAL", "never")
    assert mesh("submit", str(job), *PANEL, "-o", "json").json["dispute"]["appeal_deposit"] == "0"
    assert "dispute" not in mesh("submit", str(job), "-o", "json").json


def test_nothing_is_submitted_of_a_bad_file(mesh, node, job) -> None:
    job.write_text("version: 1\nmodule: ./pi.wasm\nlimits: {wall: 300}\n")
    mesh("submit", str(job)).failed(3, "job.yaml:3", "limits.wall", "mesh job validate job.yaml")
    assert "submit" not in dict(node.asked)


def test_a_module_that_is_not_there(mesh, node, job) -> None:
    Path("pi.wasm").unlink()
    mesh("submit", str(job)).failed(3, "there is no pi.wasm")


def test_a_file_that_is_not_there(mesh, node) -> None:
    mesh("submit", "nope.yaml").failed(3, "there is no file nope.yaml")


def test_money_that_is_not_there(mesh, node, job) -> None:
    node.failing["submit"] = ChainOrFunds("too little is free in escrow", why="0.1 of 2", fix="mesh wallet deposit 2")
    mesh("submit", str(job)).failed(6, "too little", "mesh wallet deposit 2")


def test_without_a_node_and_without_anybody_to_dial(mesh, home, job) -> None:
    for verb in ("submit", "quote"):
        mesh(verb, str(job)).failed(3, "no peer is known", "--bootstrap")


def test_a_killed_nodes_socket_counts_as_no_node(mesh, home, job) -> None:
    import socket

    home.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(home / "api.sock"))
    mesh("submit", str(job)).failed(3, "no peer is known")


def test_quote_lists_prices(mesh, node, job) -> None:
    said = mesh("quote", str(job))
    assert said.code == 0
    assert "0.25 MESH" in said.out
    assert "busy" not in said.out
    assert "submit" not in dict(node.asked)


def test_quote_explains_every_offer(mesh, node, job) -> None:
    said = mesh("quote", str(job), "--explain")
    assert "busy" in said.out
    assert "full" in said.out
    assert [one["verdict"] for one in mesh("quote", str(job), "--explain", "-o", "json").json] == ["quoted", "refused"]
    assert len(mesh("quote", str(job), "-o", "jsonl").lines) == 1


def test_quote_when_nobody_quotes(mesh, node, job) -> None:
    node.answered = node.answered[1:]
    mesh("quote", str(job)).failed(5, "nobody quotes", "1 offers were looked at", "mesh quote job.yaml --explain")
    explained = mesh("quote", str(job), "--explain")
    assert (explained.code, "full" in explained.out) == (5, True)


def test_validate_and_schema(mesh, job) -> None:
    said = mesh("job", "validate", str(job))
    assert (said.code, said.out) == (0, "")
    assert "a valid wasm job named pi" in said.talk
    job.write_text("version: 1\nmodul: ./pi.wasm\n")
    mesh("job", "validate", str(job)).failed(3, "modul", "module")


def test_validate_looks_at_the_files_and_tokens_too(mesh, job) -> None:
    Path("pi.wasm").unlink()
    mesh("job", "validate", str(job)).failed(3, "job.yaml:3: module: there is no pi.wasm", "ls .")
    Path("pi.wasm").write_bytes(b"\0asm\1\0\0\0")
    job.write_text("version: 1\nmodule: ./pi.wasm\nmarket:\n  max_price: 2.50 ETH\n")
    foreign = "job.yaml:4: market.max_price: this network has no token ETH"
    mesh("job", "validate", str(job)).failed(3, foreign, "use MESH")
    mesh("submit", str(job)).failed(3, foreign)
    assert mesh("job", "schema").json["title"] == "mesh job, version 1"


def test_run_of_a_lilypad_module_is_refused_clearly(mesh) -> None:
    mesh("run", "cowsay:v0.0.4", "-i", "Message=moo").failed(2, "oci executor", "not supported by this version")
    mesh("run", "ubuntu:24.04", "--", "echo", "-n", "hi").failed(2, "ubuntu:24.04 -- echo -n hi cannot run yet")
