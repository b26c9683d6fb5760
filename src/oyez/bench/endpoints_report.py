"""The tables of `oyez bench endpoints`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.endpoints import LATE_SAMPLES, SAMPLES_PER_MS, Tally
from oyez.bench.report import format_table, percentile

SHARES = (0.05, 0.5, 0.95)


def conditions(rows: Iterable[tuple[str, Tally]]) -> str:
    header = ["speech", "missed %", "turns", "false starts/h", "split", "run on",
              "start told", "start", "end", "end told"]  # fmt: skip
    return format_table(header, [[name, *_cells(tally)] for name, tally in rows])


def pauses(rows: Iterable[tuple[int, Sequence[int]]], silence_samples: int) -> str:
    """rows: a pause in ms, and how many turns each sentence with it made."""
    cells = [
        [
            f"{pause_ms} ms",
            _expected(pause_ms * SAMPLES_PER_MS, silence_samples),
            counts.count(1),
            counts.count(2),
            len(counts) - counts.count(1) - counts.count(2),
        ]
        for pause_ms, counts in rows
    ]
    return format_table(["pause", "should end", "goes on", "ends once", "else"], cells)


def sounds(rows: Iterable[tuple[str, float, int]]) -> str:
    """rows: what it is, its seconds, turns."""
    cells = [[name, f"{seconds / 60:.1f}", count] for name, seconds, count in rows]
    return format_table(["no speech", "minutes", "turns"], cells)


def _expected(pause_samples: int, silence_samples: int) -> str:
    if pause_samples < silence_samples:
        return "no"
    return "yes" if pause_samples >= silence_samples + LATE_SAMPLES else "either"


def _cells(tally: Tally) -> list[object]:
    hours = tally.audio_samples / SAMPLE_RATE / 3600
    return [
        f"{100 * tally.missed_samples / max(tally.speech_samples, 1):.2f}",
        tally.turns,
        f"{tally.false_starts / max(hours, 1e-9):.1f}",
        tally.splits,
        tally.late,
        *map(_spread, (tally.told_ms, tally.start_ms, tally.end_ms, tally.end_told_ms)),
    ]


def _spread(values_ms: Sequence[float]) -> str:
    if not values_ms:
        return "–"
    return "/".join(f"{percentile(values_ms, share):.0f}" for share in SHARES)
