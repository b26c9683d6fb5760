"""The tables of the database, and the steps that bring an older database up to them.

One schema serves SQLite and PostgreSQL. Durations are whole milliseconds, so that sums are exact;
prices are decimal numbers written as text. A change of a table needs a new VERSION and a step in
STEPS.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

import sqlalchemy as sa

VERSION = 2
FIGURES = ("audio_ms", "speech_ms", "turns", "finals", "failed", "errors")
"""The columns that hold what a session used; `sessions` and `session_days` both have them."""
LOCK = 0x6F79657A
"""The number of the lock that migrations hold in PostgreSQL; other programs do not use it."""

metadata = sa.MetaData()


class SchemaError(Exception):
    """The schema of the database is newer than this program."""


class NoTables(Exception):
    """The database is empty, or belongs to another program."""


class Moment(sa.TypeDecorator[datetime]):
    """A point in time: a datetime with a time zone in Python, UTC in the database."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        return value and value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        if value is not None and value.tzinfo is None:  # SQLite keeps no time zone
            return value.replace(tzinfo=UTC)
        return value and value.astimezone(UTC)


def _figures() -> list[sa.Column[int]]:
    return [
        sa.Column(name, sa.BigInteger if name.endswith("_ms") else sa.Integer, nullable=False)
        for name in FIGURES
    ]


schema_version = sa.Table(
    "schema_version", metadata, sa.Column("version", sa.Integer, nullable=False)
)

keys = sa.Table(
    "keys",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("hash", sa.LargeBinary, nullable=False, unique=True),
    sa.Column("sessions", sa.Integer),
    sa.Column("sessions_per_second", sa.Integer),
    sa.Column("audio_ms_per_day", sa.BigInteger),
    # Codes separated by spaces; an empty text allows all languages.
    sa.Column("languages", sa.Text, nullable=False),
    sa.Column("expires_at", Moment),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("revoked_at", Moment),
    # The last use by sessions that have been deleted since.
    sa.Column("used_at", Moment),
)

# The servers that run now, and those that ended without signing off.
instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # The process: machine, namespace of process numbers, and start; null where that is unknown.
    sa.Column("place", sa.Text),
    sa.Column("pid", sa.Integer, nullable=False),
    sa.Column("began_at", Moment, nullable=False),
    sa.Column("beat_at", Moment, nullable=False),
)

sessions = sa.Table(
    "sessions",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("instance_id", sa.Text, nullable=False),
    # No foreign key: keys of the settings have an id too, and are not in `keys`.
    sa.Column("key_id", sa.Text),
    sa.Column("key_name", sa.Text),
    sa.Column("endpoint", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("began_at", Moment, nullable=False),
    sa.Column("seen_at", Moment, nullable=False),
    sa.Column("ended_at", Moment),
    *_figures(),
    sa.Column("close_code", sa.Integer),
    sa.Column("close_reason", sa.Text),
    sa.Column("price_per_second", sa.Text),
    sa.Column("currency", sa.Text),
    sa.Index("sessions_by_key", "key_id", "seen_at"),
    sa.Index("sessions_open", "ended_at"),
)

# The part of a session's figures that belongs to each day (UTC).
session_days = sa.Table(
    "session_days",
    metadata,
    sa.Column("session_id", sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    # 1 on the day that was written first, otherwise 0, so that sums count each session once.
    sa.Column("sessions", sa.Integer, nullable=False),
    *_figures(),
    sa.Index("session_days_by_day", "day"),
)

session_languages = sa.Table(
    "session_languages",
    metadata,
    sa.Column("session_id", sa.ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("day", sa.Date, primary_key=True),
    sa.Column("language", sa.Text, primary_key=True),
    sa.Column("turns", sa.Integer, nullable=False),
    sa.Column("speech_ms", sa.BigInteger, nullable=False),
    sa.Index("session_languages_by_day", "day"),
)


def _add_last_use_of_keys(connection: sa.Connection) -> None:
    column_type = Moment().compile(connection.dialect)
    connection.execute(sa.text(f"ALTER TABLE keys ADD COLUMN used_at {column_type}"))


STEPS: Mapping[int, Callable[[sa.Connection], None]] = {2: _add_last_use_of_keys}
"""For each version, the step that leads to it from the version before."""


def migrate(
    connection: sa.Connection,
    steps: Mapping[int, Callable[[sa.Connection], None]] = STEPS,
    version: int = VERSION,
    *,
    create: bool = True,
) -> None:
    """Create the tables, or bring those of an older version up to date, step by step.

    The caller's transaction makes this all or nothing. Raises NoTables if there are no tables and
    `create` is false, and SchemaError if the tables are newer than `version`.
    """
    if connection.dialect.name == "postgresql":  # SQLite allows one writer at a time anyway
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        connection.execute(sa.text(f"SELECT pg_advisory_xact_lock({LOCK})"))
    if not sa.inspect(connection).has_table("schema_version"):
        if not create:
            raise NoTables
        metadata.create_all(connection)
        connection.execute(schema_version.insert().values(version=version))
        return
    found: int = connection.execute(sa.select(schema_version.c.version)).scalar_one()
    if found > version:
        raise SchemaError(
            f"its schema is version {found}, this program knows {version}: update oyez, "
            "or restore the backup from before the update"
        )
    for number in range(found + 1, version + 1):
        steps[number](connection)
    if found < version:
        connection.execute(sa.update(schema_version).values(version=version))
