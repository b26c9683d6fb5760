"""Writing usage. Everything here blocks."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from datetime import date
from typing import Any

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DataError, IntegrityError

from oyez.accounts.database import Database, DatabaseError
from oyez.accounts.days import FIGURES, NOTHING, Counts, Spoken, merge
from oyez.accounts.record import Record
from oyez.accounts.schema import session_days, session_languages, sessions
from oyez.accounts.usage import LOST

MAX_TEXT = 500
ByDay = dict[date, Counts]

log = logging.getLogger(__name__)


def write_what_can_be(database: Database, records: Sequence[Record]) -> dict[int, Exception]:
    """Write these in one transaction, without those that the database would never take.

    Returns why, by `id(record)`, for those left out; the log has their figures.
    Raises DatabaseError when it is the database that fails: then nothing is certain to be there.
    """
    try:
        with database.write() as connection:
            write_records(connection, records)
        return {}
    except DatabaseError as error:
        if not isinstance(error.__cause__, (DataError, IntegrityError)):
            raise
        problem: Exception = error
    except Exception as error:  # noqa: BLE001 - not the database's fault, so these figures'
        problem = error
    if len(records) == 1:
        fields = asdict(records[0].usage)
        log.error("usage that cannot be written: %s", problem, extra={"fields": fields})
        return {id(records[0]): problem}
    refused: dict[int, Exception] = {}
    for record in records:
        refused |= write_what_can_be(database, [record])
    return refused


def write_records(connection: Connection, records: Sequence[Record]) -> None:
    """Bring the sessions' rows up to these figures.

    The same figures again change nothing, and neither does the order in which they come.
    """
    ids = {record.usage.session_id for record in records}
    known = connection.execute(select(sessions).where(sessions.c.id.in_(ids))).all()
    rows = {row.id: row._asdict() for row in known}
    days = _days(connection, ids)
    changed: set[tuple[str, date]] = set()
    for record in records:
        usage = record.usage
        before = days[usage.session_id]
        after = merge(before, usage.day, Counts.of(usage))
        changed |= {(usage.session_id, day) for day in after if after[day] != before.get(day)}
        days[usage.session_id] = after
        rows[usage.session_id] = _session(rows.get(usage.session_id), record, after)
    _upsert(connection, sessions, list(rows.values()))
    _upsert(connection, session_days, [_day(days, *each) for each in sorted(changed)])
    _upsert(connection, session_languages, _languages(days, sorted(changed)))


def audio_ms_of_others(connection: Connection, day: date, instance_id: str) -> dict[str, int]:
    """Audio of a day by key, without the sessions of one instance."""
    query = (
        select(sessions.c.key_id, func.sum(session_days.c.audio_ms))
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .where(session_days.c.day == day, sessions.c.instance_id != instance_id)
        .where(sessions.c.key_id.is_not(None))
        .group_by(sessions.c.key_id)
    )
    return {key_id: int(audio_ms) for key_id, audio_ms in connection.execute(query)}


def _days(connection: Connection, ids: set[str]) -> defaultdict[str, ByDay]:
    languages: defaultdict[tuple[str, date], dict[str, Spoken]] = defaultdict(dict)
    spoken = select(session_languages).where(session_languages.c.session_id.in_(ids))
    for row in connection.execute(spoken):
        languages[row.session_id, row.day][row.language] = (row.turns, row.speech_ms)
    days: defaultdict[str, ByDay] = defaultdict(dict)
    for row in connection.execute(select(session_days).where(session_days.c.session_id.in_(ids))):
        figures = {name: getattr(row, name) for name in FIGURES}
        spoken_then = languages[row.session_id, row.day]
        days[row.session_id][row.day] = Counts(**figures, languages=spoken_then)
    return days


def _session(known: dict[str, Any] | None, record: Record, days: ByDay) -> dict[str, Any]:
    usage = record.usage
    total = sum(days.values(), NOTHING)
    figures = {name: getattr(total, name) for name in FIGURES}
    end = {
        "ended_at": usage.ended_at,
        "close_code": usage.close_code,
        "close_reason": _text(usage.close_reason),
    }
    if known is not None:
        if known["ended_at"] is not None and known["close_reason"] != LOST:
            end = {}  # what was put before the end came late
        return {**known, **figures, **end, "seen_at": max(known["seen_at"], usage.at)}
    return {
        "id": usage.session_id,
        "instance_id": record.instance_id,
        "key_id": usage.key_id,
        "key_name": _text(usage.key_name),
        "endpoint": usage.endpoint,
        "model": _text(usage.model),
        "began_at": usage.began_at,
        "seen_at": usage.at,
        "price_per_second": record.price_per_second,
        "currency": record.currency,
        **figures,
        **end,
    }


def _day(days: dict[str, ByDay], session_id: str, day: date) -> dict[str, Any]:
    counts = asdict(days[session_id][day])
    del counts["languages"]
    first = int(day == min(days[session_id]))
    return {"session_id": session_id, "day": day, "sessions": first, **counts}


def _languages(days: dict[str, ByDay], changed: list[tuple[str, date]]) -> list[dict[str, Any]]:
    return [
        {
            "session_id": session_id,
            "day": day,
            "language": _text(code),
            "turns": turns,
            "speech_ms": speech_ms,
        }
        for session_id, day in changed
        for code, (turns, speech_ms) in days[session_id][day].languages.items()
    ]


def _upsert(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    if not rows:
        return
    insert = (sqlite if connection.dialect.name == "sqlite" else postgresql).insert(table)
    key = [column.name for column in table.primary_key]
    others = {name: insert.excluded[name] for name in rows[0] if name not in key}
    connection.execute(insert.on_conflict_do_update(index_elements=key, set_=others), rows)


def _text(text: str | None) -> str | None:
    """What any database takes: no NUL, no broken Unicode, not endless."""
    if text is None:
        return None
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:MAX_TEXT]
