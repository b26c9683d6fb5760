"""Recorded usage: sums of it, single sessions, and the deletion of old ones.

Everything here blocks and raises DatabaseError. Days are those of UTC.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Row,
    Select,
    Table,
    and_,
    delete,
    exists,
    func,
    select,
    update,
)

from oyez.accounts import schema
from oyez.accounts.database import Database
from oyez.accounts.schema import keys, session_days, session_languages, sessions

By = Literal["key", "day", "language", "endpoint"]
LABELS: Mapping[str, Column[Any]] = {
    "key": sessions.c.key_id,
    "day": session_days.c.day,
    "endpoint": sessions.c.endpoint,
}
FIGURES = ("sessions", *schema.FIGURES)
PRICE = (sessions.c.price_per_second, sessions.c.currency)
PRUNE_BATCH = 500
"""Sessions deleted in one transaction. Servers can write between two transactions."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Exact sums of usage.

    A session counts on the day on which it began. Sums of a language have turns and speech only.
    """

    sessions: int = 0
    audio_ms: int = 0
    speech_ms: int = 0
    turns: int = 0
    finals: int = 0
    failed: int = 0
    errors: int = 0
    cost: Mapping[str, Decimal] = field(default_factory=dict)
    """The cost of the sessions that had a price, by currency."""

    def __add__(self, other: Sums) -> Sums:
        figures = {name: getattr(self, name) + getattr(other, name) for name in FIGURES}
        cost = dict(self.cost)
        for currency, amount in other.cost.items():
            cost[currency] = cost.get(currency, Decimal()) + amount
        return Sums(**figures, cost=cost)


@dataclass(frozen=True, slots=True)
class Report:
    """Sums of usage line by line."""

    lines: Mapping[str, Sums]
    """The sums, in order of their labels: the id of a key ("" for callers without a key), a day
    (ISO), the code of a language, or an endpoint."""
    names: Mapping[str, str]
    """The names of keys by id: the current name, or the last one of a key that is not in the
    database."""
    total: Sums


@dataclass(frozen=True, slots=True)
class SessionLine:
    """One whole session, including the part that lies outside the days of the report."""

    id: str
    key_id: str | None
    key_name: str | None
    endpoint: str
    model: str
    began_at: datetime
    ended_at: datetime | None
    """None while the session is open."""
    audio_ms: int
    speech_ms: int
    turns: int
    finals: int
    failed: int
    errors: int
    close_code: int | None
    close_reason: str | None
    cost: Decimal | None
    currency: str | None


def usage_report(
    database: Database,
    by: By,
    *,
    since: date | None = None,
    until: date | None = None,
    key_id: str | None = None,
) -> Report:
    """Sum what was used from the day `since` to the day `until`, both included."""
    query = _sums_by_language() if by == "language" else _sums_by(LABELS[by])
    day = (session_languages if by == "language" else session_days).c.day
    if since is not None:
        query = query.where(day >= since)
    if until is not None:
        query = query.where(day <= until)
    if key_id is not None:
        query = query.where(sessions.c.key_id == key_id)
    lines: dict[str, Sums] = {}
    names: dict[str, str] = {}
    with database.read() as connection:
        # There is one row for each label and price: exact costs are computed per price.
        for row in connection.execute(query):
            label = str(row.label if row.label is not None else "")
            lines[label] = lines.get(label, Sums()) + _sums(row)
            if by == "key" and row.name is not None:
                names[label] = row.name
        for key in connection.execute(select(keys.c.id, keys.c.name)):
            if key.id in names:
                names[key.id] = key.name
    return Report(dict(sorted(lines.items())), names, sum(lines.values(), Sums()))


def session_report(
    database: Database, *, since: date, until: date, key_id: str | None = None
) -> list[SessionLine]:
    """The sessions that were open on these days, both included, oldest first."""
    days = select(session_days.c.session_id).where(session_days.c.day.between(since, until))
    query = select(sessions).where(sessions.c.id.in_(days)).order_by(sessions.c.began_at)
    if key_id is not None:
        query = query.where(sessions.c.key_id == key_id)
    with database.read() as connection:
        return [_session_line(row) for row in connection.execute(query)]


def last_use(database: Database) -> dict[str, datetime]:
    """When each key was last used, by id."""
    query = select(sessions.c.key_id, func.max(sessions.c.seen_at)).group_by(sessions.c.key_id)
    by_deleted_sessions = select(keys.c.id, keys.c.used_at).where(keys.c.used_at.is_not(None))
    with database.read() as connection:
        found: dict[str, datetime] = {
            row[0]: row[1] for row in connection.execute(by_deleted_sessions)
        }
        for key_id, seen_at in connection.execute(query):
            if key_id is not None:
                found[key_id] = max(seen_at, found.get(key_id, seen_at))
    return found


def used_keys(database: Database) -> dict[str, str]:
    """The names of all keys that were used, by id, including keys that are not in the database."""
    query = select(sessions.c.key_id, func.max(sessions.c.key_name)).group_by(sessions.c.key_id)
    with database.read() as connection:
        return {key_id: name or key_id for key_id, name in connection.execute(query) if key_id}


def first_open(database: Database, before: date) -> datetime | None:
    """When the oldest open session began, if it began before this day; otherwise None."""
    query = select(func.min(sessions.c.began_at)).where(
        sessions.c.ended_at.is_(None), sessions.c.began_at < _midnight(before)
    )
    with database.read() as connection:
        found: datetime | None = connection.execute(query).scalar_one()
    return found


def old_usage(database: Database, before: date) -> Sums:
    """The sums of the sessions that `prune` would delete."""
    query = (
        select(*PRICE, *_summed(session_days, FIGURES))
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .where(_is_old(before))
        .group_by(*PRICE)
    )
    with database.read() as connection:
        return sum(map(_sums, connection.execute(query)), Sums())


def prune(database: Database, before: date) -> int:
    """Delete the sessions that ended before this day, and return their number.

    A session that went on into the day stays, with all its days. The time of last use of each key
    is kept.
    """
    deleted = 0
    while True:
        with database.write() as connection:
            found = select(sessions.c.id).where(_is_old(before)).limit(PRUNE_BATCH)
            ids = list(connection.execute(found).scalars())
            if not ids:
                return deleted
            _keep_last_use(connection, ids)
            connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
        deleted += len(ids)


def _sums_by(label: Column[Any]) -> Select[Any]:
    name = func.max(sessions.c.key_name).label("name")
    return (
        select(label.label("label"), name, *PRICE, *_summed(session_days, FIGURES))
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .group_by(label, *PRICE)
    )


def _sums_by_language() -> Select[Any]:
    label = session_languages.c.language
    return (
        select(label.label("label"), *_summed(session_languages, ("turns", "speech_ms")))
        .join(sessions, sessions.c.id == session_languages.c.session_id)
        .group_by(label)
    )


def _summed(table: Table, names: Iterable[str]) -> list[ColumnElement[int]]:
    return [func.sum(table.c[name]).label(name) for name in names]


def _sums(row: Row[Any]) -> Sums:
    columns = row._asdict()
    figures: dict[str, Any] = {name: int(columns[name]) for name in FIGURES if name in columns}
    if columns.get("price_per_second") is not None:
        figures["cost"] = {row.currency: _cost(row)}
    return Sums(**figures)


def _session_line(row: Row[Any]) -> SessionLine:
    columns = row._asdict()
    for name in ("instance_id", "seen_at", "price_per_second"):
        del columns[name]
    cost = None if row.price_per_second is None else _cost(row)
    return SessionLine(**columns, cost=cost)


def _cost(row: Row[Any]) -> Decimal:
    return (int(row.audio_ms) * Decimal(row.price_per_second)).scaleb(-3)


def _keep_last_use(connection: Connection, session_ids: list[str]) -> None:
    query = (
        select(sessions.c.key_id, func.max(sessions.c.seen_at))
        .where(sessions.c.id.in_(session_ids), sessions.c.key_id.is_not(None))
        .group_by(sessions.c.key_id)
    )
    for key_id, used_at in connection.execute(query).all():
        is_later = keys.c.used_at.is_(None) | (keys.c.used_at < used_at)
        connection.execute(
            update(keys).where(keys.c.id == key_id, is_later).values(used_at=used_at)
        )


def _is_old(before: date) -> ColumnElement[bool]:
    later = exists().where(session_days.c.session_id == sessions.c.id, session_days.c.day >= before)
    ended = sessions.c.ended_at.is_not(None)
    return and_(ended, sessions.c.began_at < _midnight(before), ~later.correlate(sessions))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
