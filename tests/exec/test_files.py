"""What can a job do with files, and what can it not reach?"""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mesh.exec.executor import JobRefused, OutcomeState, OutputRule
from mesh.exec.wasm.wasi.abi import Errno

if TYPE_CHECKING:
    from tests.exec.conftest import Rig

OPEN = """(call $exit (call $path_open (i32.const {fd}) (i32.const 1)
  (i32.const 0) (i32.const {length}) (i32.const {flags})
  (i64.const {rights}) (i64.const -1) (i32.const 0) (i32.const 64000)))"""
READ, WRITE, CREATE = 2, 64, 1
INPUT, OUTPUT = 3, 4


@pytest.mark.parametrize(
    ("path", "fd", "flags", "rights", "errno"),
    [
        ("file", INPUT, 0, READ, Errno.SUCCESS),
        ("./dir/../file", INPUT, 0, READ, Errno.SUCCESS),
        ("../etc/passwd", INPUT, 0, READ, Errno.NOTCAPABLE),
        ("..", INPUT, 0, READ, Errno.NOTCAPABLE),
        ("dir/../../in/file", INPUT, 0, READ, Errno.NOTCAPABLE),
        ("/etc/passwd", INPUT, 0, READ, Errno.NOTCAPABLE),
        ("/", INPUT, 0, READ, Errno.NOTCAPABLE),
        ("", INPUT, 0, READ, Errno.NOENT),
        ("nothing", INPUT, 0, READ, Errno.NOENT),
        ("file/x", INPUT, 0, READ, Errno.NOTDIR),
        ("file/", INPUT, 0, READ, Errno.NOTDIR),
        ("file\\00/../../etc", INPUT, 0, READ, Errno.INVAL),
        ("\\ff\\fe", INPUT, 0, READ, Errno.ILSEQ),
        ("n" * 256, INPUT, 0, READ, Errno.NAMETOOLONG),
        ("d/" * 2500, INPUT, 0, READ, Errno.NAMETOOLONG),
        ("new", INPUT, CREATE, WRITE, Errno.ROFS),
        ("file", INPUT, 0, WRITE, Errno.ROFS),
        ("file", INPUT, 8, READ, Errno.ROFS),
        ("new", OUTPUT, CREATE, WRITE, Errno.SUCCESS),
        ("../new", OUTPUT, CREATE, WRITE, Errno.NOTCAPABLE),
        ("n" * 256, OUTPUT, CREATE, WRITE, Errno.NAMETOOLONG),
        ("a/new", OUTPUT, CREATE, WRITE, Errno.NOENT),
        ("file", 9, 0, READ, Errno.BADF),
        ("file", 1, 0, READ, Errno.NOTDIR),
    ],
)
async def test_paths(rig: "Rig", tmp_path: Path, path: str, fd: int, flags: int, rights: int, errno: Errno) -> None:
    source = tmp_path / "in"
    (source / "dir").mkdir(parents=True)
    (source / "file").write_text("inside")
    length = len(path) - 2 * path.count("\\")
    outcome = await rig.run(
        rig.program(OPEN.format(fd=fd, length=length, flags=flags, rights=rights), data=path),
        inputs=(("/in", source),),
        outputs=(rig.out,),
    )
    assert (outcome.state, max(0, outcome.exit_code)) == (
        OutcomeState.FAILED if errno else OutcomeState.EXITED,
        errno,
    )


async def test_a_symbolic_link_among_the_inputs_is_our_error(rig: "Rig", tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "link").symlink_to("/etc/passwd")
    outcome = await rig.python("print(open('/in/link').read())", inputs=(("/in", source),))
    assert outcome.state is OutcomeState.INFRA_ERROR
    assert "neither a file nor a folder" in outcome.detail


async def test_links_cannot_be_made(rig: "Rig") -> None:
    imports = (
        '(import "wasi_snapshot_preview1" "path_symlink" (func $symlink (param i32 i32 i32 i32 i32) (result i32)))'
    )
    body = "(call $exit (call $symlink (i32.const 0) (i32.const 4) (i32.const 3) (i32.const 4) (i32.const 1)))"
    outcome = await rig.run(rig.program(body, imports=imports, data="/etcx"), outputs=(rig.out,))
    assert outcome.exit_code == Errno.NOTSUP
    assert os.listdir(outcome.outputs_dir / "out") == []


FILES = """
import os
os.mkdir("/out/a")
with open("/out/a/one", "w") as f: f.write("first\\nsecond\\n")
with open("/out/a/one", "a") as f: f.write("third\\n")
with open("/out/a/one") as f: assert f.readline() == "first\\n" and f.tell() == 6 and f.read() == "second\\nthird\\n"
with open("/out/a/one", "r+") as f: f.seek(0); f.write("FIRST")
os.rename("/out/a", "/out/b")
assert os.listdir("/out") == ["b"], os.listdir("/out")
with open("/out/b/two", "w") as f: f.write("x")
os.rename("/out/b/two", "/out/b/one.old")
os.remove("/out/b/one.old")
def refused(call, *args):
    try: call(*args)
    except OSError as error: return error.errno
    raise AssertionError(args)
assert refused(os.rmdir, "/out/b") == 55
assert refused(os.mkdir, "/out/b") == 20
assert refused(os.remove, "/in/words") == 69
assert refused(os.rename, "/in/words", "/out/words") in (69, 75)
assert refused(open, "/etc/passwd") in (44, 76)
assert refused(open, "/in/../etc/passwd") in (44, 76)
assert refused(open, "/proc/self/environ") in (44, 76)
print(open("/in/words").read())
"""


async def test_a_program_works_with_files(rig: "Rig", tmp_path: Path) -> None:
    source = tmp_path / "words"
    source.write_text("some words")
    source.chmod(0o600)  # only root may read it, and the job does not run as root
    outcome = await rig.python(FILES, inputs=(("/in/words", source),), outputs=(rig.out,))
    assert (outcome.state, outcome.stderr_path.read_text()) == (OutcomeState.EXITED, ""), (
        outcome.stdout_path.read_text()
    )
    assert outcome.stdout_path.read_text() == "some words\n"
    assert (outcome.outputs_dir / "out/b/one").read_text() == "FIRST\nsecond\nthird\n"


async def test_inputs_that_only_we_may_read(rig: "Rig", tmp_path: Path) -> None:
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True, mode=0o700)
    (source / "deep/secret").write_text("readable by the job alone")
    (source / "deep/secret").chmod(0o600)
    source.chmod(0o700)
    outcome = await rig.python("print(open('/in/deep/secret').read())", inputs=(("/in", source),))
    assert outcome.stdout_path.read_text() == "readable by the job alone\n", outcome


async def test_two_outputs_are_two_places(rig: "Rig") -> None:
    rules = (OutputRule("/out", "first", 1000, 10), OutputRule("/more", "second", 1000, 10))
    script = "open('/out/x','w').write('1'); open('/more/x','w').write('2')"
    outcome = await rig.python(script, outputs=rules)
    assert (outcome.outputs_dir / "first/x").read_text() == "1"
    assert (outcome.outputs_dir / "second/x").read_text() == "2"


async def test_bytes_of_a_removed_file_come_back_when_it_closes(rig: "Rig") -> None:
    script = """
import os
for i in range(40):
    with open("/out/x", "w") as f: f.write("y" * 100000)
    os.remove("/out/x")
f = open("/out/x", "w")
for i in range(6): f.write("y" * 100000)
os.remove("/out/x")
g = open("/out/z", "w")
for i in range(6): g.write("y" * 100000)
"""
    outcome = await rig.python(script, outputs=(rig.out,), disk_mib=1, memory_mib=64)
    assert outcome.state is OutcomeState.DISK_LIMIT
    assert (outcome.outputs_dir / "out/z").stat().st_size == 400_000


async def test_depth_ends(rig: "Rig") -> None:
    script = """
import os
path = "/out"
for i in range(100):
    path += "/d"
    try: os.mkdir(path)
    except OSError as error:
        print(i, error.errno)
        break
"""
    outcome = await rig.python(script, outputs=(rig.out,))
    assert outcome.stdout_path.read_text() == f"32 {int(Errno.NAMETOOLONG)}\n"


async def test_descriptors_end(rig: "Rig") -> None:
    script = """
held = []
try:
    while True: held.append(open("/out/x", "w"))
except OSError as error:
    print(len(held), error.errno)
"""
    outcome = await rig.python(script, outputs=(rig.out,))
    assert outcome.stdout_path.read_text() == f"{256 - 4} {int(Errno.NFILE)}\n"


async def test_pointers_outside_memory_are_faults(rig: "Rig") -> None:
    body = "(call $exit (call $fd_write (i32.const 1) (i32.const 65532) (i32.const 1) (i32.const 0)))"
    assert (await rig.run(rig.program(body))).exit_code == Errno.FAULT
    body = """(i32.store (i32.const 0) (i32.const -8)) (i32.store (i32.const 4) (i32.const 100))
        (call $exit (call $fd_write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))"""
    assert (await rig.run(rig.program(body))).exit_code == Errno.FAULT


async def test_a_clash_of_inputs_is_ours_to_report(rig: "Rig", tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "same").write_text("a")
    outcome = await rig.python("pass", inputs=(("/in", folder), ("/in/same", folder / "same")))
    assert (outcome.state, "two inputs" in outcome.detail) == (OutcomeState.INFRA_ERROR, True)


async def test_an_input_that_is_a_device_is_refused(rig: "Rig") -> None:
    with pytest.raises(JobRefused, match="neither a file nor a folder"):
        await rig.python("pass", inputs=(("/in", Path("/dev/zero")),))


async def test_many_listings_of_a_large_folder_stay_within_bounds(rig: "Rig", tmp_path: Path) -> None:
    """Each descriptor used to hold a list of its own: 250 times 20,000 names outgrew the process."""
    source = tmp_path / "in"
    source.mkdir()
    for number in range(20_000):
        (source / f"a-rather-long-name-so-that-it-costs-something-{number}").touch()
    listing = """
  (import "wasi_snapshot_preview1" "fd_readdir" (func $list (param i32 i32 i32 i64 i32) (result i32)))"""
    body = """(loop $again
      (if (i32.eqz (call $path_open (i32.const 3) (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 2)
        (i64.const 2) (i64.const 2) (i32.const 0) (i32.const 64000)))
        (then (if (call $list (i32.load (i32.const 64000)) (i32.const 100) (i32.const 1000) (i64.const 0)
          (i32.const 64004)) (then (call $exit (i32.const 1)))) (br $again))))"""
    outcome = await rig.run(rig.program(body, imports=listing, data="."), inputs=(("/in", source),), memory_mib=1)
    assert outcome.state is OutcomeState.EXITED, outcome.detail
