"""Are the machines of the scenarios about near results near, and are their wrong results wrong, at each job's own level?"""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from devnet.scenarios import wrong_result_canonical, wrong_result_numeric, wrong_result_perceptual
from devnet.scenarios.hostile.noisy import Machine, disturb
from devnet.scenarios.near_court import Matter
from mesh.exec.comparing import End, compare_folders
from mesh.exec.executor import OutcomeState
from protocols.hashing import sha256
from protocols.job.canonical import CanonicalVerify
from protocols.job.parse import parse_job
from protocols.units import Cid

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

JOBS = Path(__file__).parents[2] / "devnet/jobs"
MATTERS = {
    "canonical": wrong_result_canonical.MATTER,
    "numeric": wrong_result_numeric.MATTER,
    "perceptual": wrong_result_perceptual.MATTER,
}
ENDED = End(0, 0, 7, Cid(b"one"))


def verify_of(job: str) -> CanonicalVerify:
    """As the job file says."""
    said = parse_job(yaml.safe_load((JOBS / job / "job.yaml").read_text()), {}, {}).verify
    return CanonicalVerify(
        level=said.level,  # type: ignore[arg-type]  # one of the six: the schema allows no other
        rtol_e12=said.rtol_e12,
        atol_e12=said.atol_e12,
        fraction_ppm=said.fraction_ppm,
        canonicalisers=said.canonicalisers,
        hamming=said.hamming,
    )


async def honest(rig: "Rig", job: str, place: Path) -> Path:
    """The folder of a real run."""
    outcome = await rig.run(
        JOBS / "words/micropython.wasm",
        argv=(f"/in/{job}.py",),
        inputs=(("/in", JOBS / job / "in"),),
        outputs=(rig.out,),
    )
    assert outcome.state is OutcomeState.EXITED, outcome.stderr_path.read_text()
    (place / "outputs/out").mkdir(parents=True)
    for file in (outcome.outputs_dir / "out").iterdir():  # without their modes: the store keeps none either
        shutil.copyfile(file, place / "outputs/out" / file.name)
    for name, content in (("stdout", outcome.stdout_path.read_bytes()), ("stderr", b""), ("exitCode", b"0\n")):
        (place / name).write_bytes(content)
    return place


def on(machine: Machine, one: Path, name: str) -> Path:
    """The same run, had this machine made it."""
    place = one.with_name(name)
    shutil.copytree(one, place)
    disturb(place / "outputs", machine)
    return place


def written(folder: Path) -> tuple[bytes, ...]:
    return tuple(file.read_bytes() for file in sorted((folder / "outputs").rglob("*")) if file.is_file())


@pytest.mark.parametrize("level", MATTERS)
async def test_near_machines_agree_in_other_bytes_and_a_wrong_result_is_nobodys(
    level: str, rig: "Rig", tmp_path: Path
) -> None:
    matter: Matter = MATTERS[level]
    verify = verify_of(matter.job)
    assert verify.level == level
    one = await honest(rig, matter.job, tmp_path / "honest")
    seat, other = (on(Machine.near(sha256(name)), one, name.decode()) for name in (b"seat-a", b"seat-b"))
    near, wrong = (
        on(Machine.told(sha256(b"provider"), noise), one, f"noise-{noise}") for noise in (matter.near, matter.wrong)
    )
    assert len({written(folder) for folder in (one, seat, other, near, wrong)}) == 5, "two have written the same bytes"
    pairs = ((one, near, True), (seat, other, True), (seat, near, True), (one, wrong, False), (seat, wrong, False))
    for first, second, same in pairs:
        found = await compare_folders(verify, first, ENDED, second, ENDED)
        assert found.same is same, (first.name, second.name, found.detail)
