"""Is this file a store of ours, of which version, and how does it become one of today's?"""

import sqlite3
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Final

from mesh.store.errors import StoreCorrupt, StoreTooNew

__all__ = ["APPLICATION_ID", "SCHEMA_VERSION", "STEPS", "migrate", "schema_sql"]

APPLICATION_ID: Final = 0x4D455348
"""``MESH`` in the header of the file, so that no other program's database is taken for a store."""
SCHEMA_VERSION: Final = 1
"""The version this program writes; it reads every version from 1 on."""
STEPS: Final[Mapping[int, str]] = {}
"""Version -> the SQL that leads to the next one. A released step never changes; ``schema.sql`` stays version 1."""


def schema_sql() -> str:
    """Version 1."""
    return resources.files("mesh.store").joinpath("schema.sql").read_text(encoding="utf-8")


def migrate(
    connection: sqlite3.Connection,
    path: Path,
    *,
    steps: Mapping[int, str] = STEPS,
    target: int = SCHEMA_VERSION,
) -> int:
    """Bring the file to ``target`` and return the version it had (0: it was empty). Each step is one transaction.

    ``connection`` is in autocommit mode. Raises ``StoreTooNew`` and ``StoreCorrupt`` (another program's file) before
    anything is written. A crash leaves a whole version, from which the next start goes on.
    """
    found = _version(connection, path)
    if found > target:
        raise StoreTooNew(
            f"the store {path} was written by a newer mesh",
            why=f"its version is {found}, this mesh knows {target}",
            fix="upgrade mesh, or start with another MESH_HOME",
        )
    for version in range(found, target):
        script = schema_sql() if version == 0 else steps[version]
        marks = f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {version + 1};"
        try:
            connection.executescript(f"BEGIN IMMEDIATE;\n{script}\n;{marks}\nCOMMIT;")
        except sqlite3.Error:
            if connection.in_transaction:
                connection.rollback()
            raise
    return found


def _version(connection: sqlite3.Connection, path: Path) -> int:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    ours = application == APPLICATION_ID and version > 0
    if not ours and (application, version, tables) != (0, 0, 0):
        raise StoreCorrupt(
            f"{path} is not a mesh store",
            why=f"it is another program's database (application id {application:#x})",
            fix=f"move {path} away, or start with another MESH_HOME",
        )
    return int(version)
