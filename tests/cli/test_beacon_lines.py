"""What does a person read about the beacon: in `mesh status`, and in `mesh doctor` with and without a running node?"""

import time
from functools import partial
from typing import Any

import msgspec
import pytest
import trio

from devnet.beacon import BeaconServer
from mesh.api.types import BeaconInfo, NodeStatus, RelayInfo
from mesh.base.config import load_config
from mesh.chain.presets import preset_of
from mesh.cli.diagnosis import Patient
from mesh.cli.doctor_beacon import check_beacon
from mesh.cli.node_verbs import beacon_text
from protocols.beacon.chain import DEVNET_BEACON

GOOD = RelayInfo(url="good.example", state="ready", calls=9, failures=0, lies=0, latency_ms=1.0)
LIAR = RelayInfo(
    url="liar.example", state="quarantined", calls=1, failures=1, lies=1, latency_ms=1.0, last_error="forged"
)
HEARD = BeaconInfo(chain="41ab" * 16, round=77, behind=0, silent_since=None, relays=(GOOD, LIAR))


def patient(beacon: BeaconInfo | None = None, *relays: str) -> Patient:
    flags = {"network.name": "devnet", "beacon.relays": list(relays)}
    running = None
    if beacon is not None:
        names = [field.name for field in msgspec.structs.fields(NodeStatus) if field.name != "beacon"]
        empty: dict[str, Any] = dict.fromkeys(names, None)
        running = NodeStatus(**empty, beacon=beacon)
    return Patient(load_config(flags=flags, preset=preset_of), False, running)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "round 77; 1 of 2 relays serve; liar.example lied"),
        ({"relays": ()}, "round 77; no relays: heard from peers"),
        ({"relays": (GOOD,)}, "round 77; 1 of 1 relays serve"),
        ({"round": 0, "relays": (GOOD,)}, "no round heard yet; 1 of 1 relays serve"),
    ],
)
def test_status_says_how_the_beacon_is_heard(changes: dict[str, Any], text: str) -> None:
    assert beacon_text(msgspec.structs.replace(HEARD, **changes)) == text


def test_status_says_since_when_it_is_silent() -> None:
    told = beacon_text(msgspec.structs.replace(HEARD, silent_since=1_700_000_000))
    assert told.startswith("silent since 2023-11-14")
    assert "last round 77" in told


@pytest.mark.parametrize(
    ("changes", "states", "seen"),
    [
        ({"relays": (GOOD,)}, ["ok"], "round 77"),
        ({}, ["ok", "fail"], "round 77"),
        ({"round": 0, "relays": ()}, ["warn"], "no round"),
        ({"silent_since": 1_700_000_000, "relays": ()}, ["warn"], "silent since"),
    ],
)
async def test_the_doctor_asks_the_running_node(changes: dict[str, Any], states: list[str], seen: str) -> None:
    found = await check_beacon(patient(msgspec.structs.replace(HEARD, **changes)))
    assert [one.state for one in found] == states
    assert seen in found[0].seen
    assert all(one.fix for one in found if one.state != "ok")


async def test_the_doctor_asks_relays_when_no_node_runs(nursery: trio.Nursery) -> None:
    server = BeaconServer()
    await nursery.start(partial(server.run))
    (found,) = await check_beacon(patient(None, server.url))
    assert found.state == "ok"
    assert "verified" in found.seen


@pytest.mark.parametrize("behind", [-3_600, 3_600])
async def test_the_doctor_notices_a_wrong_clock(nursery: trio.Nursery, behind: int) -> None:
    server = BeaconServer(wall=lambda: time.time() - behind)
    await nursery.start(partial(server.run))
    (found,) = await check_beacon(patient(None, server.url))
    assert found.state == "warn"
    assert "behind our clock" in found.seen


@pytest.mark.parametrize("habit", ["forges", "busy"])
async def test_the_doctor_says_why_no_relay_serves(nursery: trio.Nursery, habit: Any) -> None:
    server = BeaconServer(DEVNET_BEACON)
    server.habit = habit
    await nursery.start(partial(server.run))
    (found,) = await check_beacon(patient(None, server.url))
    assert found.state == "warn"
    assert "another key" in found.seen or "HTTP 503" in found.seen
    assert "beacon.relays" in found.fix


async def test_a_devnet_without_relays_is_no_fault() -> None:
    (found,) = await check_beacon(patient())
    assert found.state == "warn"
    assert "from peers" in found.seen
