"""The table of a load test: one line for each level, then what it comes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from oyez.bench.levels import MAX_FINAL_MS, MAX_WER_PERCENT, STARVED_MS, Level, highest_met
from oyez.bench.report import machine_line, percentile, row_head, row_line
from oyez.bench.streams import Bench
from oyez.bench.voices import StreamPlan

CROWDED_PERCENT = 20.0
"""Of a core: beyond this, other programs had a part in the figures."""
COLUMNS = {
    "streams": 7, "first interim": 15, "interim cadence": 15, "longest gap": 15,
    "final after stop": 16, "final after speech": 18, "WER %": 5, "turns": 5, "lost": 4,
    "failed": 6, "retracted": 9, "CPU %": 5, "RSS MB": 6, "late ms": 7, "own CPU %": 9,
    "others CPU %": 12, "objective": 9,
}  # fmt: skip
"""Name and least width; docs/performance.md says what each is."""


def head() -> str:
    """The first two lines of the table."""
    return row_head(COLUMNS)


def row(level: Level) -> str:
    waits = level.waits
    own = f"{level.late_p99_ms:.1f}" + ("!" if level.late_p99_ms > STARVED_MS else "")
    cells = [
        str(level.streams),
        *(_spread(values) for values in (
            waits.first_words, waits.between_interims, waits.longest_gaps,
            waits.final_after_stop, waits.final_after_speech)),
        f"{level.wer_percent:.1f}", str(level.turns), str(level.lost), str(level.failed),
        str(waits.retractions),
        _rounded(level.server_cpu_percent), _rounded(level.server_rss_mb),
        own, f"{level.own_cpu_percent:.0f}", _rounded(level.others_cpu_percent),
        ", ".join(level.misses()) or "met",
    ]  # fmt: skip
    return row_line(cells, COLUMNS)


def summary(levels: Sequence[Level]) -> str:
    """What the table comes to."""
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


def as_json(bench: Bench, levels: Sequence[Level]) -> dict[str, Any]:
    """Everything that was measured, and what was said."""
    return {
        "machine": machine_line(),
        "options": asdict(bench.options),
        "streams": [_planned_json(planned) for planned in bench.plans],
        "alone": {number: heard.finals for number, heard in bench.alone.items()},
        "levels": [level.as_json() for level in levels],
    }


def _planned_json(planned: StreamPlan) -> dict[str, Any]:
    return {
        "language": planned.language,
        "offset_s": round(planned.offset_s, 3),
        "speech_s": round(planned.speech_s, 1),
        "clips": [piece.clip.path.name for piece in planned.pieces if piece.clip],
    }


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "–"
    return "/".join(f"{percentile(values, share):.0f}" for share in (0.5, 0.95, 1.0))


def _rounded(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}"
