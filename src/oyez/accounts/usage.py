"""What one session used, and how it is written to the database, divided into days (UTC)."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, Literal

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from oyez.accounts.database import Database, DatabaseError
from oyez.accounts.schema import FIGURES, session_days, session_languages, sessions

Endpoint = Literal["realtime", "transcriptions"]
ORPHANED = "lost"
"""The close reason of a session whose server ended without closing it."""
MAX_TEXT_CHARACTERS = 500

Figures = dict[str, int]
"""Whole numbers by the name of their column."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LanguageUsage:
    """The finals of a session in one language, and the speech in them."""

    turns: int
    speech_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUsage:
    """The figures of one session from its beginning until `at`.

    They never decrease from one usage of a session to the next. Raises ValueError for a time
    without a time zone, and for seconds that are negative or not finite.
    """

    session_id: str
    key_id: str | None
    """None for a caller without a key."""
    key_name: str | None
    endpoint: Endpoint
    model: str
    began_at: datetime
    at: datetime
    """When these figures were taken. What is new in them counts on this day (UTC)."""
    ended_at: datetime | None = None
    """None while the session is open. A usage with an end is the last one of its session."""
    audio_s: float = 0.0
    speech_s: float = 0.0
    turns: int = 0
    finals: int = 0
    failed: int = 0
    errors: int = 0
    languages: Mapping[str, LanguageUsage] = field(default_factory=dict)
    close_code: int | None = None
    close_reason: str | None = None

    def __post_init__(self) -> None:
        for moment in (self.began_at, self.at, self.ended_at):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{moment.isoformat()} has no time zone: give it in UTC")
        for seconds in (self.audio_s, self.speech_s):
            if not (isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{seconds} is no duration in seconds")

    @property
    def day(self) -> date:
        """The day (UTC) on which these figures were taken."""
        return self.at.astimezone(UTC).date()

    @property
    def audio_ms(self) -> int:
        return round(self.audio_s * 1000)

    @property
    def speech_ms(self) -> int:
        return round(self.speech_s * 1000)

    def figures(self) -> dict[str, Figures]:
        """The figures in the units of the database, by language; "" is the whole session."""
        whole = {"sessions": 1, **{name: getattr(self, name) for name in FIGURES}}
        return {"": whole} | {
            _clean(code): {"turns": spoken.turns, "speech_ms": round(spoken.speech_s * 1000)}
            for code, spoken in self.languages.items()
        }


@dataclass(frozen=True, slots=True)
class Record:
    """A usage as it is written: with the server that took it, and the price in force."""

    usage: SessionUsage
    instance_id: str
    price_per_second: str | None
    """A decimal number, or None if nothing is charged."""
    currency: str | None

    @property
    def key(self) -> tuple[str, date]:
        """The session and the day. Of two records with the same key, the newer replaces the other,
        because its figures include those of the other."""
        return self.usage.session_id, self.usage.day


def write_valid(database: Database, records: Sequence[Record]) -> dict[int, Exception]:
    """Write records in one transaction, without those that the database can never accept.

    Returns the reason for each rejected record, by `id(record)`; the log holds their figures.
    Blocks. Raises DatabaseError if the database itself fails; then nothing is certainly written.
    """
    try:
        with database.write() as connection:
            write_records(connection, records)
    except Exception as error:
        about_figures = (DataError, IntegrityError)
        if isinstance(error, DatabaseError) and not isinstance(error.__cause__, about_figures):
            raise
        if len(records) > 1:
            # One record spoils the transaction of all: find it by writing each on its own.
            return dict(each for one in records for each in write_valid(database, [one]).items())
        fields = asdict(records[0].usage)
        log.error("usage that cannot be written: %s", error, extra={"fields": fields})
        return {id(records[0]): error}
    return {}


def write_records(connection: sa.Connection, records: Sequence[Record]) -> None:
    """Bring the rows of these sessions up to these figures. What is new in a record counts on its
    day.

    Figures never decrease. So the same record twice, or an older one, changes nothing. Blocks.
    """
    ids = {record.usage.session_id for record in records}
    known = connection.execute(sa.select(sessions).where(sessions.c.id.in_(ids)))
    rows = {row.id: row._asdict() for row in known}
    days = _read_days(connection, ids)
    changed: set[tuple[str, date, str]] = set()
    for record in records:
        usage = record.usage
        session_id, day = record.key
        for language, reached in usage.figures().items():
            add_new(days[session_id, language], day, reached)
            changed.add((session_id, day, language))
        rows[session_id] = _session_row(rows.get(session_id), record, days[session_id, ""])
    _upsert(connection, sessions, list(rows.values()))
    day_rows, language_rows = [], []
    for session_id, day, language in sorted(changed):
        row = {"session_id": session_id, "day": day, **days[session_id, language][day]}
        if language:
            language_rows.append({**row, "language": language})
        else:
            day_rows.append(row)
    _upsert(connection, session_days, day_rows)
    _upsert(connection, session_languages, language_rows)


def add_new(days: dict[date, Figures], day: date, reached: Figures) -> None:
    """Add what is new to the figures of a day. days: what was new on each day so far. reached: the
    figures from the beginning of the session until some moment of `day`."""
    today = days.setdefault(day, dict.fromkeys(reached, 0))
    for name, value in reached.items():
        today[name] += max(0, value - sum(known[name] for known in days.values()))


def _read_days(
    connection: sa.Connection, session_ids: set[str]
) -> defaultdict[tuple[str, str], dict[date, Figures]]:
    """What was new on each day, by session and language; "" is the whole session."""
    days: defaultdict[tuple[str, str], dict[date, Figures]] = defaultdict(dict)
    for table in (session_days, session_languages):
        query = sa.select(table).where(table.c.session_id.in_(session_ids))
        for found in connection.execute(query):
            row = found._asdict()
            owner = row.pop("session_id"), row.pop("language", "")
            days[owner][row.pop("day")] = row
    return days


def _session_row(
    known: dict[str, Any] | None, record: Record, days: Mapping[date, Figures]
) -> dict[str, Any]:
    def columns(source: object, *names: str) -> dict[str, Any]:
        return {name: _clean(getattr(source, name)) for name in names}

    usage = record.usage
    end = columns(usage, "ended_at", "close_code", "close_reason")
    if known is None:
        known = {
            "id": usage.session_id,
            "seen_at": usage.at,
            **columns(usage, "key_id", "key_name", "endpoint", "model", "began_at"),
            **columns(record, "instance_id", "price_per_second", "currency"),
        }
    elif known["ended_at"] is not None and known["close_reason"] != ORPHANED:
        end = {}  # an older usage arrives after the last one: the session stays ended
    sums = {name: sum(figures[name] for figures in days.values()) for name in FIGURES}
    return {**known, **sums, **end, "seen_at": max(known["seen_at"], usage.at)}


def _upsert(connection: sa.Connection, table: sa.Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    key = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in rows[0] if name not in key}
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=others), rows)


def _clean(value: Any) -> Any:
    """The value; a text as every database accepts it: short, without NUL and broken Unicode."""
    if not isinstance(value, str):
        return value
    return value.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_TEXT_CHARACTERS]
