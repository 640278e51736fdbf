"""Is anvil found where it is installed, and is nothing left of it, whatever it started itself?"""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from devnet.chain import find_anvil

LIMIT_S = 90.0


def install(place: Path) -> Path:
    """What npm leaves of @foundry-rs/anvil below a folder; answers the real binary."""
    scope = place / "node_modules" / "@foundry-rs"
    real = scope / "anvil-linux-amd64" / "bin" / "anvil"
    for file in (scope / "anvil" / "bin.mjs", real):
        file.parent.mkdir(parents=True)
        file.write_text("#!/bin/sh\n")
        file.chmod(0o755)
    folder = place / "node_modules" / ".bin"
    folder.mkdir()
    (folder / "anvil").symlink_to(scope / "anvil" / "bin.mjs")
    return real


def test_npms_script_is_not_taken_for_anvil(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    monkeypatch.chdir(tmp_path)
    assert find_anvil() is None
    real = install(tmp_path)
    assert find_anvil() == real
    monkeypatch.setenv("PATH", str(tmp_path / "node_modules" / ".bin"))
    assert find_anvil() == real
    real.unlink()  # npm has brought the script alone: there is no binary for this platform
    assert find_anvil() is None


def test_the_guard_ends_what_its_program_started(tmp_path: Path) -> None:
    told = tmp_path / "pid"
    script = f"sleep 600 & echo $! > {told}.part; mv {told}.part {told}; wait"
    guard = subprocess.Popen(
        [sys.executable, "-m", "devnet.chain.guard", "sh", "-c", script],
        stdin=subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin"},
    )
    end = time.monotonic() + LIMIT_S
    while not told.exists():
        assert time.monotonic() < end
    assert guard.stdin is not None
    guard.stdin.close()
    guard.wait(LIMIT_S)
    pid = int(told.read_text())
    while alive(pid):
        assert time.monotonic() < end, "what the program started lives on"


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
