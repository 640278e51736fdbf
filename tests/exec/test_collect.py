"""Does the collector take plain files and nothing else from a folder that a stranger wrote?"""

import os
import socket
import unicodedata
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.exec.collect import CollectCaps, CollectError, collect

CAPS = CollectCaps(max_bytes=1 << 20, max_files=100, max_depth=4)


def test_plain_files_in_the_order_of_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "z").write_text("last")
    (tmp_path / "dir/empty").mkdir(parents=True)
    (tmp_path / "dir/a").write_text("first")
    (tmp_path / "dir.txt").write_text("between")
    found = collect(tmp_path, CAPS)
    assert [(file.path, file.size_bytes) for file in found.files] == [("dir.txt", 7), ("dir/a", 5), ("z", 4)]
    assert found.folders == ("dir", "dir/empty")
    with found.open(found.files[1]) as fd:
        assert os.read(fd, 100) == b"first"


def _link(folder: Path) -> None:
    (folder / "bad").symlink_to("/etc/passwd")


def _link_to_folder(folder: Path) -> None:
    (folder / "bad").symlink_to("/")


def _hard_link(folder: Path) -> None:
    outside = folder.parent / "outside"
    outside.write_text("not yours")
    (folder / "bad").hardlink_to(outside)


def _fifo(folder: Path) -> None:
    os.mkfifo(folder / "bad")


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        here = os.open(folder, os.O_RDONLY)
        made.bind(f"/proc/self/fd/{here}/bad")
        os.close(here)


def _sparse(folder: Path) -> None:
    with (folder / "bad").open("wb") as file:
        file.truncate(8 << 20)


def _too_large(folder: Path) -> None:
    (folder / "bad").write_bytes(bytes((1 << 20) + 1))


def _too_many(folder: Path) -> None:
    for number in range(101):
        (folder / str(number)).touch()


def _too_deep(folder: Path) -> None:
    (folder / "1/2/3/4/5").mkdir(parents=True)


def _not_utf8(folder: Path) -> None:
    (folder / os.fsdecode(b"bad\xff")).touch()


def _control(folder: Path) -> None:
    (folder / "bad\n\x1b[31m").touch()


def _right_to_left(folder: Path) -> None:
    (folder / "bad\u202egpj.exe").touch()


def _not_nfc(folder: Path) -> None:
    (folder / unicodedata.normalize("NFD", "é")).touch()


def _case(folder: Path) -> None:
    (folder / "Readme").touch()
    (folder / "README").touch()


def _sharp_s(folder: Path) -> None:
    (folder / "straße").touch()
    (folder / "STRASSE").touch()


@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (_link, "not_a_file"),
        (_link_to_folder, "not_a_file"),
        (_hard_link, "hard_link"),
        (_fifo, "not_a_file"),
        (_socket, "not_a_file"),
        (_too_large, "too_large"),
        (_too_many, "too_many"),
        (_too_deep, "too_deep"),
        (_not_utf8, "bad_name"),
        (_control, "bad_name"),
        (_right_to_left, "bad_name"),
        (_not_nfc, "bad_name"),
        (_case, "name_clash"),
        (_sharp_s, "name_clash"),
    ],
)
def test_refused(tmp_path: Path, spoil: Callable[[Path], None], code: str) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "good").touch()
    spoil(folder)
    with pytest.raises(CollectError) as refused:
        collect(folder, CAPS)
    assert refused.value.code == code
    assert str(refused.value).isascii()


def test_a_hole_is_refused(tmp_path: Path) -> None:
    _sparse(tmp_path)
    with pytest.raises(CollectError) as refused:
        collect(tmp_path, CollectCaps(max_bytes=1 << 40))
    assert refused.value.code == "sparse"


def _replace_by_link(path: Path) -> None:
    path.unlink()
    path.symlink_to("/etc/passwd")


def _replace_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("moved"))
    path.parent.symlink_to("moved")


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"more")


def _same_size(path: Path) -> None:
    path.unlink()
    path.write_text("CHECKED")


@pytest.mark.parametrize("change", [_replace_by_link, _replace_folder, _append, _same_size, Path.unlink])
def test_a_file_that_changes_after_the_check(tmp_path: Path, change: Callable[[Path], None]) -> None:
    path = tmp_path / "dir/file"
    path.parent.mkdir()
    path.write_text("checked")
    found = collect(tmp_path, CAPS)
    change(path)
    with pytest.raises(CollectError) as refused, found.open(found.files[0]):
        raise AssertionError("opened a file that is not the one that was checked")
    assert refused.value.code == "changed"


def test_no_descriptor_is_left(tmp_path: Path) -> None:
    _too_deep(tmp_path)
    (tmp_path / "file").write_text("x")
    before = set(os.listdir("/proc/self/fd"))
    with pytest.raises(CollectError):
        collect(tmp_path, CAPS)
    found = collect(tmp_path, CollectCaps(max_bytes=100))
    with found.open(found.files[0]):
        pass
    assert set(os.listdir("/proc/self/fd")) == before


@given(st.text(min_size=1, max_size=40))
def test_any_name_is_taken_as_it_is_or_refused(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    folder = tmp_path_factory.mktemp("names")
    try:
        (folder / name).touch(exist_ok=False)
    except (OSError, ValueError):
        return
    if (folder / name).parent != folder or (folder / name).name != name:
        return
    printable = not any(unicodedata.category(letter) in ("Cc", "Cf", "Zl", "Zp") for letter in name)
    if printable and "\\" not in name and unicodedata.normalize("NFC", name) == name:
        assert [file.path for file in collect(folder, CAPS).files] == [name]
    else:
        with pytest.raises(CollectError, match="name"):
            collect(folder, CAPS)
