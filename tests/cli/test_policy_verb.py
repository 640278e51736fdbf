"""Does `mesh policy test` say whether this machine would take a job, and why not?"""

from pathlib import Path

import pytest

PEER = "16Uiu2HAmPLe7Mzm8TsYUubgCAW1aJoeFScxrLj8ppHFivPo97bUZ"
POLICY = f'[clients]\nrefuse = ["{PEER}"]\n[hours]\nlend = ["mon 00:00-24:00"]\n'
MONDAY = "2026-01-05T12:00Z"


@pytest.fixture
def policy(home: Path) -> str:
    Path("policy.toml").write_text(POLICY)
    return "policy.toml"


def test_without_a_policy_what_fits_is_taken(mesh, home, job) -> None:
    said = mesh("policy", "test", str(job))
    assert said.code == 0
    assert "taken" in said.out
    assert not home.exists()


def test_what_the_owner_does_not_want(mesh, home, job, policy) -> None:
    assert mesh("policy", "test", str(job), "--policy", policy, "--at", MONDAY).code == 0
    said = mesh("policy", "test", str(job), "--policy", policy, "--at", MONDAY, "--client", PEER, "-o", "json")
    assert said.code == 5
    assert (said.json["takes"], said.json["offer"]) == (False, [])
    assert "takes no jobs from" in said.json["owner"][0]
    tuesday = mesh("policy", "test", str(job), "--policy", policy, "--at", "2026-01-06T12:00Z")
    assert tuesday.code == 5
    assert "lends it at mon 00:00-24:00, there it is tue 12:00" in tuesday.out
    assert tuesday.talk.splitlines()[-1].startswith("  try: mesh ")


def test_what_the_machine_cannot_do(mesh, home, job, monkeypatch) -> None:
    monkeypatch.setenv("MESH_PROVIDER_MAX_JOB_S", "1")
    said = mesh("policy", "test", str(job))
    assert said.code == 5
    assert "unfit" in said.out


def test_the_configured_file_is_used_and_must_be_in_order(mesh, home, job, policy, monkeypatch) -> None:
    monkeypatch.setenv("MESH_PROVIDER_POLICY_FILE", policy)
    assert mesh("policy", "test", str(job), "--at", MONDAY).code == 0
    Path(policy).write_text("clint = 1\n")
    mesh("policy", "test", str(job)).failed(3, "policy.toml:1", "clint")
    mesh("up", "--role", "provider").failed(3, "policy.toml:1", "clint")
    assert not (home / "node.key").exists()


@pytest.mark.parametrize("flags", [["--at", "noon"], ["--client", "me"]])
def test_bad_flags(mesh, home, job, flags) -> None:
    mesh("policy", "test", str(job), *flags).failed(2, flags[1])
