"""One level of a load test: so many streams at once, held against each stream alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oyez.bench.latency import Waits
from oyez.bench.load import Take
from oyez.bench.report import percentile
from oyez.bench.scoring import Score, score

MAX_FINAL_MS = 700.0
MAX_WER_PERCENT = 2.0
STARVED_MS = 50.0
"""Beyond this, the load generator itself was too late to measure anything."""
_TRANSCRIPTION = "conversation.item.input_audio_transcription."


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of the turns of a session."""

    finals: tuple[str, ...]
    failed: int
    unanswered: int
    """Announced, and neither completed nor failed."""

    @classmethod
    def of(cls, take: Take) -> Heard:
        finals: list[str] = []
        announced: set[str] = set()
        answered: set[str] = set()
        failed = 0
        for _, event in take.recording.events:
            match event["type"]:
                case "input_audio_buffer.speech_started" | "input_audio_buffer.committed":
                    announced.add(event["item_id"])
                case kind if kind == _TRANSCRIPTION + "completed":
                    answered.add(event["item_id"])
                    finals.append(event["transcript"])
                case kind if kind == _TRANSCRIPTION + "failed":
                    answered.add(event["item_id"])
                    failed += 1
        return cls(tuple(finals), failed, len(announced - answered))

    def lost(self, alone: Heard) -> int:
        """Turns that should have come: those the stream has alone, and those announced."""
        missing = len(alone.finals) - len(self.finals) - self.failed
        return max(missing, self.unanswered, 0)

    def score(self, alone: Heard, language: str) -> Score:
        """Where the words differ from what the same server heard in the stream alone."""
        return score(" ".join(alone.finals), " ".join(self.finals), language)


@dataclass(slots=True)
class Level:
    """Everything measured with `streams` streams."""

    streams: int
    waits: Waits = field(default_factory=Waits)
    turns: int = 0
    lost: int = 0
    failed: int = 0
    broken: list[str] = field(default_factory=list)
    words: Score = field(default_factory=Score)
    differing: list[tuple[int, list[str], list[str]]] = field(default_factory=list)
    """Streams whose finals are not to the letter those heard alone: number, alone, here."""
    server_cpu_percent: float | None = None
    server_rss_mb: float | None = None
    late_p99_ms: float = 0.0
    own_cpu_percent: float = 0.0
    others_cpu_percent: float | None = None

    @classmethod
    def of(cls, takes: Sequence[Take], alone: Mapping[int, Heard]) -> Level:
        """alone: what each stream has by itself, by its number."""
        level = cls(len(takes))
        late_ms: list[float] = []
        for take in takes:
            heard, expected = Heard.of(take), alone[take.stream.number]
            level.waits.add(take.recording)
            level.turns += len(heard.finals)
            level.failed += heard.failed
            level.lost += heard.lost(expected)
            level.words += heard.score(expected, take.stream.language or "en")
            if heard.finals != expected.finals:
                number = take.stream.number
                level.differing.append((number, list(expected.finals), list(heard.finals)))
            late_ms += take.late_ms
            if take.broken:
                level.broken.append(f"stream {take.stream.number}: {take.broken}")
        level.late_p99_ms = percentile(late_ms, 0.99) if late_ms else 0.0
        return level

    @property
    def wer_percent(self) -> float:
        return 100 * self.words.rate

    def misses(self) -> list[str]:
        """Why the objective is not met; nothing if it is."""
        finals = self.waits.final_after_stop
        final_ms = percentile(finals, 0.95) if finals else 0.0
        complaints = {
            f"final {final_ms:.0f} ms": final_ms > MAX_FINAL_MS,
            f"{self.lost} lost": self.lost > 0,
            f"{self.failed} failed": self.failed > 0,
            f"{len(self.broken)} broken": bool(self.broken),
            f"WER {self.wer_percent:.1f} %": self.wer_percent > MAX_WER_PERCENT,
            "no turns": not finals,
        }
        return [complaint for complaint, holds in complaints.items() if holds]

    def as_json(self) -> dict[str, Any]:
        waits = {
            name: [round(value, 1) for value in getattr(self.waits, name)]
            for name in ("first_words", "between_interims", "longest_gaps",
                         "final_after_stop", "final_after_speech")
        }  # fmt: skip
        return {
            "streams": self.streams,
            "waits_ms": waits,
            "wer_percent": round(self.wer_percent, 3),
            "words": self.words.units,
            "turns": self.turns,
            "lost": self.lost,
            "failed": self.failed,
            "broken": self.broken,
            "differing": [
                {"stream": number, "alone": alone, "here": here}
                for number, alone, here in self.differing
            ],
            "retractions": self.waits.retractions,
            "rewordings": self.waits.rewordings,
            "server_cpu_percent": _rounded(self.server_cpu_percent),
            "server_rss_mb": _rounded(self.server_rss_mb),
            "late_p99_ms": round(self.late_p99_ms, 2),
            "own_cpu_percent": _rounded(self.own_cpu_percent),
            "others_cpu_percent": _rounded(self.others_cpu_percent),
            "misses": self.misses(),
        }


def highest_met(levels: Sequence[Level]) -> int | None:
    """Most streams that met the objective."""
    return max((level.streams for level in levels if not level.misses()), default=None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
