"""What one session used, how it divides into days, and how it is written to the database."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any, Literal

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from oyez.accounts.database import Database, DatabaseError
from oyez.accounts.schema import FIGURES, session_days, session_languages, sessions

Endpoint = Literal["realtime", "transcriptions"]
ORPHANED = "lost"
"""The close reason of a session whose server ended without closing it."""
MAX_TEXT_CHARACTERS = 500

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


@dataclass(frozen=True, slots=True)
class Record:
    """A usage as it is written: with the server that took it, and the price in force."""

    usage: SessionUsage
    instance_id: str
    price_per_second: str | None
    """A decimal number, or None if nothing is charged."""
    currency: str | None


Figures = dict[tuple[str | None, str], int]
"""Whole numbers by language and column. The language is None for figures of the whole session."""


def figures(usage: SessionUsage) -> Figures:
    """The figures of a usage in the units of the database."""
    found: Figures = {
        (None, "audio_ms"): usage.audio_ms,
        (None, "speech_ms"): round(usage.speech_s * 1000),
        (None, "turns"): usage.turns,
        (None, "finals"): usage.finals,
        (None, "failed"): usage.failed,
        (None, "errors"): usage.errors,
    }
    for language, spoken in usage.languages.items():
        found[language, "turns"] = spoken.turns
        found[language, "speech_ms"] = round(spoken.speech_s * 1000)
    return found


def total(parts: Sequence[Figures]) -> Figures:
    """The sum of several figures."""
    return {name: sum(part.get(name, 0) for part in parts) for name in set().union(*parts)}


def highest(parts: Sequence[Figures]) -> Figures:
    """The highest value of each figure."""
    return {name: max(part.get(name, 0) for part in parts) for name in set().union(*parts)}


def split_by_day(known: Mapping[date, Figures], day: date, reached: Figures) -> dict[date, Figures]:
    """What was new on each day, once `reached` is added to what is known.

    known: what was new on each day so far. reached: the figures from the beginning of the session
    until some moment of `day`. Figures never decrease, so the figure at the end of a day is the
    highest one known for that day and the days before it. The result therefore does not depend on
    the order in which usages arrive, nor on how often the same one arrives.
    """
    split: dict[date, Figures] = {}
    recorded: Figures = {}
    before: Figures = {}
    for each in sorted({*known, day}):
        recorded = total([recorded, known.get(each, {})])
        now = highest([before, recorded, reached] if each == day else [before, recorded])
        split[each] = {name: value - before.get(name, 0) for name, value in now.items()}
        before = now
    return split


def write_valid(database: Database, records: Sequence[Record]) -> dict[int, Exception]:
    """Write records in one transaction, without those that the database can never accept.

    Returns the reason for each rejected record, by `id(record)`; the log holds their figures.
    Blocks. Raises DatabaseError if the database itself fails; then nothing is certainly written.
    """
    try:
        with database.write() as connection:
            write_records(connection, records)
        return {}
    except DatabaseError as error:
        if not isinstance(error.__cause__, (DataError, IntegrityError)):
            raise
        problem: Exception = error
    except Exception as error:  # noqa: BLE001 - the figures are wrong, not the database
        problem = error
    if len(records) == 1:
        fields = asdict(records[0].usage)
        log.error("usage that cannot be written: %s", problem, extra={"fields": fields})
        return {id(records[0]): problem}
    # One record spoils the transaction of all: find it by writing each on its own.
    rejected: dict[int, Exception] = {}
    for record in records:
        rejected |= write_valid(database, [record])
    return rejected


def write_records(connection: Connection, records: Sequence[Record]) -> None:
    """Bring the rows of these sessions up to these figures.

    Writing the same figures again changes nothing, and their order does not matter. Blocks.
    """
    ids = {record.usage.session_id for record in records}
    known = connection.execute(select(sessions).where(sessions.c.id.in_(ids))).all()
    rows = {row.id: row._asdict() for row in known}
    days = _read_days(connection, ids)
    changed: set[tuple[str, date]] = set()
    for record in records:
        usage = record.usage
        before = days[usage.session_id]
        after = split_by_day(before, usage.day, figures(usage))
        changed |= {(usage.session_id, day) for day in after if after[day] != before.get(day)}
        if before and min(after) < min(before):
            # the day that was the first one until now does not count the session any more
            changed.add((usage.session_id, min(before)))
        days[usage.session_id] = after
        rows[usage.session_id] = _session_row(rows.get(usage.session_id), record, after)
    _upsert(connection, sessions, list(rows.values()))
    day_rows, language_rows = [], []
    for session_id, day in sorted(changed):
        key = {"session_id": session_id, "day": day}
        by_language: defaultdict[str | None, dict[str, int]] = defaultdict(dict)
        for (language, name), value in days[session_id][day].items():
            by_language[language][name] = value
        is_first = int(day == min(days[session_id]))
        day_rows.append({**key, "sessions": is_first, **by_language.pop(None)})
        language_rows += [
            {**key, "language": _clean(language), **spoken}
            for language, spoken in by_language.items()
        ]
    _upsert(connection, session_days, day_rows)
    _upsert(connection, session_languages, language_rows)


def _read_days(
    connection: Connection, session_ids: set[str]
) -> defaultdict[str, dict[date, Figures]]:
    """What was new on each day, by session."""
    days: defaultdict[str, dict[date, Figures]] = defaultdict(dict)
    of_sessions = select(session_days).where(session_days.c.session_id.in_(session_ids))
    for row in connection.execute(of_sessions):
        days[row.session_id][row.day] = {(None, name): getattr(row, name) for name in FIGURES}
    of_languages = select(session_languages).where(session_languages.c.session_id.in_(session_ids))
    for row in connection.execute(of_languages):
        spoken = {(row.language, "turns"): row.turns, (row.language, "speech_ms"): row.speech_ms}
        days[row.session_id][row.day].update(spoken)
    return days


def _session_row(
    known: dict[str, Any] | None, record: Record, days: Mapping[date, Figures]
) -> dict[str, Any]:
    usage = record.usage
    sums = total(list(days.values()))
    columns = {name: sums[None, name] for name in FIGURES}
    end = {
        "ended_at": usage.ended_at,
        "close_code": usage.close_code,
        "close_reason": _clean(usage.close_reason),
    }
    if known is not None:
        if known["ended_at"] is not None and known["close_reason"] != ORPHANED:
            end = {}  # an older usage arrives after the last one: the session stays ended
        return {**known, **columns, **end, "seen_at": max(known["seen_at"], usage.at)}
    return {
        "id": usage.session_id,
        "instance_id": record.instance_id,
        "key_id": usage.key_id,
        "key_name": _clean(usage.key_name),
        "endpoint": usage.endpoint,
        "model": _clean(usage.model),
        "began_at": usage.began_at,
        "seen_at": usage.at,
        "price_per_second": record.price_per_second,
        "currency": record.currency,
        **columns,
        **end,
    }


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    key = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in rows[0] if name not in key}
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=others), rows)


def _clean(text: str | None) -> str | None:
    """The text as every database accepts it: short, without NUL and without broken Unicode."""
    if text is None:
        return None
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_TEXT_CHARACTERS]
