"""Usage session by session. Everything here blocks and raises DatabaseError."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Row, select

from oyez.accounts.database import Database
from oyez.accounts.schema import session_days, sessions


@dataclass(frozen=True, slots=True)
class Session:
    """One session whole, also the part of it that lies outside the days asked for."""

    id: str
    key_id: str | None
    key_name: str | None
    endpoint: str
    model: str
    began_at: datetime
    ended_at: datetime | None
    """None: open."""
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


def session_report(
    database: Database, *, since: date, until: date, key_id: str | None = None
) -> list[Session]:
    """Sessions that were open on these days (UTC, both included), oldest first."""
    days = select(session_days.c.session_id).where(session_days.c.day.between(since, until))
    query = select(sessions).where(sessions.c.id.in_(days)).order_by(sessions.c.began_at)
    if key_id is not None:
        query = query.where(sessions.c.key_id == key_id)
    with database.read() as connection:
        return [_session(row) for row in connection.execute(query)]


def _session(row: Row[Any]) -> Session:
    columns = row._asdict()
    del columns["instance_id"], columns["seen_at"]
    price = columns.pop("price_per_second")
    cost = None if price is None else (row.audio_ms * Decimal(price)).scaleb(-3)
    return Session(**columns, cost=cost)
