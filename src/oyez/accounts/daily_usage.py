"""How much audio each key has used today (UTC), kept in memory so that the limit of a key can be
checked without asking the database."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from sqlalchemy import Connection, func, select

from oyez.accounts.schema import session_days, sessions
from oyez.accounts.usage import SessionUsage

MAX_DAYS = 4
"""Days that are kept: yesterday, today, and days that a wrong clock took for today."""


@dataclass(slots=True)
class _Day:
    """Milliseconds of audio by key."""

    own: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    others: Mapping[str, int] = field(default_factory=dict)


class DailyUsage:
    """The audio of each key by day: sessions of this server at once, those of other servers as
    they were last read from the database.

    A clock that is wrong for a while changes no sum after it is right again: the days that were
    used last are kept, whatever their date is. Not thread-safe.
    """

    def __init__(self) -> None:
        self._days: dict[date, _Day] = {}
        """The day that was used last comes last."""
        self._reached_ms: dict[str, int] = {}
        """The audio of each open session that is counted already."""

    def add(self, usage: SessionUsage) -> None:
        """Count what is new in this usage on its day."""
        new_ms = usage.audio_ms - self._reached_ms.pop(usage.session_id, 0)
        if usage.ended_at is None:
            self._reached_ms[usage.session_id] = usage.audio_ms
        if usage.key_id is not None:
            self._day(usage.day).own[usage.key_id] += new_ms

    def set_others(self, day: date, audio_ms: Mapping[str, int]) -> None:
        """Replace what other servers, and earlier runs of this one, used on this day."""
        self._day(day).others = audio_ms

    def audio_s(self, key_id: str, day: date) -> float:
        """The audio of a key on this day, in seconds."""
        found = self._day(day)
        return (found.own.get(key_id, 0) + found.others.get(key_id, 0)) / 1000

    def _day(self, day: date) -> _Day:
        found = self._days.pop(day, None) or _Day()
        self._days[day] = found
        if len(self._days) > MAX_DAYS:
            del self._days[next(iter(self._days))]
        return found


def read_others(connection: Connection, day: date, instance_id: str) -> dict[str, int]:
    """The audio of each key on a day in milliseconds, without the sessions of one server."""
    query = (
        select(sessions.c.key_id, func.sum(session_days.c.audio_ms))
        .join(sessions, sessions.c.id == session_days.c.session_id)
        .where(session_days.c.day == day, sessions.c.instance_id != instance_id)
        .where(sessions.c.key_id.is_not(None))
        .group_by(sessions.c.key_id)
    )
    return {key_id: int(audio_ms) for key_id, audio_ms in connection.execute(query)}
