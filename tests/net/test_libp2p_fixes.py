"""Does every fix of libp2p hold, and does the stock library fail without it?

Each probe runs twice in a process of its own: on the stock library, and on ours. A fix is proved by two facts: what the
stock library does, which must still be bad (else the fix can go), and what ours does.
"""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mesh.net import libp2p_fixes

PROBES = Path(__file__).parent / "probes"
ROOT = Path(__file__).parents[2]
Facts = dict[str, Any]
Proof = tuple[str, Callable[[Facts], bool], Callable[[Facts], bool]]
# A probe is two programs with dozens of handshakes: ten seconds on an idle machine.
pytestmark = pytest.mark.timeout(600)


def start(probe: str, mode: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-W", "ignore", str(PROBES / f"{probe}.py"), mode]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@functools.cache
def facts(probe: str) -> tuple[Facts, Facts]:
    """What the stock library and ours do. Both run at the same time."""
    found = []
    with start(probe, "stock") as stock, start(probe, "sturdy") as ours:
        try:
            for process in (stock, ours):
                output, errors = process.communicate(timeout=500)
                assert process.returncode == 0, errors[-3000:]
                found.append(json.loads(output.splitlines()[-1]))
        finally:  # one that was left running would be the failure of some later test, too
            stock.kill()
            ours.kill()
    return found[0], found[1]


def dies(attack: str) -> Proof:
    return ("crashes", lambda stock: stock[attack].startswith("died"), lambda ours: ours[attack] == "survived")


PROOFS: dict[str, Proof] = {
    "rpc-guard": dies("malformed_rpc"),
    "message-guard": dies("garbage_key"),
    "validator-guard": dies("faulty_validator"),
    "handler-guard": dies("faulty_handler"),
    "window-batches": (
        "wire",
        lambda stock: stock["window_updates"]["updates"] >= 500,
        lambda ours: ours["window_updates"]["updates"] <= 20,
    ),
    "window-enforced": (
        "wire",
        lambda stock: stock["overrun"]["held"] > 1024 * 1024 and not stock["overrun"]["closed"],
        lambda ours: ours["overrun"]["held"] <= 256 * 1024 and ours["overrun"]["closed"],
    ),
    "eager-select": (
        "wire",
        lambda stock: stock["negotiation"]["eager"] == 0,
        lambda ours: ours["negotiation"]["eager"] == 3,
    ),
    "reset-frees": (
        "wire",
        lambda stock: stock["reset_streams"]["held"] >= 1024 * 1024,
        lambda ours: ours["reset_streams"]["held"] == 0,
    ),
    "whole-frames": (
        "wire",
        lambda stock: not stock["cancelled_writes"]["usable"],
        lambda ours: ours["cancelled_writes"]["usable"],
    ),
    "sturdy-muxer": (
        "wire",
        lambda stock: stock["multiplexer"]["muxer"] == "Yamux",
        lambda ours: ours["multiplexer"]["muxer"] == "SturdyYamux",
    ),
    "inbound-slots": (
        "wire",
        lambda stock: stock["inbound_slots"]["served"] == 4,
        lambda ours: ours["inbound_slots"]["served"] == 10,
    ),
    "accept-gate": (
        "wire",
        lambda stock: not stock["silent_sockets"]["entered"],
        lambda ours: ours["silent_sockets"]["entered"],
    ),
    "no-auto-dial": (
        "wire",
        lambda stock: stock["auto_dial"]["dialled"],
        lambda ours: not ours["auto_dial"]["dialled"],
    ),
    "stream-bound": (
        "wire",
        lambda stock: stock["many_streams"]["kept"] == 200,
        lambda ours: ours["many_streams"]["kept"] <= 64,
    ),
    "socket-reads": (
        "wire",
        lambda stock: stock["socket_reads"]["asked"] == 200,
        lambda ours: ours["socket_reads"]["asked"] == 1,
    ),
    "few-locks": (
        "wire",
        lambda stock: stock["steps_per_echo"]["steps"] >= 40,
        lambda ours: ours["steps_per_echo"]["steps"] <= 8,
    ),
    "whole-messages": (
        "wire",
        lambda stock: stock["noise_messages"]["messages"] >= 7,
        lambda ours: ours["noise_messages"]["messages"] <= 5,
    ),
    "own-port": (
        "wire",
        lambda stock: stock["same_port"]["second_listens"],
        lambda ours: not ours["same_port"]["second_listens"],
    ),
    # A wait, not a speed: the stock dial sleeps 250 ms even when it is done.
    "dial-delay": (
        "wire",
        lambda stock: stock["dial_time"]["seconds"] >= 0.25,
        lambda ours: libp2p_fixes.DIAL_HEAD_START_S < 0.25 and ours["dial_time"]["seconds"] > 0,
    ),
    "queue-sizes": (
        "wire",
        lambda stock: stock["constants"]["queued"] == 32,
        lambda ours: ours["constants"]["queued"] == 200,
    ),
    "p256": ("wire", lambda stock: not stock["constants"]["p256"], lambda ours: ours["constants"]["p256"]),
    "quiet-logs": ("wire", lambda stock: not stock["constants"]["quiet"], lambda ours: ours["constants"]["quiet"]),
    "buffered-rpc": (
        "gossip",
        lambda stock: stock["by_hand"]["reads"] >= 90,
        lambda ours: ours["by_hand"]["reads"] <= 10,
    ),
    "inline-messages": (
        "gossip",
        lambda stock: stock["burst"]["tasks"] >= 20,
        lambda ours: ours["burst"]["tasks"] <= 5 and ours["burst"]["arrived"] == 200,
    ),
    "no-sender-record": (
        "gossip",
        lambda stock: stock["by_hand"]["sender_records"] > 0,
        lambda ours: ours["by_hand"]["sender_records"] == 0,
    ),
    "own-grafts": (
        "gossip",
        lambda stock: stock["control_messages"]["grafts"]["second"] == ["one", "two"],
        lambda ours: ours["control_messages"]["grafts"] == {"first": ["one"], "second": ["two"]},
    ),
    "bounded-state": (
        "gossip",
        lambda stock: stock["burst"]["messages_kept"] > 0 and stock["burst"]["timestamps_kept"] > 0,
        lambda ours: ours["burst"]["messages_kept"] == 0 and ours["burst"]["timestamps_kept"] == 0,
    ),
    "seen-cache": (
        "gossip",
        lambda stock: stock["threads"]["left"] == 1,
        lambda ours: ours["threads"]["left"] == 0,
    ),
    "silent-peer": (
        "frozen",
        lambda stock: stock["noticed_s"] is None,
        lambda ours: ours["noticed_s"] is not None,
    ),
}


@pytest.mark.parametrize("fix", PROOFS)
def test_the_stock_library_fails_and_ours_does_not(fix: str) -> None:
    probe, stock_is_bad, ours_is_good = PROOFS[fix]
    stock, ours = facts(probe)
    assert stock_is_bad(stock), f"libp2p no longer needs the fix {fix}: {stock}"
    assert ours_is_good(ours), f"the fix {fix} does not hold: {ours}"


def test_every_fix_has_its_proof() -> None:
    assert PROOFS.keys() == libp2p_fixes.FIXES.keys()


@pytest.mark.parametrize("version", ["0.8.0", "0.8.2", "0.9.0"])
def test_another_libp2p_is_refused_with_the_way_out(version: str) -> None:
    with pytest.raises(libp2p_fixes.LibraryMismatch, match=r"pip install libp2p==0\.8\.1"):
        libp2p_fixes.check_version(version)
