"""How much audio each key has used today (UTC), without asking the database each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date

from oyez.accounts.usage import SessionUsage, to_ms

KEPT_DAYS = 4
"""Yesterday, today, and those that a wrong clock took for today."""


@dataclass(slots=True)
class _Day:
    """Milliseconds of audio by key."""

    own: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    others: Mapping[str, int] = field(default_factory=dict)


class Today:
    """Sessions of this server as they are put, those of others as they were last read.

    A clock that is set a day ahead, or years, and back again changes no sum: the days that were
    used last are kept, wherever they lie. Not thread-safe.
    """

    def __init__(self) -> None:
        self._days: dict[date, _Day] = {}
        """The one that was used last comes last."""
        self._reached_ms: dict[str, int] = {}

    def put(self, usage: SessionUsage) -> None:
        """Nothing may come after a usage that has ended."""
        reached_ms = to_ms(usage.audio_s)
        new_ms = reached_ms - self._reached_ms.pop(usage.session_id, 0)
        if usage.ended_at is None:
            self._reached_ms[usage.session_id] = reached_ms
        if usage.key_id is not None:
            self._on(usage.day).own[usage.key_id] += new_ms

    def others(self, day: date, audio_ms: Mapping[str, int]) -> None:
        """What other servers, and this one before it was restarted, had that day."""
        self._on(day).others = audio_ms

    def audio_s(self, key_id: str, day: date) -> float:
        found = self._on(day)
        return (found.own.get(key_id, 0) + found.others.get(key_id, 0)) / 1000

    def _on(self, day: date) -> _Day:
        found = self._days.pop(day, None) or _Day()
        self._days[day] = found
        if len(self._days) > KEPT_DAYS:
            del self._days[next(iter(self._days))]
        return found
