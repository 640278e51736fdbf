"""Do real mediators, in processes of their own on a pip-only chain, judge results that nobody but they have computed?"""

from pathlib import Path

import pytest
import trio

from devnet.cluster import ClusterPlan, ProcessCluster, open_cluster
from mesh.api.mediation import MediatorInfo
from protocols.disputes.record import Record
from protocols.disputes.states import PROVIDER_BIT, Phase, Reason, Row
from tests.cluster.staging import FEE, Staged, computed, imported, pi, stage

pytestmark = pytest.mark.timeout(900)
PLAN = ClusterPlan(providers=1, clients=1, mediators=3, chain="pyevm")
OVER = (Phase.SLASHED, Phase.SETTLED, Phase.VOID)


def folder(place: Path, said: str) -> Path:
    """A result that no honest run comes to."""
    (place / "outputs" / "out").mkdir(parents=True)
    (place / "stdout").write_text(said)
    (place / "stderr").write_text("")
    (place / "exitCode").write_text("0\n")
    return place


async def judged(staged: Staged, reason: Reason) -> Record:
    """From the dispute to its end."""
    await staged.dispute(reason)
    await staged.until(*OVER)
    return await staged.record()


async def work_of(cluster: ProcessCluster) -> list[MediatorInfo]:
    """What each mediator says of its work, once it knows that nothing is under way."""
    found = []
    for member in cluster.mediators:
        async with member.api() as api:
            while (work := (await api.status()).mediator) is None or work.cases:
                await trio.sleep(0.1)
            found.append(work)
    return found


async def test_a_lie_is_found_out_and_a_right_result_is_upheld(tmp_path: Path) -> None:
    """Three places execute blind. The withheld lie reaches the client that never had it, through the seats; the honest
    result is matched by everybody. Fees are earned, no lock is lost."""
    async with open_cluster(tmp_path / "net", PLAN) as cluster:
        job, submission = await pi(cluster)
        nonce, honest = await computed(cluster, submission)
        lie = await imported(cluster, folder(tmp_path / "lie", "pi is 3\n"))
        async with stage(cluster, job, lie, (nonce, 1)) as staged:
            record = await judged(staged, Reason.WITHHELD)
            assert record.row is Row.CONVICTED
            assert [place.mask for place in record.places] == [0b111] * 3
            async with staged.client.api() as api:
                await api.export(lie.root, tmp_path / "got")
            assert (tmp_path / "got" / "stdout").read_text() == "pi is 3\n"
        async with stage(cluster, job, honest, (nonce, 2)) as staged:
            record = await judged(staged, Reason.WRONG)
            assert record.row is Row.ACQUITTED
            assert [place.mask for place in record.places] == [0b111 | PROVIDER_BIT] * 3
        work = await work_of(cluster)
        assert sum(one.paid for one in work) == 6
        assert sum(int(one.fees) for one in work) == 6 * FEE
        assert sum(one.lost for one in work) == 0
