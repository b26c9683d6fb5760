from __future__ import annotations

import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from sqlalchemy import Connection, inspect, text

from oyez.accounts import schema
from oyez.accounts.database import Database, DatabaseError, open_database
from oyez.accounts.keys import all_keys
from oyez.accounts.reports import usage_report
from oyez.accounts.schema import STEPS, SchemaError, migrate

VERSION_1 = Path(__file__).parent / "version_1.sql"


def add_note(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE keys ADD COLUMN note TEXT"))


def fill_note(connection: Connection) -> None:
    connection.execute(text("UPDATE keys SET note = name"))


def fail(connection: Connection) -> None:
    connection.execute(text("ALTER TABLE keys ADD COLUMN half_done TEXT"))
    connection.execute(text("this is no SQL"))


def state(database: Database) -> tuple[int, set[str]]:
    """Version, and the columns of `keys`."""
    with database.read() as connection:
        version = connection.execute(text("SELECT version FROM schema_version")).scalar_one()
        return version, {column["name"] for column in inspect(connection).get_columns("keys")}


def test_steps_are_taken_in_order_from_where_the_database_is(database: Database) -> None:
    first = schema.VERSION
    steps = {first + 1: add_note, first + 2: fill_note}
    for version in (first + 1, first + 2, first + 2):
        with database.write() as connection:
            migrate(connection, steps, version)
        assert state(database)[0] == version
    assert "note" in state(database)[1]


def test_a_step_that_fails_leaves_the_database_as_it_was(database: Database) -> None:
    before = state(database)
    steps = {schema.VERSION + 1: add_note, schema.VERSION + 2: fail}
    with pytest.raises(DatabaseError), database.write() as connection:
        migrate(connection, steps, schema.VERSION + 2)
    assert state(database) == before


def test_a_newer_database_is_refused(database: Database) -> None:
    with pytest.raises(SchemaError, match="update oyez"), database.write() as connection:
        migrate(connection, {}, schema.VERSION - 1)


def test_there_is_a_step_to_every_version() -> None:
    assert list(STEPS) == list(range(2, schema.VERSION + 1))


def test_a_database_of_version_1_is_taken_up_with_what_is_in_it(tmp_path: Path) -> None:
    """The file was dumped from a database of that version: it never changes."""
    file = tmp_path / "accounts.db"
    with sqlite3.connect(file) as connection:
        connection.executescript(VERSION_1.read_text())
    connection.close()
    database = open_database(f"sqlite:///{file}")
    assert state(database)[0] == schema.VERSION
    (key,) = all_keys(database)
    assert (key.name, key.limits.languages, key.limits.audio_s_per_day) == ("ci", ("en",), 7200)
    total = usage_report(database, "key").total
    assert (total.sessions, total.audio_ms, total.cost) == (
        1,
        61_250,
        {"EUR": Decimal("0.0055125")},
    )
    fresh = open_database(f"sqlite:///{tmp_path / 'fresh.db'}")
    assert _columns(database) == _columns(fresh)
    database.close()
    fresh.close()


def _columns(database: Database) -> dict[str, set[str]]:
    with database.read() as connection:
        found = inspect(connection)
        return {
            table: {f"{column['name']} {column['type']!r}" for column in found.get_columns(table)}
            for table in found.get_table_names()
        }
