"""Recorded usage: sums of it, single sessions, and the deletion of old ones.

Everything here blocks and raises DatabaseError. Days are those of UTC.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Literal

import sqlalchemy as sa

from oyez.accounts import schema
from oyez.accounts.database import Database
from oyez.accounts.schema import keys, session_days, session_languages, sessions

By = Literal["key", "day", "language", "endpoint"]
LABELS: Mapping[str, sa.Column[Any]] = {
    "key": sessions.c.key_id,
    "day": session_days.c.day,
    "language": session_languages.c.language,
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
    table = session_languages if by == "language" else session_days
    query = _sums_by(table, LABELS[by])
    if since is not None:
        query = query.where(table.c.day >= since)
    if until is not None:
        query = query.where(table.c.day <= until)
    if key_id is not None:
        query = query.where(sessions.c.key_id == key_id)
    lines: dict[str, Sums] = {}
    names: dict[str, str] = {}
    with database.read() as connection:
        # There is one row for each label and price: exact costs are computed per price.
        for row in connection.execute(query):
            label = "" if row[0] is None else str(row[0])
            lines[label] = lines.get(label, Sums()) + _sums(row)
            if by == "key" and row.name is not None:
                names[label] = row.name
        known = connection.execute(sa.select(keys.c.id, keys.c.name))
        names |= {key.id: key.name for key in known if key.id in names}
    return Report(dict(sorted(lines.items())), names, sum(lines.values(), Sums()))


def session_report(
    database: Database, *, since: date, until: date, key_id: str | None = None
) -> list[SessionLine]:
    """The sessions that were open on these days, both included, oldest first."""
    days = sa.select(session_days.c.session_id).where(session_days.c.day.between(since, until))
    query = sa.select(sessions).where(sessions.c.id.in_(days)).order_by(sessions.c.began_at)
    if key_id is not None:
        query = query.where(sessions.c.key_id == key_id)
    with database.read() as connection:
        return [_session_line(row) for row in connection.execute(query)]


def last_use(database: Database) -> dict[str, datetime]:
    """When each key was last used, by id."""
    last = sa.func.max(sessions.c.seen_at)
    recorded = sa.select(sessions.c.key_id, last).group_by(sessions.c.key_id)
    uses = sa.union_all(sa.select(keys.c.id, keys.c.used_at), recorded).subquery()
    query = sa.select(uses.c.id, sa.func.max(uses.c.used_at)).group_by(uses.c.id)
    with database.read() as connection:
        return {row[0]: row[1] for row in connection.execute(query) if row[0] and row[1]}


def used_keys(database: Database) -> dict[str, str]:
    """The names of all keys that were used, by id, including keys that are not in the database."""
    name = sa.func.max(sessions.c.key_name)
    query = sa.select(sessions.c.key_id, name).group_by(sessions.c.key_id)
    with database.read() as connection:
        return {key_id: name or key_id for key_id, name in connection.execute(query) if key_id}


def first_open(database: Database, before: date) -> datetime | None:
    """When the oldest open session began, if it began before this day; otherwise None."""
    query = sa.select(sa.func.min(sessions.c.began_at)).where(
        sessions.c.ended_at.is_(None), sessions.c.began_at < _midnight(before)
    )
    with database.read() as connection:
        found: datetime | None = connection.execute(query).scalar_one()
    return found


def old_usage(database: Database, before: date) -> Sums:
    """The sums of the sessions that `prune` would delete."""
    query = _sums_by(session_days, sessions.c.endpoint).where(_is_old(before))
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
            found = sa.select(sessions.c.id).where(_is_old(before)).limit(PRUNE_BATCH)
            ids = list(connection.execute(found).scalars())
            if not ids:
                return deleted
            _keep_last_use(connection, ids)
            connection.execute(sa.delete(sessions).where(sessions.c.id.in_(ids)))
        deleted += len(ids)


def _sums_by(table: sa.Table, label: sa.Column[Any]) -> sa.Select[Any]:
    """Select the label, the price, and the sums of all figures that the table has."""
    sums = [sa.func.sum(table.c[name]).label(name) for name in FIGURES if name in table.c]
    name = sa.func.max(sessions.c.key_name).label("name")
    query = sa.select(label, name, *PRICE, *sums)
    return query.join(sessions, sessions.c.id == table.c.session_id).group_by(label, *PRICE)


def _sums(row: sa.Row[Any]) -> Sums:
    columns = row._asdict()
    figures = {name: int(columns[name]) for name in FIGURES if name in columns}
    cost = _cost(row) if "audio_ms" in columns else None
    return Sums(**figures, cost={} if cost is None else {row.currency: cost})


def _session_line(row: sa.Row[Any]) -> SessionLine:
    names = SessionLine.__dataclass_fields__
    columns = {name: value for name, value in row._asdict().items() if name in names}
    return SessionLine(**columns, cost=_cost(row))


def _cost(row: sa.Row[Any]) -> Decimal | None:
    if row.price_per_second is None:
        return None
    return (int(row.audio_ms) * Decimal(row.price_per_second)).scaleb(-3)


def _keep_last_use(connection: sa.Connection, session_ids: list[str]) -> None:
    last = (
        sa.select(sa.func.max(sessions.c.seen_at))
        .where(sessions.c.id.in_(session_ids), sessions.c.key_id == keys.c.id)
        .scalar_subquery()
    )
    is_later = keys.c.used_at.is_(None) | (keys.c.used_at < last)
    connection.execute(sa.update(keys).where(is_later).values(used_at=last))


def _is_old(before: date) -> sa.ColumnElement[bool]:
    later = sa.exists().where(
        session_days.c.session_id == sessions.c.id, session_days.c.day >= before
    )
    ended = sessions.c.ended_at.is_not(None)
    return sa.and_(ended, sessions.c.began_at < _midnight(before), ~later.correlate(sessions))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
