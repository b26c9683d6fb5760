from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import MetaData, inspect, text

from oyez.accounts import database as database_module
from oyez.accounts import schema
from oyez.accounts.database import Database, DatabaseError, NoDatabase, open_database
from oyez.accounts.keys import all_keys, create_key, revoke_key
from oyez.accounts.ledger import Ledger
from oyez.accounts.reports import session_report, usage_report
from support.postgres import Postgres
from support.usage import NOON, a_usage

TABLES = set(schema.metadata.tables)
MAKE_KEYS = """
from oyez.cli.main import main
for number in range(5):
    main(["keys", "create", str(number)], standalone_mode=False)
"""


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def test_a_new_database_is_opened_by_many_at_once(url: str) -> None:
    with ThreadPoolExecutor(8) as pool:
        opened = list(pool.map(open_database, [url] * 8))
    assert tables(opened[0]) == TABLES
    with opened[0].read() as connection:
        versions = connection.execute(text("SELECT version FROM schema_version")).all()
    assert versions == [(schema.VERSION,)]
    for each in opened:
        each.close()


def test_a_database_that_is_not_there_is_made_only_when_that_is_asked_for(
    url: str, tmp_path: Path
) -> None:
    def refused() -> str:
        with pytest.raises(NoDatabase) as raised:
            open_database(url, create=False)
        return str(raised.value)

    assert "oyez keys create" in refused() and "--create-database" in refused()
    assert list(tmp_path.iterdir()) == []
    if url.startswith("sqlite"):
        (tmp_path / "accounts.db").touch()
        assert "no tables" in refused()
    open_database(url, create=True).close()
    found = open_database(url, create=False)
    assert tables(found) == TABLES
    found.close()


def test_a_database_of_a_newer_program_is_left_alone(url: str) -> None:
    database = open_database(url)
    with database.write() as connection:
        connection.execute(text("UPDATE schema_version SET version = 999"))
    database.close()
    with pytest.raises(DatabaseError, match="version 999.*update oyez"):
        open_database(url)


def test_server_and_commands_work_side_by_side(url: str) -> None:
    """A ledger writes, other processes make and revoke keys: none of them has to try again."""
    database = open_database(url)
    ledger = Ledger(database)
    ledger.start()
    environment = {**os.environ, "OYEZ_DATABASE": url}
    others = [
        subprocess.Popen([sys.executable, "-c", MAKE_KEYS], env=environment, stdout=subprocess.PIPE)
        for _ in range(3)
    ]
    number, futures = 0, []
    while any(other.poll() is None for other in others):
        futures.append(ledger.put(a_usage(f"s{number}", audio_s=1, ended_at=NOON)))
        futures[-1].result(10)
        number += 1
    assert [other.returncode for other in others] == [0, 0, 0]
    for other in others:
        other.communicate()
    assert len(all_keys(database)) == 15
    assert usage_report(database, "key").total.sessions == number > 0
    assert not ledger.behind
    ledger.stop(10)
    database.close()


def test_the_time_zone_of_a_postgresql_changes_nothing(postgres: Postgres) -> None:
    url = postgres.url() + "&options=-c%20timezone%3DAsia/Kolkata"
    database = open_database(url)
    ledger = Ledger(database)
    ledger.start()
    late = NOON.replace(hour=23)
    ledger.put(a_usage(began_at=late, at=late, audio_s=1, ended_at=late)).result(10)
    ledger.stop(10)
    (session,) = session_report(database, since=late.date(), until=late.date())
    assert session.began_at == session.ended_at == late
    assert list(usage_report(database, "day").lines) == ["2026-11-23"]
    database.close()


def test_the_tables_refuse_what_belongs_to_no_session(database: Database) -> None:
    orphan = "INSERT INTO session_languages VALUES ('nobody', '2026-11-23', 'en', 1, 1)"
    with pytest.raises(DatabaseError), database.write() as connection:
        connection.execute(text(orphan))


def test_a_transaction_that_fails_leaves_nothing(database: Database) -> None:
    _, key = create_key(database, "ci")
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(text("DELETE FROM keys"))
        _ = 1 / 0
    assert all_keys(database) == [key]


def test_sqlite_is_private_and_durable(tmp_path: Path) -> None:
    file = tmp_path / "new" / "deeper" / "a.db"
    database = open_database(f"sqlite:///{file}")
    revoke_key(database, "nobody")
    for each in tmp_path.rglob("*.db*"):
        assert each.stat().st_mode & 0o777 == 0o600, each
    assert file.parent.stat().st_mode & 0o777 == file.parents[1].stat().st_mode & 0o777 == 0o700
    pragmas = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    with database.read() as connection:
        found = {name: connection.execute(text(f"PRAGMA {name}")).scalar() for name in pragmas}
    assert found == pragmas
    database.close()


def test_a_backup_taken_while_it_runs_is_whole(tmp_path: Path) -> None:
    database = open_database(f"sqlite:///{tmp_path}/a.db")
    ledger = Ledger(database)
    ledger.start()
    ledger.put(a_usage(audio_s=1, ended_at=NOON)).result(10)
    with sqlite3.connect(tmp_path / "a.db") as live, sqlite3.connect(tmp_path / "b.db") as copy:
        live.backup(copy)
    ledger.stop(10)
    restored = open_database(f"sqlite:///{tmp_path}/b.db")
    assert usage_report(restored, "key").total.audio_ms == 1000
    restored.close()
    database.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "'off' or a URL"),
        ("mysql://u:secret@h/d", "mysql is not supported"),
        ("sqlite://", "must be a file"),
        ("sqlite:///:memory:", "must be a file"),
        ("sqlite:////proc/nowhere/a.db", "can be written"),
        ("postgresql://u:secret@127.0.0.1:1/d", "onnection"),
        ("postgresql://u:half@secret@127.0.0.1:1/d", "%40"),
        ("postgresql://u@127.0.0.1:1/d?password=secret", "onnection"),
    ],
)
def test_what_cannot_be_opened_is_named_without_its_password(url: str, words: str) -> None:
    with pytest.raises(DatabaseError, match=words) as caught:
        open_database(url)
    assert "secret" not in str(caught.value)


def test_a_file_that_is_no_database_is_not_touched(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("important " * 1000)
    with pytest.raises(DatabaseError, match="not a database"):
        open_database(f"sqlite:///{file}")
    assert file.read_text() == "important " * 1000


def test_a_missing_driver_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DatabaseError, match=r"pip install 'oyez\[postgres\]'"):
        open_database("postgresql://u@h/d")


def test_urls_of_postgresql_need_not_name_the_driver() -> None:
    for scheme in ("postgresql", "postgres", "postgresql+psycopg"):
        parsed = database_module._parse(f"{scheme}://u@h/d")
        assert parsed.drivername == "postgresql+psycopg"


def test_the_tables_are_those_of_the_schema(database: Database) -> None:
    found = MetaData()
    with database.read() as connection:
        found.reflect(connection)
    for name, table in schema.metadata.tables.items():
        assert set(found.tables[name].columns.keys()) == set(table.columns.keys())
