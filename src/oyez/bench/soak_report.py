"""The table of a soak: one line for each slice, then what has drifted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from statistics import fmean
from typing import Any

from oyez.bench.report import machine_line, row_head, row_line
from oyez.bench.soak import Options, Slice

MEBIBYTE = 1 << 20
COLUMNS = {
    "audio min": 9, "speed": 6, "CPU s/min": 9, "RSS MB": 7, "final ms": 8, "turns": 6,
    "failed": 6, "own RSS MB": 10,
}  # fmt: skip


def head() -> str:
    return row_head(COLUMNS)


def row(one: Slice, slice_s: float) -> str:
    cells = [
        f"{one.audio_s / 60:.1f}",
        f"{slice_s / one.elapsed_s:.1f}",
        _shown(one.cpu_per_minute_s, 2),
        _shown(one.rss_bytes and one.rss_bytes / MEBIBYTE, 1),
        _shown(one.final_ms, 1),
        str(len(one.finals_ms)),
        str(one.failed),
        f"{one.own_rss_bytes / MEBIBYTE:.0f}",
    ]
    return row_line(cells, COLUMNS)


def drift_percent(values: Sequence[float | None]) -> float | None:
    """Mean of the last third against that of the first; None where either has no value or the
    first is zero."""
    third = max(1, len(values) // 3)
    first = [value for value in values[:third] if value is not None]
    last = [value for value in values[-third:] if value is not None]
    if not first or not last or not fmean(first):
        return None
    return 100 * (fmean(last) / fmean(first) - 1)


def drifts(slices: Sequence[Slice]) -> dict[str, float | None]:
    """In percent, by name."""
    values: dict[str, Callable[[Slice], float | None]] = {
        "CPU": lambda one: one.cpu_per_minute_s,
        "RSS": lambda one: one.rss_bytes,
        "final": lambda one: one.final_ms,
    }
    return {name: drift_percent([of(one) for one in slices]) for name, of in values.items()}


def summary(slices: Sequence[Slice]) -> str:
    parts = ", ".join(
        f"{name} {'–' if drift is None else f'{drift:+.1f} %'}"
        for name, drift in drifts(slices).items()
    )
    return f"Drift, last third against first third: {parts}."


def as_json(options: Options, slices: Sequence[Slice]) -> dict[str, Any]:
    return {
        "machine": machine_line(),
        "options": asdict(options),
        "slices": [asdict(one) for one in slices],
        "drift_percent": drifts(slices),
    }


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
