"""Is a job's folder gone after its removal, whatever it holds, and nothing beside it?"""

from collections.abc import Callable
from pathlib import Path

import pytest

from mesh.exec.tidying import remove


def few(folder: Path) -> None:
    (folder / "outputs" / "deep").mkdir(parents=True)
    (folder / "outputs" / "deep" / "pi").write_bytes(b"3.14")
    (folder / "stdout").write_bytes(b"")


def many(folder: Path) -> None:
    folder.mkdir()
    for number in range(100):
        (folder / f"{number}").write_bytes(b"")


def large(folder: Path) -> None:
    folder.mkdir()
    (folder / "large").write_bytes(bytes(2 << 20))


def linked(folder: Path) -> None:
    few(folder)
    (folder / "out").symlink_to(folder.parent / "beside")
    (folder / "outputs" / "file").symlink_to(folder.parent / "beside" / "kept")


def closed(folder: Path) -> None:
    few(folder)
    (folder / "outputs").chmod(0o500)


@pytest.mark.parametrize("fill", [few, many, large, linked, closed])
async def test_a_folder_is_gone_and_nothing_else(tmp_path: Path, fill: Callable[[Path], None]) -> None:
    beside = tmp_path / "beside"
    beside.mkdir()
    (beside / "kept").write_bytes(b"kept")
    fill(tmp_path / "work")
    await remove(tmp_path / "work")
    assert list(tmp_path.iterdir()) == [beside]
    assert (beside / "kept").read_bytes() == b"kept"


async def test_what_is_not_there_is_fine(tmp_path: Path) -> None:
    await remove(tmp_path / "nothing")
    assert not list(tmp_path.iterdir())
