"""Bringing a database to the schema of this program.

A new database gets the schema as it is. An older one is taken up a step at a time; the caller's
transaction makes that all or nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, inspect, select, text, update

from oyez.accounts import schema


def _remember_when_keys_were_used(connection: Connection) -> None:
    kind = schema.Moment().compile(connection.dialect)
    connection.execute(text(f"ALTER TABLE keys ADD COLUMN used_at {kind}"))


STEPS: Mapping[int, Callable[[Connection], None]] = {2: _remember_when_keys_were_used}
"""Version to what leads there from the one before."""

LOCK = 0x6F79657A  # "oyez": any number that no other program locks


class SchemaError(Exception):
    """The database belongs to a newer program, or to another one."""


class NoTables(Exception):
    """The database is empty, or belongs to another program."""


def migrate(
    connection: Connection,
    steps: Mapping[int, Callable[[Connection], None]] = STEPS,
    version: int = schema.VERSION,
    *,
    create: bool = True,
) -> None:
    """Create or update the tables. create: False raises NoTables where there are none. Raises
    SchemaError."""
    if connection.dialect.name == "postgresql":  # SQLite writers are alone already
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    found = _version(connection)
    if found is None and not create:
        raise NoTables
    if found is None:
        schema.metadata.create_all(connection)
        connection.execute(schema.schema_version.insert().values(version=version))
        return
    if found > version:
        raise SchemaError(
            f"its schema is version {found}, this program knows {version}: update oyez, "
            "or restore the backup from before the update"
        )
    for number in range(found + 1, version + 1):
        steps[number](connection)
    if found < version:
        connection.execute(update(schema.schema_version).values(version=version))


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table("schema_version"):
        return None
    version: int = connection.execute(select(schema.schema_version.c.version)).scalar_one()
    return version
