"""What one session used: the shape the server hands to the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from math import isfinite
from typing import Literal

Endpoint = Literal["realtime", "transcriptions"]
LOST = "lost"
"""The close reason of a session whose server ended without a word."""


@dataclass(frozen=True, slots=True)
class LanguageUsage:
    """Finals of a session in one language, and the speech in them."""

    turns: int
    speech_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionUsage:
    """Absolute figures of one session so far. They never decrease from one to the next.

    Raises ValueError for a time without time zone and a duration that is none.
    """

    session_id: str
    key_id: str | None
    """None: anyone, on a server without keys."""
    key_name: str | None
    endpoint: Endpoint
    model: str
    began_at: datetime
    at: datetime
    """When these figures were taken: what is new in them counts on this day (UTC)."""
    ended_at: datetime | None = None
    """None while the session is open. Nothing may be put after a usage that has it."""
    audio_s: float = 0.0
    speech_s: float = 0.0
    turns: int = 0
    finals: int = 0
    failed: int = 0
    errors: int = 0
    languages: Mapping[str, LanguageUsage] = field(default_factory=dict)
    close_code: int | None = None
    close_reason: str | None = None

    def __post_init__(self) -> None:
        for moment in (self.began_at, self.at, self.ended_at):
            if moment is not None and moment.tzinfo is None:
                raise ValueError(f"{moment.isoformat()} has no time zone: give it in UTC")
        for seconds in (self.audio_s, self.speech_s):
            if not (isfinite(seconds) and seconds >= 0):
                raise ValueError(f"{seconds} is no duration in seconds")

    @property
    def day(self) -> date:
        """The day (UTC) on which these figures were taken."""
        return self.at.astimezone(UTC).date()


def to_ms(seconds: float) -> int:
    """Whole milliseconds, the unit of the database."""
    return round(seconds * 1000)
