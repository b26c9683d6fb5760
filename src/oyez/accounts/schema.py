"""The tables of the database, and the steps that bring an older database up to them.

One schema serves SQLite and PostgreSQL. Durations are whole milliseconds, so that sums are exact;
prices are decimal numbers written as text. A change of a table needs a new VERSION and a step in
STEPS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    inspect,
    select,
    text,
    update,
)

VERSION = 2
FIGURES = ("audio_ms", "speech_ms", "turns", "finals", "failed", "errors")
"""The columns that hold what a session used; `sessions` and `session_days` both have them."""
LOCK = 0x6F79657A
"""The number of the lock that migrations hold in PostgreSQL; other programs do not use it."""

metadata = MetaData()


class SchemaError(Exception):
    """The schema of the database is newer than this program."""


class NoTables(Exception):
    """The database is empty, or belongs to another program."""


class Moment(TypeDecorator[datetime]):
    """A point in time: a datetime with a time zone in Python, UTC in the database."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        utc = value.astimezone(UTC)
        return utc.replace(tzinfo=None) if dialect.name == "sqlite" else utc

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _figures() -> list[Column[int]]:
    return [
        Column(name, BigInteger if name.endswith("_ms") else Integer, nullable=False)
        for name in FIGURES
    ]


schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

keys = Table(
    "keys",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("hash", LargeBinary, nullable=False, unique=True),
    Column("sessions", Integer),
    Column("sessions_per_second", Integer),
    Column("audio_ms_per_day", BigInteger),
    # Codes separated by spaces; an empty text allows all languages.
    Column("languages", Text, nullable=False),
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    # The last use by sessions that have been deleted since.
    Column("used_at", Moment),
)

# The servers that run now, and those that ended without signing off.
instances = Table(
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    # The machine and process namespace in which `pid` is valid; null where that is unknown.
    Column("place", Text),
    Column("pid", Integer, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instance_id", Text, nullable=False),
    # No foreign key: keys of the settings have an id too, and are not in `keys`.
    Column("key_id", Text),
    Column("key_name", Text),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("ended_at", Moment),
    *_figures(),
    Column("close_code", Integer),
    Column("close_reason", Text),
    Column("price_per_second", Text),
    Column("currency", Text),
    Index("sessions_by_key", "key_id", "seen_at"),
    Index("sessions_open", "ended_at"),
)

# The part of a session's figures that belongs to each day (UTC).
session_days = Table(
    "session_days",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    # 1 on the first day of the session, otherwise 0, so that sums count each session once.
    Column("sessions", Integer, nullable=False),
    *_figures(),
    Index("session_days_by_day", "day"),
)

session_languages = Table(
    "session_languages",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("language", Text, primary_key=True),
    Column("turns", Integer, nullable=False),
    Column("speech_ms", BigInteger, nullable=False),
    Index("session_languages_by_day", "day"),
)


def _add_last_use_of_keys(connection: Connection) -> None:
    column_type = Moment().compile(connection.dialect)
    connection.execute(text(f"ALTER TABLE keys ADD COLUMN used_at {column_type}"))


STEPS: Mapping[int, Callable[[Connection], None]] = {2: _add_last_use_of_keys}
"""For each version, the step that leads to it from the version before."""


def migrate(
    connection: Connection,
    steps: Mapping[int, Callable[[Connection], None]] = STEPS,
    version: int = VERSION,
    *,
    create: bool = True,
) -> None:
    """Create the tables, or bring those of an older version up to date, step by step.

    The caller's transaction makes this all or nothing. Raises NoTables if there are no tables and
    `create` is false, and SchemaError if the tables are newer than `version`.
    """
    if connection.dialect.name == "postgresql":  # SQLite allows one writer at a time anyway
        connection.execute(text("SET LOCAL statement_timeout = 0"))
        connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    found = _version(connection)
    if found is None and not create:
        raise NoTables
    if found is None:
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=version))
        return
    if found > version:
        raise SchemaError(
            f"its schema is version {found}, this program knows {version}: update oyez, "
            "or restore the backup from before the update"
        )
    for number in range(found + 1, version + 1):
        steps[number](connection)
    if found < version:
        connection.execute(update(schema_version).values(version=version))


def _version(connection: Connection) -> int | None:
    if not inspect(connection).has_table("schema_version"):
        return None
    version: int = connection.execute(select(schema_version.c.version)).scalar_one()
    return version
