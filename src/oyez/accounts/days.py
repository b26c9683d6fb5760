"""Absolute figures of a session, told apart by day.

The database holds what was new on each day; snapshots say what was reached by the end of a day.
Figures never decrease, so the highest value of each says it all, in whatever order they come.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Self

from oyez.accounts.usage import SessionUsage, to_ms

Spoken = tuple[int, int]
"""Turns and milliseconds of speech."""
FIGURES = ("audio_ms", "speech_ms", "turns", "finals", "failed", "errors")


@dataclass(frozen=True, slots=True)
class Counts:
    """Figures of a session, whole numbers."""

    audio_ms: int = 0
    speech_ms: int = 0
    turns: int = 0
    finals: int = 0
    failed: int = 0
    errors: int = 0
    languages: Mapping[str, Spoken] = field(default_factory=dict)
    """By code."""

    @classmethod
    def of(cls, usage: SessionUsage) -> Self:
        languages = {
            code: (each.turns, to_ms(each.speech_s)) for code, each in usage.languages.items()
        }
        return cls(
            to_ms(usage.audio_s),
            to_ms(usage.speech_s),
            usage.turns,
            usage.finals,
            usage.failed,
            usage.errors,
            languages,
        )

    def __add__(self, other: Counts) -> Counts:
        return self._with(other, int.__add__)

    def __sub__(self, other: Counts) -> Counts:
        return self._with(other, int.__sub__)

    def __or__(self, other: Counts) -> Counts:
        """The higher of each figure."""
        return self._with(other, max)

    def _with(self, other: Counts, join: Callable[[int, int], int]) -> Counts:
        figures = {name: join(getattr(self, name), getattr(other, name)) for name in FIGURES}
        languages = {}
        for code in (*self.languages, *other.languages):
            mine, theirs = self.languages.get(code, (0, 0)), other.languages.get(code, (0, 0))
            languages[code] = (join(mine[0], theirs[0]), join(mine[1], theirs[1]))
        return Counts(**figures, languages=languages)


NOTHING = Counts()


def merge(new_by_day: Mapping[date, Counts], day: date, reached: Counts) -> dict[date, Counts]:
    """What was new on each day, once it is known that so much was reached by the end of a day."""
    merged: dict[date, Counts] = {}
    known = before = NOTHING
    for each in sorted({*new_by_day, day}):
        known += new_by_day.get(each, NOTHING)
        now = before | known
        if each == day:
            now |= reached
        merged[each] = now - before
        before = now
    return merged
