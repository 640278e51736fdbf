"""Do real mediators, in processes of their own on a pip-only chain, judge a result that nobody but they have computed?"""

from pathlib import Path

import pytest

from devnet.cluster import ClusterPlan, open_cluster
from protocols.disputes.states import Phase
from tests.cluster.staging import stage

pytestmark = pytest.mark.timeout(200)


def folder(place: Path, said: str) -> Path:
    """A result that no honest run comes to."""
    (place / "outputs" / "out").mkdir(parents=True)
    (place / "stdout").write_text(said)
    (place / "stderr").write_text("")
    (place / "exitCode").write_text("0\n")
    return place


async def test_a_wrong_result_is_found_out_by_three_who_never_saw_it(tmp_path: Path) -> None:
    plan = ClusterPlan(providers=1, clients=1, mediators=3, chain="pyevm")
    async with open_cluster(tmp_path / "net", plan) as cluster, stage(cluster, folder(tmp_path / "r", "3")) as staged:
        await staged.dispute()
        end = await staged.until(Phase.SLASHED, Phase.SETTLED, Phase.VOID)
        assert end is Phase.SLASHED
