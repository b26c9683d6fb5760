"""How many streams at once: level after level, with the same audio at each."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from oyez.bench.levels import Level, StreamResult
from oyez.bench.load import Stream, Take, encode, stream_all, stream_unpaced
from oyez.bench.manifest import Clip
from oyez.bench.meter import Meter, between, cpu_percent, machine_percent
from oyez.bench.report import machine_line
from oyez.bench.target import Target
from oyez.bench.voices import MAX_OFFSET_S, NO_CLIPS, Mode, StreamPlan, plan, render

COOL_DOWN_S = 5.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Options:
    """How the streams of a level are made."""

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
        self.alone: dict[int, StreamResult] = {}
        self._url = target.url
        self._key = key
        self._languages = languages
        self._meter = Meter(target.pid, children=True) if target.pid else None
        self._streams: list[Stream] = []

    def run(self, counts: Sequence[int]) -> Iterator[Level]:
        """Yield one level for each count when it ends; progress goes to stderr.

        Raises RuntimeError if a clip cannot be read, or if a stream breaks although it is alone.
        """
        for count in counts:
            self._prepare(count)
            level = asyncio.run(self._level(count))
            _progress("")
            yield level
            if self.options.until_fail and level.misses():
                return

    def _prepare(self, count: int) -> None:
        """Make the streams of a level and send each alone: finals do not depend on the pace."""
        for number in range(len(self._streams), count):
            _progress(f"alone: stream {number + 1} of {count}")
            planned = plan(number, self._languages, self.options.mode, self.options.seconds)
            stream = Stream(number, planned.language, planned.offset_s, encode(render(planned)))
            take = asyncio.run(stream_unpaced(self._url, self._key, stream))
            if take.broken:
                raise RuntimeError(f"stream {number} broke although alone: {take.broken}")
            self.plans.append(planned)
            self._streams.append(stream)
            self.alone[number] = StreamResult.of(take)

    async def _level(self, count: int) -> Level:
        streams = self._streams[:count]
        length_s = MAX_OFFSET_S + streams[0].audio_s
        _progress(f"{count} at once: up to {length_s:.0f} s")
        own = Meter(os.getpid(), children=False)  # the server is a child of this process
        meters = [own, self._meter] if self._meter else [own]
        watches = [asyncio.create_task(meter.watch()) for meter in meters]
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

    def _add_load(self, level: Level, takes: Sequence[Take], own: Meter) -> None:
        """Add the processor time of the stretch in which all streams ran, if there is one."""
        from_s = max(take.recording.began_s for take in takes)
        to_s = min(take.recording.began_s + take.stream.audio_s for take in takes)
        ours = between(own.readings, from_s, to_s)
        level.own_cpu_percent = cpu_percent(*ours)
        if self._meter and self._meter.readings:
            readings = self._meter.readings
            level.server_cpu_percent = cpu_percent(*between(readings, from_s, to_s))
            level.server_rss_mb = max(reading.rss_bytes for reading in readings) / MEBIBYTE
            used = level.own_cpu_percent + level.server_cpu_percent
            level.others_cpu_percent = max(0.0, machine_percent(*ours) - used)


def as_json(bench: Bench, levels: Sequence[Level]) -> dict[str, Any]:
    """Return everything that was measured, and what was said."""
    return {
        "machine": machine_line(),
        "options": asdict(bench.options),
        "streams": [_planned_json(planned) for planned in bench.plans],
        "alone": {number: result.finals for number, result in bench.alone.items()},
        "levels": [level.as_json() for level in levels],
    }


def _planned_json(planned: StreamPlan) -> dict[str, Any]:
    return {
        "language": planned.language,
        "offset_s": round(planned.offset_s, 3),
        "speech_s": round(planned.speech_s, 1),
        "clips": [piece.clip.path.name for piece in planned.pieces if piece.clip],
    }


def _progress(text: str) -> None:
    """Show progress on one line of stderr; an empty text clears it for the table."""
    clock = time.strftime("%H:%M:%S ") if text else ""
    end = "" if text else "\r"
    print(f"\r{clock + text:<60.60}", end=end, file=sys.stderr, flush=True)
