"""Is every file that a node may find opened, brought up to date, or refused with what to do?"""

import hashlib
import sqlite3
from pathlib import Path

import pytest

from mesh.store import OutboxEntry, Row, Store, StoreCorrupt, StoreError, StoreTooNew, TraceRecord
from mesh.store.migrations import APPLICATION_ID, SCHEMA_VERSION, STEPS, migrate, schema_sql

VERSION_1 = Path(__file__).with_name("data") / "version1.sql"


def version_1(path: Path) -> Path:
    """A store as version 1 left it."""
    connection = sqlite3.connect(path)
    connection.executescript(VERSION_1.read_text())
    connection.close()
    return path


def contents(path: Path) -> dict[str, list[tuple[object, ...]]]:
    connection = sqlite3.connect(path)
    try:
        names = [name for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")]
        return {name: connection.execute(f"SELECT * FROM {name}").fetchall() for name in sorted(names)}
    finally:
        connection.close()


async def test_a_store_of_version_1_is_read(tmp_path: Path) -> None:
    async with await Store.open(version_1(tmp_path / "node.db")) as store:
        snapshot = await store.load()
        assert snapshot.rows == (Row("deal", b"\x01", 1, b"one"), Row("run", b"\x02", 3, b""))
        assert snapshot.outbox == (OutboxEntry("post:01", "PostTx", b"payload"),)
        assert snapshot.cursors == {"escrow": b"\x10"}
        assert await store.trace(b"\x02") == (TraceRecord(1_700_000_001, "run.started", b"\x02", b"{}", 1),)
        assert [(tx.key, tx.nonce) for tx in await store.journal.pending()] == [("post:01", 7)]


def test_version_1_never_changes() -> None:
    # Stores of version 1 are out there: what has changed since belongs into migrations.STEPS.
    digest = hashlib.sha256(schema_sql().encode()).hexdigest()
    assert digest == "ab7f9baa1913f845ad8bf6468d9d0879b15d7af6ed1e18f701f35a3d8b1c5ae6"
    assert set(STEPS) == set(range(1, SCHEMA_VERSION))


def test_an_old_store_ends_like_a_new_one(tmp_path: Path) -> None:
    old = sqlite3.connect(version_1(tmp_path / "old.db"), isolation_level=None)
    new = sqlite3.connect(tmp_path / "new.db", isolation_level=None)
    assert (migrate(old, Path("old.db")), migrate(new, Path("new.db"))) == (1, 0)
    schemas = [
        {
            name: " ".join(sql.split())
            for name, sql in c.execute("SELECT name, sql FROM sqlite_schema WHERE sql NOT NULL")
        }
        for c in (old, new)
    ]
    marks = [
        (c.execute("PRAGMA user_version").fetchone(), c.execute("PRAGMA application_id").fetchone()) for c in (old, new)
    ]
    for connection in (old, new):
        connection.close()
    assert schemas[0] == schemas[1]
    assert marks[0] == marks[1] == ((SCHEMA_VERSION,), (APPLICATION_ID,))


STEPS_TO_3 = {
    1: "ALTER TABLE rows ADD COLUMN touched INTEGER; UPDATE rows SET touched = version;",
    2: "ALTER TABLE cursors RENAME TO places; CREATE TABLE extra (x INTEGER) STRICT;",
}


def test_steps_are_taken_in_order_and_keep_what_was_there(tmp_path: Path) -> None:
    path = version_1(tmp_path / "node.db")
    before = contents(path)
    connection = sqlite3.connect(path, isolation_level=None)
    assert migrate(connection, path, steps=STEPS_TO_3, target=3) == 1
    assert migrate(connection, path, steps=STEPS_TO_3, target=3) == 3
    connection.close()
    after = contents(path)
    assert [row[:5] for row in after["rows"]] == before["rows"]
    assert [row[5] for row in after["rows"]] == [row[3] for row in before["rows"]]
    assert after["places"] == before["cursors"]


def test_a_step_that_fails_leaves_the_version_before_it_whole(tmp_path: Path) -> None:
    path = version_1(tmp_path / "node.db")
    before = contents(path)
    broken = {1: "DELETE FROM rows; ALTER TABLE outbox ADD COLUMN x INTEGER; INSERT INTO nowhere VALUES (1);"}
    connection = sqlite3.connect(path, isolation_level=None)
    with pytest.raises(sqlite3.OperationalError, match="nowhere"):
        migrate(connection, path, steps=broken, target=2)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    connection.close()
    assert contents(path) == before


async def test_a_newer_store_is_refused_and_left_untouched(tmp_path: Path) -> None:
    path = version_1(tmp_path / "node.db")
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(StoreTooNew, match="upgrade mesh"):
        await Store.open(path)
    assert path.read_bytes() == before


def foreign(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE photos (name TEXT)")
    connection.close()


def numbered(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 1")
    connection.execute("CREATE TABLE rows (x)")
    connection.close()


def torn(path: Path) -> None:
    version_1(path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def scribbled(path: Path) -> None:
    version_1(path)
    content = bytearray(path.read_bytes())
    content[4_096:8_192] = b"\xff" * 4_096
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage", [foreign, numbered, torn, scribbled, lambda p: p.write_bytes(b"not a database" * 99)]
)
async def test_a_file_that_is_no_whole_store_is_refused_by_name(tmp_path: Path, damage: object) -> None:
    path = tmp_path / "node.db"
    assert callable(damage)
    damage(path)
    before = path.read_bytes()
    with pytest.raises(StoreCorrupt) as caught:
        await Store.open(path)
    assert str(path) in caught.value.what
    assert "MESH_HOME" in caught.value.fix
    assert path.read_bytes() == before
    with pytest.raises(StoreCorrupt):  # the lock was released
        await Store.open(path)


async def test_a_place_that_cannot_hold_a_store_is_an_error_with_a_fix(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.db").mkdir()
    for path in (tmp_path / "file" / "node.db", tmp_path / "folder.db"):
        with pytest.raises(StoreError, match="ls -l"):
            await Store.open(path)
