"""How many streams at once: level after level, with the same audio at each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oyez.bench.levels import MAX_FINAL_MS, MAX_WER_PERCENT, STARVED_MS, Heard, Level, highest_met
from oyez.bench.load import Stream, Take, encode, feed, stream_all
from oyez.bench.manifest import Clip
from oyez.bench.meter import Meter, between, cpu_percent
from oyez.bench.options import Target
from oyez.bench.report import machine_line, percentile, row_head, row_line
from oyez.bench.voices import MAX_OFFSET_S, NO_CLIPS, Mode, StreamPlan, choose, plan, render

__all__ = ["Bench", "Options", "as_json", "choose", "head", "row", "summary"]

COOL_DOWN_S = 5.0
MEBIBYTE = 1 << 20
COLUMNS = {
    "streams": 7, "first interim": 15, "interim cadence": 15, "longest gap": 15,
    "final after stop": 16, "final after speech": 18, "WER %": 5, "turns": 5, "lost": 4,
    "failed": 6, "retracted": 9, "CPU %": 5, "RSS MB": 6, "late ms": 7, "own CPU %": 9,
    "objective": 9,
}  # fmt: skip
"""Name and least width; docs/performance.md says what each is."""


@dataclass(frozen=True, slots=True)
class Options:
    mode: Mode
    seconds: float
    until_fail: bool = False


class Bench:
    """A load test of one server, with clips by language."""

    def __init__(
        self,
        target: Target,
        key: str | None,
        languages: Mapping[str, Sequence[Clip]],
        options: Options,
    ) -> None:
        if not languages:
            raise RuntimeError(NO_CLIPS)
        self.options = options
        self.plans: list[StreamPlan] = []
        self.alone: dict[int, Heard] = {}
        self._url = target.url
        self._key = key
        self._languages = languages
        self._meter = Meter(target.pid, children=True) if target.pid else None
        self._streams: list[Stream] = []

    def run(self, counts: Sequence[int]) -> Iterator[Level]:
        """One level for each count, as it ends; progress goes to stderr.

        Raises RuntimeError if a clip cannot be read, or a stream breaks although it is alone.
        """
        for count in counts:
            self._prepare(count)
            level = asyncio.run(self._level(count))
            _progress("")
            yield level
            if self.options.until_fail and level.misses():
                return

    def _prepare(self, count: int) -> None:
        """Make the streams a level needs, and hear each alone: finals do not depend on pace."""
        for number in range(len(self._streams), count):
            _progress(f"alone: stream {number + 1} of {count}")
            planned = plan(number, self._languages, self.options.mode, self.options.seconds)
            stream = Stream(number, planned.language, planned.offset_s, encode(render(planned)))
            take = asyncio.run(feed(self._url, self._key, stream))
            if take.broken:
                raise RuntimeError(f"stream {number} broke although alone: {take.broken}")
            self.plans.append(planned)
            self._streams.append(stream)
            self.alone[number] = Heard.of(take)

    async def _level(self, count: int) -> Level:
        streams = self._streams[:count]
        length_s = MAX_OFFSET_S + streams[0].audio_s
        _progress(f"{count} at once: up to {length_s:.0f} s")
        own = Meter(os.getpid(), children=False)  # the server is our child
        watches = [asyncio.create_task(meter.watch()) for meter in self._watched(own)]
        try:
            if self._meter:
                await self._meter.idle(COOL_DOWN_S)
                self._meter.readings.clear()
            own.readings.clear()
            takes = await stream_all(self._url, self._key, streams)
        finally:
            for watch in watches:
                watch.cancel()
            await asyncio.gather(*watches, return_exceptions=True)
        level = Level.of(takes, self.alone)
        self._add_load(level, takes, own)
        return level

    def _watched(self, own: Meter) -> Iterator[Meter]:
        yield own
        if self._meter:
            yield self._meter

    def _add_load(self, level: Level, takes: Sequence[Take], own: Meter) -> None:
        """CPU while all streams ran at once, where they did."""
        from_s = max(take.recording.began_s for take in takes)
        to_s = min(take.recording.began_s + take.stream.audio_s for take in takes)
        level.own_cpu_percent = cpu_percent(*between(own.readings, from_s, to_s))
        if self._meter:
            readings = self._meter.readings
            level.server_cpu_percent = round(cpu_percent(*between(readings, from_s, to_s)), 1)
            most_bytes = max(reading.rss_bytes for reading in readings)
            level.server_rss_mb = round(most_bytes / MEBIBYTE, 1)


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
        own, f"{level.own_cpu_percent:.0f}",
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


def _progress(text: str) -> None:
    """On one line; nothing to say clears it for the table."""
    clock = time.strftime("%H:%M:%S ") if text else ""
    end = "" if text else "\r"
    print(f"\r{clock + text:<60.60}", end=end, file=sys.stderr, flush=True)
