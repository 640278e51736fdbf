"""Does the probe tell the truth about this machine, and notice when a limit does not hold?"""

from pathlib import Path

import msgspec
import pytest

from mesh.exec.executor import IsolationLevel, Limits, Outcome, OutcomeState, Prepared
from mesh.exec.wasm.artifacts import ArtifactCache
from mesh.exec.wasm.executor import WasmExecutor
from mesh.exec.wasm.kernel import ARCHES, this_arch
from mesh.exec.wasm.pin import DETERMINISM, PINNED_VERSION, SWITCHES, artifact_salt, check_installed
from mesh.exec.wasm.probe import probe
from mesh.exec.wasm.sandbox import landlock_abi


async def test_this_machine_enforces_everything(executor: WasmExecutor, state_dir: Path) -> None:
    found = await executor.probe()
    assert found.available, found.reason
    assert [test.name for test in found.self_test] == ["runs", "fuel", "wall", "memory", "stdout", "disk", "sandbox"]
    assert all(test.ok for test in found.self_test)
    assert found.determinism == DETERMINISM == f"wasm/wasmtime-{PINNED_VERSION}"
    strong = landlock_abi() > 0 and this_arch() is not None
    assert found.isolation_level is (IsolationLevel.L2 if strong else IsolationLevel.L1)
    assert bool(found.reason) is not strong
    assert {entry.name for entry in state_dir.iterdir()} == {"compiled", "zygote.json"}


class Weak:
    """An executor on a machine where one kind of limit is not enforced: such a job simply ends well."""

    def __init__(self, executor: WasmExecutor, broken: OutcomeState) -> None:
        self._executor = executor
        self._broken = broken

    async def run(self, prepared: Prepared, work_dir: Path, limits: Limits) -> Outcome:
        outcome = await self._executor.run(prepared, work_dir, limits)
        if outcome.state is self._broken:
            return msgspec.structs.replace(outcome, state=OutcomeState.EXITED)
        return outcome


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (OutcomeState.FUEL, "fuel"),
        (OutcomeState.TIMEOUT, "wall"),
        (OutcomeState.OOM, "memory"),
        (OutcomeState.OUTPUT_LIMIT, "stdout"),
        (OutcomeState.DISK_LIMIT, "disk"),
    ],
)
async def test_one_limit_that_does_not_hold_withdraws_it(
    executor: WasmExecutor, tmp_path: Path, broken: OutcomeState, name: str
) -> None:
    cache = ArtifactCache(tmp_path / "cache", executor.launch)
    found = await probe(Weak(executor, broken), cache, executor.launch, tmp_path)
    assert not found.available
    assert found.reason == f"not enforced here: {name}: exited" or found.reason.startswith(
        f"not enforced here: {name}: exited "
    )


def test_the_installed_wasmtime_is_the_pinned_one() -> None:
    assert check_installed() == ""


def test_the_salt_holds_still_and_the_switches_exclude_threads() -> None:
    assert artifact_salt() == artifact_salt()
    assert dict(SWITCHES)["wasm_threads"] is False
    assert dict(SWITCHES)["consume_fuel"] is True


@pytest.mark.parametrize("name", ["x86_64", "aarch64"])
def test_no_table_lets_a_job_make_a_process_or_a_socket(name: str) -> None:
    forbidden = {
        "x86_64": (41, 56, 57, 58, 59, 62, 101, 165, 200, 234, 272, 308, 310, 311, 319, 321, 322, 323, 425, 435, 437),
        "aarch64": (40, 97, 117, 129, 130, 131, 198, 220, 221, 268, 270, 271, 279, 280, 281, 282, 425, 435, 437),
    }[name]
    assert set(forbidden).isdisjoint(ARCHES[name].allowed)
    assert len(ARCHES[name].allowed) < 60
