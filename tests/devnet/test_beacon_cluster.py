"""Does every process of a devnet hear its beacon, one of them through its peers alone, and know when it stops?"""

from pathlib import Path

import pytest
import trio

from devnet.cluster import ClusterPlan, open_cluster
from devnet.members import Member
from mesh.api.types import BeaconInfo

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


async def heard(member: Member) -> BeaconInfo:
    async with member.api() as api:
        beacon = (await api.status()).beacon
    assert beacon is not None
    return beacon


async def test_rounds_reach_every_process_and_silence_is_told(tmp_path: Path) -> None:
    plan = ClusterPlan(providers=1, clients=1, chain="pyevm")
    with trio.fail_after(500):
        async with open_cluster(tmp_path / "net", plan) as cluster:
            deaf = await cluster.add("client-2", ("client",), beacon={"relays": []})
            members = [*cluster.members.values()]
            for member in members:
                while abs((await heard(member)).behind) > 3 or not (await heard(member)).round:
                    await trio.sleep(0.1)
            assert [len((await heard(member)).relays) for member in members] == [1, 1, 0]
            cluster.beacon.habit = "dead"
            while (await heard(deaf)).silent_since is None:
                await trio.sleep(0.2)
            last = (await heard(deaf)).round
            cluster.beacon.habit = "honest"
            while (await heard(deaf)).silent_since is not None:
                await trio.sleep(0.2)
            assert (await heard(deaf)).round > last
