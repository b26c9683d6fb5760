"""What one session did, for its last log line and the metrics."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from oyez.protocol.server_events import (
    BufferCommitted,
    ErrorEvent,
    InterimText,
    ServerEvent,
    TranscriptionCompleted,
    TranscriptionFailed,
)


@dataclass(slots=True)
class Figures:
    audio_s: float = 0.0
    turns: int = 0
    interims: int = 0
    finals: int = 0
    failed: int = 0
    errors: int = 0

    def sent(self, event: ServerEvent) -> None:
        """Count an event that goes out."""
        match event:
            case BufferCommitted():
                self.turns += 1
            case InterimText():
                self.interims += 1
            case TranscriptionCompleted():
                self.finals += 1
            case TranscriptionFailed():
                self.failed += 1
            case ErrorEvent():
                self.errors += 1

    def fields(self) -> dict[str, float | int]:
        """For a log line."""
        return {**asdict(self), "audio_s": round(self.audio_s, 2)}
