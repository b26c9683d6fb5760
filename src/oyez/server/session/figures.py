"""Counts what one session did, for its last log line, its usage and the metrics."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field
from statistics import median

from oyez.accounts.usage import LanguageUsage
from oyez.audio.pcm import SAMPLE_RATE
from oyez.protocol.effects import Completed
from oyez.protocol.server_events import (
    BufferCommitted,
    ErrorEvent,
    InterimText,
    ServerEvent,
    TranscriptionCompleted,
    TranscriptionFailed,
)

REMEMBERED_TURNS = 256


def _latest() -> deque[float]:
    return deque(maxlen=REMEMBERED_TURNS)


def _nothing() -> defaultdict[str, LanguageUsage]:
    return defaultdict(lambda: LanguageUsage(0, 0.0))


@dataclass(slots=True)
class Figures:
    """What one session did so far."""

    audio_samples: int = 0
    speech_s: float = 0.0
    turns: int = 0
    interims: int = 0
    finals: int = 0
    empty: int = 0
    """Finals without words."""
    failed: int = 0
    errors: int = 0
    retractions: int = 0
    first_words_s: deque[float] = field(default_factory=_latest)
    """From `speech_started` to the first words, for the latest turns."""
    final_s: deque[float] = field(default_factory=_latest)
    """From the end of a turn to its final, for the latest turns."""
    languages: defaultdict[str, LanguageUsage] = field(default_factory=_nothing)

    @property
    def audio_s(self) -> float:
        return self.audio_samples / SAMPLE_RATE

    def sent(self, event: ServerEvent) -> None:
        """Count an event that is sent."""
        match event:
            case BufferCommitted():
                self.turns += 1
            case InterimText():
                self.interims += 1
            case TranscriptionCompleted():
                self.finals += 1
                self.empty += not event.transcript
            case TranscriptionFailed():
                self.failed += 1
            case ErrorEvent():
                self.errors += 1

    def completed(self, item: Completed) -> None:
        """Count the result of an item."""
        self.speech_s += item.speech_s
        if item.failure is None:
            before = self.languages[item.language]
            self.languages[item.language] = LanguageUsage(
                before.turns + 1, before.speech_s + item.speech_s
            )

    def fields(self) -> dict[str, float | int]:
        """Return the fields of a log line. Medians are left out while they have no values."""
        fields: dict[str, float | int] = {
            "audio_s": round(self.audio_s, 2),
            "speech_s": round(self.speech_s, 2),
            "turns": self.turns,
            "interims": self.interims,
            "finals": self.finals,
            "empty": self.empty,
            "failed": self.failed,
            "errors": self.errors,
            "retractions": self.retractions,
        }
        if self.first_words_s:
            fields["first_words_ms"] = round(1000 * median(self.first_words_s))
        if self.final_s:
            fields["final_ms"] = round(1000 * median(self.final_s))
            fields["slowest_final_ms"] = round(1000 * max(self.final_s))
        return fields
