"""Are stdout, outputs and fuel bit-equal between runs, whatever the host's clock, dice, inodes, times and folder
order?
"""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mesh.exec.executor import Outcome, OutcomeState

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

WASI = '(import "wasi_snapshot_preview1" "{name}" (func ${name} (param {params}) (result i32)))'
EVERYTHING = "\n".join(
    WASI.format(name=name, params=params)
    for name, params in (
        ("clock_time_get", "i32 i64 i32"),
        ("clock_res_get", "i32 i32"),
        ("random_get", "i32 i32"),
        ("poll_oneoff", "i32 i32 i32 i32"),
        ("fd_filestat_get", "i32 i32"),
        ("path_filestat_get", "i32 i32 i32 i32 i32"),
        ("fd_readdir", "i32 i32 i32 i64 i32"),
        ("args_get", "i32 i32"),
        ("environ_get", "i32 i32"),
    )
)
LEAKY = """
  (drop (call $clock_time_get (i32.const 0) (i64.const 1) (i32.const 1000)))
  (drop (call $clock_time_get (i32.const 1) (i64.const 1) (i32.const 1008)))
  (drop (call $clock_time_get (i32.const 2) (i64.const 1) (i32.const 1016)))
  (drop (call $clock_time_get (i32.const 3) (i64.const 1) (i32.const 1024)))
  (drop (call $clock_res_get (i32.const 0) (i32.const 1032)))
  (drop (call $random_get (i32.const 1040) (i32.const 100)))
  (drop (call $fd_filestat_get (i32.const 3) (i32.const 1200)))
  (drop (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 1300)))
  (drop (call $path_filestat_get (i32.const 3) (i32.const 0) (i32.const 1) (i32.const 3) (i32.const 1400)))
  (drop (call $fd_readdir (i32.const 3) (i32.const 2000) (i32.const 2000) (i64.const 0) (i32.const 1500)))
  (drop (call $args_get (i32.const 4000) (i32.const 4200)))
  (drop (call $environ_get (i32.const 5000) (i32.const 5200)))
  (drop (call $write (i32.const 1) (i32.const 1000) (i32.const 5000)))
  ;; a loop whose length the dice decide: fuel follows them
  (local.set $i (i32.load8_u (i32.const 1040)))
  (loop $again (br_if $again (i32.gt_s (local.tee $i (i32.sub (local.get $i) (i32.const 1))) (i32.const 0))))
"""


def grow_folder(folder: Path, names: list[str], stamp: int) -> Path:
    """The same files, made in another order, with other inodes and other times."""
    folder.mkdir()
    for name in names:
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"contents of {name}")
        os.utime(path, (stamp, stamp))
    os.utime(folder, (stamp, stamp))
    return folder


def seen(outcome: Outcome) -> tuple[OutcomeState, bytes, bytes, int, dict[str, bytes], bytes]:
    outputs = {
        str(path.relative_to(outcome.outputs_dir)): path.read_bytes()
        for path in sorted(outcome.outputs_dir.rglob("*"))
        if path.is_file()
    }
    stdout, stderr = outcome.stdout_path.read_bytes(), outcome.stderr_path.read_bytes()
    return outcome.state, stdout, stderr, outcome.fuel, outputs, outcome.log_head


async def test_raw_answers_are_equal(rig: "Rig", tmp_path: Path) -> None:
    names = ["a", "dir/x", "dir/y", "zebra", "beta", "ünï"]
    first = grow_folder(tmp_path / "first", names, 1_000_000_000)
    (tmp_path / "padding").write_text("so that inodes differ")
    second = grow_folder(tmp_path / "second", names[::-1], 1_700_000_000)
    module = rig.module(rig.program(LEAKY, imports=EVERYTHING, data="adir"))
    one, two = [
        seen(
            await rig.run(
                module, argv=("x",), env=(("K", "v"),), inputs=(("/in", folder),), seed=b"s", epoch=1_600_000_000
            )
        )
        for folder in (first, second)
    ]
    assert one[0] is OutcomeState.EXITED
    assert len(one[1]) == 5000
    assert one == two
    assert one[1][:8] == (1_600_000_000 * 10**9 + 10**6).to_bytes(8, "little")
    listing = one[1][1000:3000]
    places = [listing.index(name) for name in (b"a", b"beta", b"dir", b"zebra", "ünï".encode())]
    assert places == sorted(places)


async def test_seed_and_epoch_are_what_differs(rig: "Rig") -> None:
    module = rig.module(rig.program(LEAKY, imports=EVERYTHING))
    base = seen(await rig.run(module, seed=b"s", epoch=7))
    assert base == seen(await rig.run(module, seed=b"s", epoch=7))
    assert base[1] != seen(await rig.run(module, seed=b"t", epoch=7))[1]
    assert base[1] != seen(await rig.run(module, seed=b"s", epoch=8))[1]


async def test_fuel_follows_the_dice(rig: "Rig") -> None:
    module = rig.module(rig.program(LEAKY, imports=EVERYTHING))
    assert len({(await rig.run(module, seed=bytes([number]))).fuel for number in range(4)}) > 1


SCRIPT = """
import os, time, json
started = time.time()
time.sleep(3600)
table = {}
for folder, *_ in [("/in",), ("/in/dir",)]:
    table[folder] = os.listdir(folder)
    table["stat " + folder] = os.stat(folder)
for name in ("c", "a", "b"):
    with open("/out/" + name, "w") as out:
        out.write(str(time.time()) + name)
os.mkdir("/out/made")
os.rename("/out/a", "/out/made/moved")
table["out"] = os.listdir("/out"), [os.stat("/out/" + n) for n in os.listdir("/out")]
table["slept"] = time.time() - started
x = {}
for i in range(3000):
    x["k%d" % i] = i
table["order"] = list(x)[:5], hash("text")
print(json.dumps(table))
"""


async def test_an_interpreter_is_equal_too(rig: "Rig", tmp_path: Path) -> None:
    runs = []
    for number, names in enumerate((["one", "dir/two", "three"], ["three", "one", "dir/two"])):
        folder = grow_folder(tmp_path / f"in{number}", names, 10**9 + number)
        runs.append(seen(await rig.python(SCRIPT, inputs=(("/in", folder),), outputs=(rig.out,), seed=b"7")))
        shutil.rmtree(folder)
    assert runs[0][0] is OutcomeState.EXITED, runs[0][2]
    assert runs[0] == runs[1]
    assert set(runs[0][4]) == {"out/b", "out/c", "out/made/moved"}
    assert b'"slept": 36' in runs[0][1]


@pytest.mark.parametrize("order", [("/b", "/a"), ("/a", "/b")])
async def test_inputs_keep_the_order_of_the_job(rig: "Rig", tmp_path: Path, order: tuple[str, str]) -> None:
    (tmp_path / "a").mkdir()
    name = WASI.format(name="fd_prestat_dir_name", params="i32 i32 i32")
    body = """(drop (call $fd_prestat_dir_name (i32.const 3) (i32.const 0) (i32.const 2)))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 2)))"""
    outcome = await rig.run(rig.program(body, imports=name), inputs=tuple((path, tmp_path / "a") for path in order))
    assert outcome.stdout_path.read_text() == order[0]


async def test_sleeping_past_the_end_of_time(rig: "Rig") -> None:
    """The clock used to outgrow its 64 bits, and the job ended as our fault instead of its own doing."""
    imports = "\n".join(
        WASI.format(name=name, params=params)
        for name, params in (("clock_time_get", "i32 i64 i32"), ("poll_oneoff", "i32 i32 i32 i32"))
    )
    body = """(i32.store (i32.const 16) (i32.const 1)) (i64.store (i32.const 24) (i64.const -1))
      (loop $twice
        (if (call $poll_oneoff (i32.const 0) (i32.const 100) (i32.const 1) (i32.const 200)) (then unreachable))
        (br_if $twice (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 2))))
      (call $exit (call $clock_time_get (i32.const 0) (i64.const 0) (i32.const 300)))"""
    outcome = await rig.run(rig.program(body, imports=imports))
    assert outcome.state is OutcomeState.EXITED, outcome.detail


async def test_an_exit_code_is_signed_32_bits(rig: "Rig") -> None:
    outcome = await rig.run(rig.program("(call $exit (i32.const -2))"))
    assert (outcome.state, outcome.exit_code) == (OutcomeState.FAILED, -2)
