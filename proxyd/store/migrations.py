"""Numbered steps of the SQLite schema, up and down. A step that was released never changes."""

from typing import Final, NamedTuple

import apsw


class Migration(NamedTuple):
    """From the step before to this one, and back."""

    up: str
    down: str


MIGRATIONS: Final = (
    Migration(
        up="""
        CREATE TABLE entry (
            key TEXT PRIMARY KEY,
            value BLOB NOT NULL,
            version INTEGER NOT NULL,
            vanishes REAL           -- Unix seconds; NULL: never
        ) WITHOUT ROWID;
        CREATE INDEX entry_vanishes ON entry (vanishes) WHERE vanishes IS NOT NULL;
        """,
        down="DROP TABLE entry;",
    ),
)


def migrate(connection: apsw.Connection, target: int = len(MIGRATIONS)) -> None:
    """Bring the schema to step ``target``, each in a transaction. ValueError for a schema of a later program."""
    (current,) = next(connection.execute("PRAGMA user_version"))
    if current > len(MIGRATIONS):
        raise ValueError(f"the schema is at step {current}, and this program, which is older, knows {len(MIGRATIONS)}")
    while current != target:
        step = MIGRATIONS[current].up if current < target else MIGRATIONS[current - 1].down
        current += 1 if current < target else -1
        connection.execute(f"BEGIN IMMEDIATE; {step} PRAGMA user_version = {current}; COMMIT;")
