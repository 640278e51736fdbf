"""Do the example jobs say what they should, from modules that are what their BUILD says?"""

import hashlib
import re
import struct
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import yaml

from mesh.exec.collect import CollectCaps, collect
from mesh.exec.decoding import image_in
from mesh.exec.executor import OutcomeState
from protocols.job.parse import parse_job
from protocols.job.sources import LocalPath

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

JOBS = Path(__file__).parents[2] / "devnet/jobs"
MODULES = {"pi": "pi.wasm", "sieve": "sieve.wasm", "words": "micropython.wasm"}
SCRIPTS = ("fit", "shade", "tally")
"""Jobs that are a script for the interpreter of `words`."""


@pytest.mark.parametrize(("job", "module"), MODULES.items())
def test_the_module_is_the_one_that_was_built(job: str, module: str) -> None:
    written = re.search(
        rf"sha256 of `{re.escape(module)}` \| `([0-9a-f]{{64}})`", (JOBS / job / "BUILD.md").read_text()
    )
    assert written is not None
    assert hashlib.sha256((JOBS / job / module).read_bytes()).hexdigest() == written[1]


@pytest.mark.parametrize(("job", "module"), MODULES.items())
def test_the_job_file_is_one(job: str, module: str) -> None:
    spec = parse_job(yaml.safe_load((JOBS / job / "job.yaml").read_text()), {}, {})
    assert spec.name == job
    assert (JOBS / job / module).is_file()


@pytest.mark.parametrize("job", SCRIPTS)
def test_the_job_file_of_a_script_is_one(job: str) -> None:
    spec = parse_job(yaml.safe_load((JOBS / job / "job.yaml").read_text()), {}, {})
    assert (spec.name, spec.module) == (job, LocalPath("../words/micropython.wasm"))
    assert (JOBS / job / "in" / f"{job}.py").is_file()


async def test_pi(rig: "Rig") -> None:
    outcome = await rig.run(JOBS / "pi/pi.wasm", argv=("--samples", "1000000", "--seed", "7"), outputs=(rig.out,))
    text = "pi ~ 3.14012000\nsamples 1000000\ninside  785030\nseed    7\n"
    assert (outcome.state, outcome.stdout_path.read_text()) == (OutcomeState.EXITED, text)
    (file,) = collect(outcome.outputs_dir / "out", CollectCaps(max_bytes=1000)).files
    assert (file.path, (outcome.outputs_dir / "out/pi.txt").read_text()) == ("pi.txt", text)


async def test_pi_takes_its_seed_from_the_job(rig: "Rig") -> None:
    answers = {}
    for seed in (b"one", b"two", b"one"):
        outcome = await rig.run(JOBS / "pi/pi.wasm", argv=("--samples", "1000"), outputs=(rig.out,), seed=seed)
        answers.setdefault(seed, set()).add(outcome.stdout_path.read_bytes())
    assert len(answers[b"one"]) == 1
    assert answers[b"one"] != answers[b"two"]


@pytest.mark.parametrize("argv", [("--samples", "0"), ("--samples", "many"), ("--colour",)])
async def test_pi_refuses_nonsense(rig: "Rig", argv: tuple[str, ...]) -> None:
    outcome = await rig.run(JOBS / "pi/pi.wasm", argv=argv, outputs=(rig.out,))
    assert (outcome.state, outcome.exit_code) == (OutcomeState.FAILED, 2)
    assert outcome.stderr_path.read_text().startswith("pi: ")


@pytest.mark.parametrize(("limit", "count", "last"), [(3, 1, 2), (100, 25, 97), (1_000_000, 78_498, 999_983)])
async def test_sieve(rig: "Rig", limit: int, count: int, last: int) -> None:
    outcome = await rig.run(JOBS / "sieve/sieve.wasm", argv=("--limit", str(limit)))
    assert outcome.stdout_path.read_text().splitlines()[:2] == [
        f"primes below {limit}: {count}",
        f"largest {last}",
    ]


async def test_words(rig: "Rig") -> None:
    outcome = await rig.run(
        JOBS / "words/micropython.wasm",
        argv=("/in/words.py",),
        inputs=(("/in", JOBS / "words/in"),),
        outputs=(rig.out,),
    )
    text = outcome.stdout_path.read_text()
    assert outcome.state is OutcomeState.EXITED, outcome.stderr_path.read_text()
    assert text.startswith("182 words, 106 different\n    14  the\n    12  to\n")
    assert (outcome.outputs_dir / "out/counts.tsv").read_text().startswith("the\t14\nto\t12\nof\t10\n")


async def test_shade(rig: "Rig") -> None:
    outcome = await rig.run(
        JOBS / "words/micropython.wasm",
        argv=("/in/shade.py",),
        inputs=(("/in", JOBS / "shade/in"),),
        outputs=(rig.out,),
    )
    assert outcome.stdout_path.read_text() == "96 x 72 pixels\n", outcome.stderr_path.read_text()
    content = (outcome.outputs_dir / "out/scene.png").read_bytes()
    picture = image_in(content)
    assert picture is not None
    assert picture.shape == (72, 96, 3)
    assert picture.std() > 30, "nothing is on it"
    at, kinds = 8, []
    while at < len(content):
        length, kind = struct.unpack_from(">I4s", content, at)
        assert struct.unpack_from(">I", content, at + 8 + length)[0] == zlib.crc32(content[at + 4 : at + 8 + length])
        kinds.append(kind)
        at += 12 + length
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]
    assert len(zlib.decompress(content[41:-16])) == 72 * (96 * 3 + 1)


COLLECTS_GARBAGE = """
try:
    raise ValueError(1)
except ValueError as error:
    print("caught", error)
table = {}
for i in range(200000):
    table[i % 1000] = "x%d" % i
print(len(table))
"""


async def test_the_interpreter_survives_its_garbage_collector(rig: "Rig") -> None:
    """Without the pass that spills pointers (BUILD.md) this program ends in a trap."""
    outcome = await rig.python(COLLECTS_GARBAGE)
    assert (outcome.state, outcome.stdout_path.read_text()) == (OutcomeState.EXITED, "caught 1\n1000\n"), outcome.detail
