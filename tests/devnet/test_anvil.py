"""Is anvil found where it is installed, is its port its own, and is nothing left of it, whatever it started itself?"""

import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from textwrap import dedent

import pytest
import trio

from devnet.chain import ChainHandle, find_anvil, run_chain

LIMIT_S = 90.0
STANDS_IN = """
    import sys
    from http.server import BaseHTTPRequestHandler, HTTPServer

    class Chain(BaseHTTPRequestHandler):
        def do_POST(self):
            asked = self.rfile.read(int(self.headers["content-length"]))
            print(asked.decode(), flush=True)
            body = b'{"jsonrpc":"2.0","id":1,"result":"0x7a69"}'
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    port = int(sys.argv[sys.argv.index("--port") + 1])
    if port:
        sys.exit("Error: Address already in use (os error 98)")
    server = HTTPServer(("127.0.0.1", 0), Chain)
    print(f"Listening on 127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
"""
"""Anvil on a machine where every port that somebody found a moment ago is another's by now."""


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


async def test_a_port_that_another_program_takes_meanwhile_is_no_harm(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "anvil"
    program.write_text(f"#!{sys.executable}\n{dedent(STANDS_IN)}")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    log = tmp_path / "log"
    log.write_text("Listening on 127.0.0.1:9\n")  # said by the one before it
    handle: ChainHandle = await nursery.start(partial(run_chain, kind="anvil", log=log))
    listens = [line for line in log.read_text().splitlines() if line.startswith("Listening on ")]
    assert listens[-1] == f"Listening on {handle.rpc_url.removeprefix('http://')}"
    assert "anvil_setLoggingEnabled" in log.read_text()
