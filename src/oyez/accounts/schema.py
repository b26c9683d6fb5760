"""The tables. One schema for SQLite and PostgreSQL.

A change here is a new version: raise VERSION and add a step to `migrations`. Durations are whole
milliseconds, so that sums are exact; prices are decimal numbers written out.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    BigInteger,
    Column,
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
)

VERSION = 2

metadata = MetaData()


class Moment(TypeDecorator[datetime]):
    """A point in time, with time zone in Python, UTC in the database."""

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
    Column("languages", Text, nullable=False),  # codes with spaces between; empty: all
    Column("expires_at", Moment),
    Column("created_at", Moment, nullable=False),
    Column("revoked_at", Moment),
    Column("used_at", Moment),  # by sessions that were deleted since
)

instances = Table(  # servers that run, or did when they last wrote
    "instances",
    metadata,
    Column("id", Text, primary_key=True),
    Column("place", Text),  # where its process number means something; null: unknown
    Column("pid", Integer, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("beat_at", Moment, nullable=False),
)

sessions = Table(
    "sessions",
    metadata,
    Column("id", Text, primary_key=True),
    Column("instance_id", Text, nullable=False),
    Column("key_id", Text),  # not of `keys` alone: keys from files have an id too
    Column("key_name", Text),
    Column("endpoint", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("began_at", Moment, nullable=False),
    Column("seen_at", Moment, nullable=False),
    Column("ended_at", Moment),
    Column("audio_ms", BigInteger, nullable=False),
    Column("speech_ms", BigInteger, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("finals", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
    Column("close_code", Integer),
    Column("close_reason", Text),
    Column("price_per_second", Text),
    Column("currency", Text),
    Index("sessions_by_key", "key_id", "seen_at"),
    Index("sessions_open", "ended_at"),
)

session_days = Table(  # what of a session fell on which day
    "session_days",
    metadata,
    Column("session_id", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("sessions", Integer, nullable=False),  # 1 on its first day
    Column("audio_ms", BigInteger, nullable=False),
    Column("speech_ms", BigInteger, nullable=False),
    Column("turns", Integer, nullable=False),
    Column("finals", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("errors", Integer, nullable=False),
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
