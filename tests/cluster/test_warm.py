"""Is a network that was set back as it was, chain, homes and members, and does it still work?"""

from pathlib import Path

import pytest

from devnet.cluster import ClusterPlan, open_cluster
from devnet.process_world import ProcessWorld
from devnet.scenario import JobChoice, settled
from devnet.warm import remember

pytestmark = pytest.mark.timeout(600)
LIMIT_S = 300.0
JOB = JobChoice(millions=1, audit="0")


async def chain_time(world: ProcessWorld, name: str = "client-1") -> int:
    async with world.cluster[name].api() as api:
        return (await api.status()).chain_time


async def test_a_network_set_back_is_as_it_was(tmp_path: Path) -> None:
    async with open_cluster(tmp_path / "net", ClusterPlan(providers=1, clients=1, chain="pyevm")) as cluster:
        pristine = await remember(cluster)
        world = ProcessWorld(cluster)
        before, since = await world.balance("client-1"), await chain_time(world)
        assert settled(await world.until("client-1", await world.submit("client-1", JOB), settled, LIMIT_S))
        await cluster.add("guest", ("client",))
        assert int((await world.balance("guest")).free) > 0
        await world.pass_time(100_000)
        assert min([await chain_time(world, name) for name in cluster.members]) >= since + 100_000

        with pytest.raises(ValueError, match="already has a member guest"):
            await cluster.add("guest", ("client",))

        await pristine.reset(keep_as="first")
        assert set(cluster.members) == {"provider-1", "client-1"}
        assert (cluster.home / "failed" / "first" / "guest" / "node.db").exists()
        assert await world.balance("client-1") == before
        assert await chain_time(world) < since + 100_000
        async with cluster["client-1"].api() as api:
            assert (await api.runs(), await api.deals()) == ((), ())

        await pristine.reset()
        assert settled(await world.until("client-1", await world.submit("client-1", JOB), settled, LIMIT_S))
