"""How much audio each key has used today (UTC), without asking the database each time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import date

from oyez.accounts.usage import SessionUsage, to_ms


class Today:
    """Sessions of this server as they are put, those of others as they were last read.

    Not thread-safe.
    """

    def __init__(self) -> None:
        self._day = date.min
        self._own_ms: defaultdict[str, int] = defaultdict(int)
        self._others_ms: Mapping[str, int] = {}
        self._reached_ms: dict[str, int] = {}

    def put(self, usage: SessionUsage) -> None:
        """Nothing may come after a usage that has ended."""
        reached_ms = to_ms(usage.audio_s)
        new_ms = reached_ms - self._reached_ms.pop(usage.session_id, 0)
        if usage.ended_at is None:
            self._reached_ms[usage.session_id] = reached_ms
        self._turn_to(usage.day)
        if usage.day == self._day and usage.key_id is not None:
            self._own_ms[usage.key_id] += new_ms

    def others(self, day: date, audio_ms: Mapping[str, int]) -> None:
        """What other servers, and this one before it was restarted, had that day."""
        self._turn_to(day)
        if day == self._day:
            self._others_ms = audio_ms

    def audio_s(self, key_id: str, day: date) -> float:
        self._turn_to(day)
        return (self._own_ms.get(key_id, 0) + self._others_ms.get(key_id, 0)) / 1000

    def _turn_to(self, day: date) -> None:
        if day > self._day:
            self._day, self._others_ms = day, {}
            self._own_ms.clear()
