"""Sums of usage. Everything here blocks and raises DatabaseError."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import reduce
from operator import add
from typing import Any, Literal

from sqlalchemy import Column, Select, Table, func, select

from oyez.accounts import days
from oyez.accounts.database import Database
from oyez.accounts.schema import keys, session_days, session_languages, sessions

By = Literal["key", "day", "language", "endpoint"]
LABELS: Mapping[str, Column[Any]] = {
    "key": sessions.c.key_id,
    "day": session_days.c.day,
    "endpoint": sessions.c.endpoint,
}
FIGURES = ("sessions", *days.FIGURES)


@dataclass(frozen=True, slots=True)
class Sums:
    """Exact. A session counts on the day it began; a language has turns and speech only."""

    sessions: int = 0
    audio_ms: int = 0
    speech_ms: int = 0
    turns: int = 0
    finals: int = 0
    failed: int = 0
    errors: int = 0
    cost: Mapping[str, Decimal] = field(default_factory=dict)
    """By currency, of the sessions that had a price."""

    def __add__(self, other: Sums) -> Sums:
        figures = {name: getattr(self, name) + getattr(other, name) for name in FIGURES}
        cost = dict(self.cost)
        for currency, amount in other.cost.items():
            cost[currency] = cost.get(currency, Decimal()) + amount
        return Sums(**figures, cost=cost)


@dataclass(frozen=True, slots=True)
class Report:
    lines: Mapping[str, Sums]
    """By id of the key ("" is anyone), day (ISO), code of the language or endpoint, in order."""
    names: Mapping[str, str]
    """Of keys, by id: as they are named now, or were when they were last in the database."""
    total: Sums


def usage_report(
    database: Database,
    by: By,
    *,
    since: date | None = None,
    until: date | None = None,
    key_id: str | None = None,
) -> Report:
    """What was used from the beginning of the day `since` to the end of the day `until` (UTC)."""
    query = _by_language() if by == "language" else _by(LABELS[by])
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
        for row in connection.execute(query):
            label = str(row.label if row.label is not None else "")
            lines[label] = lines.get(label, Sums()) + sums(row._asdict())
            if by == "key" and row.name is not None:
                names[label] = row.name
        for key in connection.execute(select(keys.c.id, keys.c.name)):
            if key.id in names:
                names[key.id] = key.name
    return Report(dict(sorted(lines.items())), names, reduce(add, lines.values(), Sums()))


def last_use(database: Database) -> dict[str, datetime]:
    """When each key was last seen, by id."""
    query = select(sessions.c.key_id, func.max(sessions.c.seen_at)).group_by(sessions.c.key_id)
    earlier = select(keys.c.id, keys.c.used_at).where(keys.c.used_at.is_not(None))
    with database.read() as connection:
        found: dict[str, datetime] = {row[0]: row[1] for row in connection.execute(earlier)}
        for key_id, seen_at in connection.execute(query):
            if key_id is not None:
                found[key_id] = max(seen_at, found.get(key_id, seen_at))
    return found


def used_keys(database: Database) -> dict[str, str]:
    """Name of every key that has used the server, by id; those from files too."""
    query = select(sessions.c.key_id, func.max(sessions.c.key_name)).group_by(sessions.c.key_id)
    with database.read() as connection:
        return {key_id: name or key_id for key_id, name in connection.execute(query) if key_id}


def _by(label: Column[Any]) -> Select[Any]:
    prices = (sessions.c.price_per_second, sessions.c.currency)
    return (
        select(
            label.label("label"),
            func.max(sessions.c.key_name).label("name"),
            *prices,
            *summed(session_days, FIGURES),
        )
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .group_by(label, *prices)
    )


def _by_language() -> Select[Any]:
    label = session_languages.c.language
    return (
        select(label.label("label"), *summed(session_languages, ("turns", "speech_ms")))
        .join(sessions, sessions.c.id == session_languages.c.session_id)
        .group_by(label)
    )


def summed(table: Table, figures: tuple[str, ...]) -> list[Any]:
    """Columns to select."""
    return [func.sum(table.c[name]).label(name) for name in figures]


def sums(row: dict[str, Any]) -> Sums:
    """Of a row of sums, with its price where it has one."""
    figures: dict[str, Any] = {name: int(row[name]) for name in FIGURES if name in row}
    price = row.get("price_per_second")
    if price is not None:
        figures["cost"] = {row["currency"]: (figures["audio_ms"] * Decimal(price)).scaleb(-3)}
    return Sums(**figures)
