"""When can a client read what its job said? As soon as it holds the bytes, also while they are still being checked."""

from pathlib import Path
from typing import Any

from devnet.sim.samples import Samples
from mesh.api.reading import HomeReader
from protocols import views
from protocols.state import CLIENT, Half, NodeState
from protocols.units import Cid

SAMPLES = Samples()


class Held:
    """One result, by its root."""

    async def read_in(self, root: Cid, path: str, most: int) -> bytes:
        assert root == SAMPLES.root
        return f"what it said on {path}".encode()

    async def export(self, root: Cid, destination: Path) -> None:
        raise AssertionError("nobody asked for that")


class State:
    def __init__(self, phase: str) -> None:
        self.state = NodeState("devnet")
        self.state.durable.put_run(SAMPLES.runs()["Dealing"])
        self.state.durable.put_deal(SAMPLES.terms().deal_id, Half(CLIENT, SAMPLES.states()[phase]))
        self.state.durable.put_job(SAMPLES.job_id, SAMPLES.job.encode())

    def view(self, look: Any) -> Any:
        return look(self.state)


def reader(phase: str) -> HomeReader:
    return HomeReader(State(phase), None, Held(), SAMPLES.domain)  # type: ignore[arg-type]  # no trace is read


async def test_the_log_of_a_result_that_is_being_checked() -> None:
    found = await reader("Checking").logs(SAMPLES.run_id.hex(), "stdout", 5)
    assert (found.data, found.live) == (b"it said on stdout", False)


async def test_a_result_that_is_on_its_way_has_none() -> None:
    state = State("Resulted")
    (view,) = state.view(views.runs)
    assert await reader("Resulted").result_log(view, "stdout", 0) is None
