"""What one level of a load test comes to: so many streams at once, compared with each alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from oyez.bench.latency import Waits
from oyez.bench.load import Take
from oyez.bench.report import percentile, row_head, row_line
from oyez.bench.scoring import Score, score
from oyez.client import Committed, Failed, Final, Started

MAX_FINAL_MS = 700.0
MAX_WER_PERCENT = 2.0
STARVED_MS = 50.0
"""If packets are later than this, the load generator itself was too slow to measure anything."""
CROWDED_PERCENT = 20.0
"""If other programs use more of a core than this, the figures are not the server's alone."""
COLUMNS = {
    "streams": 7, "first interim": 15, "interim cadence": 15, "longest gap": 15,
    "final after stop": 16, "final after speech": 18, "WER %": 5, "turns": 5, "lost": 4,
    "failed": 6, "retracted": 9, "CPU %": 5, "RSS MB": 6, "late ms": 7, "own CPU %": 9,
    "others CPU %": 12, "objective": 9,
}  # fmt: skip
"""The name and the least width of each column; docs/performance.md explains them."""


@dataclass(frozen=True, slots=True)
class StreamResult:
    """What became of the turns of a session."""

    finals: tuple[str, ...]
    failed: int
    unanswered: int
    """Turns that were announced, and neither completed nor failed."""

    @classmethod
    def of(cls, take: Take) -> StreamResult:
        """Read the result from the events of a stream."""
        finals: list[str] = []
        announced: set[str] = set()
        answered: set[str] = set()
        failed = 0
        for _, event in take.recording.events:
            match event:
                case Started(item_id) | Committed(item_id):
                    announced.add(item_id)
                case Final(item_id, transcript):
                    answered.add(item_id)
                    finals.append(transcript)
                case Failed(item_id):
                    answered.add(item_id)
                    failed += 1
        return cls(tuple(finals), failed, len(announced - answered))

    def lost(self, alone: StreamResult) -> int:
        """Count the turns that are missing of those in the stream alone or announced here."""
        missing = len(alone.finals) - len(self.finals) - self.failed
        return max(missing, self.unanswered, 0)

    def score(self, alone: StreamResult, language: str) -> Score:
        """Count where the words differ from those of the same stream alone."""
        return score(" ".join(alone.finals), " ".join(self.finals), language)


@dataclass(slots=True)
class Level:
    """Everything that was measured with `streams` streams at once."""

    streams: int
    waits: Waits = field(default_factory=Waits)
    turns: int = 0
    lost: int = 0
    failed: int = 0
    broken: list[str] = field(default_factory=list)
    words: Score = field(default_factory=Score)
    differing: list[tuple[int, list[str], list[str]]] = field(default_factory=list)
    """The streams whose finals differ in any letter from those alone: number, alone, here."""
    server_cpu_percent: float | None = None
    server_rss_mb: float | None = None
    late_p99_ms: float = 0.0
    own_cpu_percent: float = 0.0
    others_cpu_percent: float | None = None

    @classmethod
    def of(cls, takes: Sequence[Take], alone: Mapping[int, StreamResult]) -> Level:
        """Compare streams with the result of each stream alone, by its number."""
        level = cls(len(takes))
        late_ms: list[float] = []
        for take in takes:
            number = take.stream.number
            result, expected = StreamResult.of(take), alone[number]
            level.waits.add(take.recording)
            level.turns += len(result.finals)
            level.failed += result.failed
            level.lost += result.lost(expected)
            level.words += result.score(expected, take.stream.language or "en")
            if result.finals != expected.finals:
                level.differing.append((number, list(expected.finals), list(result.finals)))
            late_ms += take.late_ms
            if take.broken:
                level.broken.append(f"stream {number}: {take.broken}")
        level.late_p99_ms = percentile(late_ms, 0.99) if late_ms else 0.0
        return level

    @property
    def wer_percent(self) -> float:
        """The words other than alone, in percent of the words alone."""
        return 100 * self.words.rate

    def misses(self) -> list[str]:
        """Say why the objective is not met; empty if it is."""
        finals = self.waits.final_after_stop
        final_ms = percentile(finals, 0.95) if finals else 0.0
        faults = {
            f"final {final_ms:.0f} ms": final_ms > MAX_FINAL_MS,
            f"{self.lost} lost": self.lost > 0,
            f"{self.failed} failed": self.failed > 0,
            f"{len(self.broken)} broken": bool(self.broken),
            f"WER {self.wer_percent:.1f} %": self.wer_percent > MAX_WER_PERCENT,
            "no turns": not finals,
        }
        return [fault for fault, holds in faults.items() if holds]

    def as_json(self) -> dict[str, Any]:
        """Return every wait and every count."""
        waits = {
            name: [round(value, 1) for value in getattr(self.waits, name)]
            for name in (
                "first_words",
                "between_interims",
                "longest_gaps",
                "final_after_stop",
                "final_after_speech",
            )
        }
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
    """Return the most streams that met the objective; None if no level did."""
    return max((level.streams for level in levels if not level.misses()), default=None)


def head() -> str:
    """Return the first two lines of the table."""
    return row_head(COLUMNS)


def row(level: Level) -> str:
    """Return the line of one level."""
    waits = level.waits
    spreads = (
        waits.first_words,
        waits.between_interims,
        waits.longest_gaps,
        waits.final_after_stop,
        waits.final_after_speech,
    )
    cells = [
        str(level.streams),
        *map(_spread, spreads),
        f"{level.wer_percent:.1f}",
        str(level.turns),
        str(level.lost),
        str(level.failed),
        str(waits.retractions),
        _whole(level.server_cpu_percent),
        _whole(level.server_rss_mb),
        f"{level.late_p99_ms:.1f}" + ("!" if level.late_p99_ms > STARVED_MS else ""),
        f"{level.own_cpu_percent:.0f}",
        _whole(level.others_cpu_percent),
        ", ".join(level.misses()) or "met",
    ]
    return row_line(cells, COLUMNS)


def summary(levels: Sequence[Level]) -> str:
    """Return the objective, the highest level that meets it, and what casts doubt on figures."""
    best = highest_met(levels)
    lines = [
        "Objective: p95 of finals at most "
        f"{MAX_FINAL_MS:.0f} ms after `speech_stopped`, no turn lost or failed, no session "
        f"broken, at most {MAX_WER_PERCENT:.0f} % of words other than alone.",
        f"Most streams at once that meet it: {best}." if best else "No level meets it.",
    ]
    if any(level.late_p99_ms > STARVED_MS for level in levels):
        lines.append(f"! The load generator was late by more than {STARVED_MS:.0f} ms: discount.")
    crowded = max((level.others_cpu_percent or 0.0 for level in levels), default=0.0)
    if crowded > CROWDED_PERCENT:
        lines.append(f"Other programs took up to {crowded:.0f} % of a core meanwhile: discount.")
    lines += [
        f"{level.streams} at once, finals to the letter as alone in all streams but "
        + ", ".join(str(number) for number, _, _ in level.differing)
        for level in levels
        if level.differing
    ]
    lines += [f"{level.streams} at once, {why}" for level in levels for why in level.broken[:5]]
    return "\n".join(lines)


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return "/".join(f"{percentile(values, share):.0f}" for share in (0.5, 0.95, 1.0))


def _whole(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)
