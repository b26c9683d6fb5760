"""Deleting the usage of old sessions. Everything here blocks and raises DatabaseError."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from functools import reduce
from operator import add

from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select, update

from oyez.accounts.database import Database
from oyez.accounts.reports import FIGURES, Sums, summed, sums
from oyez.accounts.schema import keys, session_days, sessions

BATCH = 500
"""Sessions deleted in one transaction: between two of them servers write."""


def first_open(database: Database, before: date) -> datetime | None:
    """When the oldest session began that is open and began before this day (UTC); None: no such."""
    query = select(func.min(sessions.c.began_at)).where(
        sessions.c.ended_at.is_(None), sessions.c.began_at < _beginning(before)
    )
    with database.read() as connection:
        found: datetime | None = connection.execute(query).scalar_one()
    return found


def old_usage(database: Database, before: date) -> Sums:
    """What `prune` would take away."""
    prices = (sessions.c.price_per_second, sessions.c.currency)
    query = (
        select(*prices, *summed(session_days, FIGURES))
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .where(_is_old(before))
        .group_by(*prices)
    )
    with database.read() as connection:
        return reduce(add, [sums(row._asdict()) for row in connection.execute(query)], Sums())


def prune(database: Database, before: date) -> int:
    """Delete the sessions that ended before this day (UTC), whole. Returns how many.

    One that went on into the day stays, with all its days. When each key was last used stays
    known.
    """
    done = 0
    while True:
        with database.write() as connection:
            found = select(sessions.c.id).where(_is_old(before)).limit(BATCH)
            ids = list(connection.execute(found).scalars())
            if not ids:
                return done
            _remember_last_use(connection, ids)
            connection.execute(delete(sessions).where(sessions.c.id.in_(ids)))
        done += len(ids)


def _remember_last_use(connection: Connection, ids: list[str]) -> None:
    query = (
        select(sessions.c.key_id, func.max(sessions.c.seen_at))
        .where(sessions.c.id.in_(ids), sessions.c.key_id.is_not(None))
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
    return and_(ended, sessions.c.began_at < _beginning(before), ~later.correlate(sessions))


def _beginning(day: date) -> datetime:
    return datetime.combine(day, time(), UTC)
