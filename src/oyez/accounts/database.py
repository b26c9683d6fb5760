"""Opens the database, which is an SQLite file by default, or PostgreSQL.

Every function here blocks: call it from a thread, or before the event loop runs.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from oyez.accounts.schema import NoTables, SchemaError, migrate

OFF = "off"
"""The value of the setting `database` with which nothing is kept."""
BUSY_TIMEOUT_MS = 5_000
POSTGRES_DRIVER = "postgresql+psycopg"
POSTGRES_OPTIONS = {
    "connect_timeout": "5",
    "application_name": "oyez",
    # A PostgreSQL server that disappears without closing is noticed within half a minute.
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",
    "options": "-c statement_timeout=30000",
}
EXAMPLES = "such as sqlite:////var/lib/oyez/oyez.db or postgresql://oyez@localhost/oyez"


class DatabaseError(Exception):
    """The database cannot be used. The message names it, says what to do and holds no password."""


class NoDatabase(DatabaseError):
    """There is no database of this name yet; the name may be mistyped."""


class Database:
    """An open database with the current schema. Its methods may be called from any thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writing = engine.execution_options(oyez_writes=True)

    @property
    def name(self) -> str:
        """The URL of the database without the password."""
        return shown(self._engine.url)

    @property
    def file(self) -> Path | None:
        """The file of an SQLite database; None for PostgreSQL."""
        url = self._engine.url
        return Path(url.database or "") if url.get_backend_name() == "sqlite" else None

    def read(self) -> AbstractContextManager[Connection]:
        """Open a transaction that reads one consistent state. Raises DatabaseError."""
        return self._transaction(self._engine)

    def write(self) -> AbstractContextManager[Connection]:
        """Open a transaction that is durable once it is left, or undone if it fails.

        Raises DatabaseError.
        """
        return self._transaction(self._writing)

    def close(self) -> None:
        """Close all connections to the database."""
        self._engine.dispose()

    @contextmanager
    def _transaction(self, engine: Engine) -> Iterator[Connection]:
        try:
            with engine.begin() as connection:
                yield connection
        except SQLAlchemyError as error:
            # The driver's message in one line, without the statement and its parameters.
            message = str(error.orig if isinstance(error, DBAPIError) else error)
            reason = " ".join(message.split()) or type(error).__name__
            raise DatabaseError(f"database {self.name}: {reason}") from error


def open_database(url: str, *, create: bool = True) -> Database:
    """Connect to the database at this SQLAlchemy URL, and bring its schema up to date.

    With `create`, missing tables are created, and so is a missing SQLite file, which only its owner
    can read. Without it, NoDatabase is raised in these cases. Raises DatabaseError.
    """
    parsed = _parse(url)
    is_sqlite = parsed.get_backend_name() == "sqlite"
    engine = _sqlite(parsed, create) if is_sqlite else _postgres(parsed)
    database = Database(engine)
    try:
        with database.write() as connection:
            migrate(connection, create=create)
    except (NoTables, SchemaError, DatabaseError) as error:
        database.close()
        if isinstance(error, NoTables):
            raise _missing(database.name, "it holds no tables of oyez", "them") from None
        if isinstance(error, SchemaError):
            raise DatabaseError(f"database {database.name}: {error}") from None
        advice = "Start it or correct the URL; or set `database` to another one, or to 'off'."
        if is_sqlite:
            advice = "Set `database` to a file on a local disk that can be written, or to 'off'."
        raise DatabaseError(f"{error}\n{advice}") from error
    return database


def shown(url: URL) -> str:
    """The URL with its password masked, as people and logs may see it."""
    query = {name: "***" if "password" in name else value for name, value in url.query.items()}
    return url.set(query=query).render_as_string(hide_password=True)


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise DatabaseError(f"database must be 'off' or a URL {EXAMPLES}") from None
    if "@" in (parsed.host or ""):  # the rest of the password would be shown as part of the host
        raise DatabaseError("database: write an @ in the user or the password as %40")
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername=POSTGRES_DRIVER)
    if parsed.drivername not in ("sqlite", "sqlite+pysqlite", POSTGRES_DRIVER):
        raise DatabaseError(
            f"database {shown(parsed)}: {parsed.drivername} is not supported; give a URL {EXAMPLES}"
        )
    return parsed


def _sqlite(url: URL, create: bool) -> Engine:
    if not url.database or url.database == ":memory:" or "mode" in url.query:
        raise DatabaseError(
            f"database {shown(url)}: must be a file, {EXAMPLES}; 'off' keeps nothing"
        )
    file = Path(url.database)
    if create:
        _create_private(file, shown(url))
    elif not file.exists():
        raise _missing(shown(url), "there is no such file", "it")
    engine = create_engine(url)
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _missing(name: str, what: str, it: str) -> NoDatabase:
    return NoDatabase(
        f"database {name}: {what}. Is that the one you mean? --database, OYEZ_DATABASE or --config "
        f"says which. If so, oyez keys create NAME makes {it}, or oyez serve --create-database"
    )


def _create_private(file: Path, name: str) -> None:
    try:
        missing = [folder for folder in file.parents if not folder.exists()]
        for folder in reversed(missing):
            folder.mkdir(mode=0o700, exist_ok=True)
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise DatabaseError(
            f"database {name}: {error.strerror}; set `database` to a place that can be written, "
            "or to 'off'"
        ) from error


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # _begin_sqlite begins transactions, not the driver
    connection.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _use_wal(connection)
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")


def _use_wal(connection: Any) -> None:
    # SQLite ignores the busy timeout here: while another process switches a new file to the
    # write-ahead log, the statement fails or leaves the mode as it is. So it is tried again.
    problem = "no write-ahead log here: use a local disk"
    deadline_s = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while time.monotonic() < deadline_s:
        try:
            if connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",):
                return
        except sqlite3.OperationalError as error:
            problem = str(error)
        time.sleep(0.01)
    raise sqlite3.OperationalError(problem)


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes the lock at once. If it read first, its first write could fail with
    # "database is locked", because another process may have written in between.
    writes = connection.get_execution_options().get("oyez_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgres(url: URL) -> Engine:
    options = {name: value for name, value in POSTGRES_OPTIONS.items() if name not in url.query}
    try:
        return create_engine(url, pool_pre_ping=True, connect_args=options)
    except ModuleNotFoundError as error:
        raise DatabaseError(
            f"database {shown(url)}: the driver {error.name} is not installed: "
            "pip install 'oyez[postgres]'"
        ) from error
