"""How many streams at once: level after level, with the same audio at each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import click

from oyez.bench import edge as edge_cost
from oyez.bench.clips import MAX_OFFSET_S, Clip, Mode, StreamPlan, choose, packets, plan
from oyez.bench.latency import Outcome
from oyez.bench.load import Stream, Take, stream_all
from oyez.bench.options import write_json
from oyez.bench.report import (
    Columns,
    decimal,
    format_table,
    machine_line,
    percentile,
    progress,
    spread,
    table_head,
    table_row,
)
from oyez.bench.scoring import Score, score
from oyez.bench.server import Meter, Server, between, measured

MAX_FINAL_MS = 700.0
MAX_WER_PERCENT = 2.0
STARVED_MS = 50.0
CROWDED_PERCENT = 20.0
"""If other programs use more of a core than this, the figures are not the server's alone."""
COOL_DOWN_S = 2.0
MEBIBYTE = 1 << 20


@dataclass(slots=True)
class Level:
    """Everything that was measured with `streams` streams at once."""

    streams: int
    outcome: Outcome = field(default_factory=Outcome)
    """What came back, all streams together."""
    lost: int = 0
    """Turns that are missing of those in the streams alone, or that were announced here."""
    broken: list[str] = field(default_factory=list)
    words: Score = field(default_factory=Score)
    """Where the words differ from those of the same streams alone."""
    differing: list[dict[str, Any]] = field(default_factory=list)
    """The streams whose finals differ in any letter from those alone: stream, alone, here."""
    server_cpu_percent: float | None = None
    server_rss_mb: float | None = None
    late_p99_ms: float = 0.0
    own_cpu_percent: float = 0.0
    others_cpu_percent: float | None = None

    @classmethod
    def of(
        cls, streams: Sequence[Stream], takes: Sequence[Take], alone: Sequence[Outcome]
    ) -> Level:
        """Compare streams with the outcome of each stream alone."""
        level = cls(len(takes))
        for stream, take, expected in zip(streams, takes, alone, strict=True):
            here = Outcome.of(take)
            missing = len(expected.finals) - len(here.finals) - here.failed
            level.outcome += here
            level.lost += max(missing, here.unanswered, 0)
            texts = (" ".join(expected.finals), " ".join(here.finals))
            level.words += score(*texts, stream.language or "en")
            if here.finals != expected.finals:
                finals = {"alone": expected.finals, "here": here.finals}
                level.differing.append({"stream": stream.number, **finals})
            if take.broken:
                level.broken.append(f"stream {stream.number}: {take.broken}")
        late_ms = [value for take in takes for value in take.late_ms]
        level.late_p99_ms = percentile(late_ms, 0.99) if late_ms else 0.0
        return level

    @property
    def is_starved(self) -> bool:
        """Whether the load generator itself was too slow to measure anything."""
        return self.late_p99_ms > STARVED_MS

    @property
    def wer_percent(self) -> float:
        """The words other than alone, in percent of the words alone."""
        return 100 * self.words.rate

    def misses(self) -> list[str]:
        """Say why the objective is not met; empty if it is."""
        waits = self.outcome.final_after_stop
        final_ms = percentile(waits, 0.95) if waits else 0.0
        faults = {
            f"final {final_ms:.0f} ms": final_ms > MAX_FINAL_MS,
            f"{self.lost} lost": self.lost > 0,
            f"{self.outcome.failed} failed": self.outcome.failed > 0,
            f"{len(self.broken)} broken": bool(self.broken),
            f"WER {self.wer_percent:.1f} %": self.wer_percent > MAX_WER_PERCENT,
            "no turns": not waits,
        }
        return [fault for fault, holds in faults.items() if holds]

    def as_json(self) -> dict[str, Any]:
        """Return every wait and every count."""
        measured = asdict(self)
        outcome = measured.pop("outcome")
        waits = {
            name: [round(value, 1) for value in values]
            for name, values in outcome.items()
            if name != "finals" and isinstance(values, list)
        }
        counts = {name: outcome[name] for name in ("failed", "retractions", "rewordings")}
        return {
            **measured,
            **counts,
            "waits_ms": waits,
            "turns": len(self.outcome.finals),
            "words": self.words.units,
            "wer_percent": round(self.wer_percent, 3),
            "misses": self.misses(),
        }


COLUMNS: Columns[Level] = {
    "streams": (7, lambda level: str(level.streams)),
    "first interim": (15, lambda level: "/".join(spread(level.outcome.first_words))),
    "interim cadence": (15, lambda level: "/".join(spread(level.outcome.between_interims))),
    "longest gap": (15, lambda level: "/".join(spread(level.outcome.longest_gaps))),
    "final after stop": (16, lambda level: "/".join(spread(level.outcome.final_after_stop))),
    "final after speech": (18, lambda level: "/".join(spread(level.outcome.final_after_speech))),
    "WER %": (5, lambda level: decimal(level.wer_percent, 1)),
    "turns": (5, lambda level: str(len(level.outcome.finals))),
    "lost": (4, lambda level: str(level.lost)),
    "failed": (6, lambda level: str(level.outcome.failed)),
    "retracted": (9, lambda level: str(level.outcome.retractions)),
    "CPU %": (5, lambda level: decimal(level.server_cpu_percent)),
    "RSS MB": (6, lambda level: decimal(level.server_rss_mb)),
    "late ms": (7, lambda level: f"{level.late_p99_ms:.1f}" + "!" * level.is_starved),
    "own CPU %": (9, lambda level: decimal(level.own_cpu_percent)),
    "others CPU %": (12, lambda level: decimal(level.others_cpu_percent)),
    "objective": (9, lambda level: ", ".join(level.misses()) or "met"),
}
"""docs/performance.md explains them."""


def summary(levels: Sequence[Level]) -> str:
    """Return the objective, the highest level that meets it, and what casts doubt on figures."""
    best = max((level.streams for level in levels if not level.misses()), default=None)
    lines = [
        "Objective: p95 of finals at most "
        f"{MAX_FINAL_MS:.0f} ms after `speech_stopped`, no turn lost or failed, no session "
        f"broken, at most {MAX_WER_PERCENT:.0f} % of words other than alone.",
        f"Most streams at once that meet it: {best}." if best else "No level meets it.",
    ]
    if any(level.is_starved for level in levels):
        lines.append(f"! The load generator was late by more than {STARVED_MS:.0f} ms: discount.")
    crowded = max((level.others_cpu_percent or 0.0 for level in levels), default=0.0)
    if crowded > CROWDED_PERCENT:
        lines.append(f"Other programs took up to {crowded:.0f} % of a core meanwhile: discount.")
    for level in levels:
        if level.differing:
            which = ", ".join(str(each["stream"]) for each in level.differing)
            alike = "finals to the letter as alone in all streams but"
            lines.append(f"{level.streams} at once, {alike} {which}")
    lines += [f"{level.streams} at once, {why}" for level in levels for why in level.broken[:5]]
    return "\n".join(lines)


class LoadTest:
    """A load test of one server, with clips by language."""

    def __init__(
        self, server: Server, languages: Mapping[str, Sequence[Clip]], mode: Mode, seconds: float
    ) -> None:
        self.plans: list[StreamPlan] = []
        self.alone: list[Outcome] = []
        self._server = server
        self._languages = languages
        self._mode: Mode = mode
        self._seconds = seconds
        self._meter = Meter(server.pid)
        self._streams: list[Stream] = []

    def run(self, counts: Sequence[int], *, until_fail: bool) -> Iterator[Level]:
        """Yield one level for each count when it ends; progress goes to stderr.

        Raises RuntimeError if a clip cannot be read, or if a stream breaks although it is alone.
        """
        for count in counts:
            self._prepare(count)
            level = asyncio.run(self._level(count))
            progress("")
            yield level
            if until_fail and level.misses():
                return

    def _prepare(self, count: int) -> None:
        """Make the streams of a level and send each alone: finals do not depend on the pace."""
        for number in range(len(self._streams), count):
            progress(f"alone: stream {number + 1} of {count}")
            planned = plan(number, self._languages, self._mode, self._seconds)
            audio = packets(planned.render())
            stream = Stream(number, planned.language, planned.offset_s, audio)
            (take,) = asyncio.run(stream_all(self._server.target, [stream], paced=False))
            if take.broken:
                raise RuntimeError(f"stream {number} broke although alone: {take.broken}")
            self.plans.append(planned)
            self._streams.append(stream)
            self.alone.append(Outcome.of(take))

    async def _level(self, count: int) -> Level:
        streams = self._streams[:count]
        progress(f"{count} at once: up to {MAX_OFFSET_S + streams[0].audio_s:.0f} s")
        await asyncio.sleep(COOL_DOWN_S)
        self._meter.readings.clear()
        watch = asyncio.create_task(self._meter.watch())
        try:
            takes = await stream_all(self._server.target, streams)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
        level = Level.of(streams, takes, self.alone[:count])
        if self._meter.readings:
            self._add_load(level, takes, streams[0].audio_s)
        return level

    def _add_load(self, level: Level, takes: Sequence[Take], audio_s: float) -> None:
        """Add the processor time of the stretch in which all streams ran, if there is one."""
        from_s = max(take.began_s for take in takes)
        to_s = min(take.began_s for take in takes) + audio_s
        used = between(self._meter.readings, from_s, to_s)
        elapsed_s = used.at_s or 1.0
        level.own_cpu_percent = 100 * used.own_cpu_s / elapsed_s
        if self._server.pid:
            others_s = used.machine_cpu_s - used.own_cpu_s - used.cpu_s
            level.server_cpu_percent = 100 * used.cpu_s / elapsed_s
            level.server_rss_mb = max(one.rss_bytes for one in self._meter.readings) / MEBIBYTE
            level.others_cpu_percent = max(0.0, 100 * others_s / elapsed_s)


def main(
    counts: Sequence[int],
    mode: Mode,
    seconds: float,
    until_fail: bool,
    edge: bool,
    json_file: Path | None,
    **setup: Any,
) -> None:
    """Measure and print; `commands` has the options."""
    with measured(**setup) as (clips, server):
        load = LoadTest(server, choose(clips), mode, seconds)
        click.echo(f"{machine_line()}\n{mode}, {seconds:g} s, {server.name}\n")
        click.echo(table_head(COLUMNS))
        levels: list[Level] = []
        for level in load.run(counts, until_fail=until_fail):
            levels.append(level)
            click.echo(table_row(COLUMNS, level))
            if json_file:  # written every time, in case the rest never comes
                options = {"mode": mode, "seconds": seconds, "until_fail": until_fail}
                write_json(json_file, {"options": options, **as_json(load, levels)})
        click.echo(f"\n{summary(levels)}")
    if edge and setup["engine"] == "fake" and setup["url"] is None:
        # What the server itself costs shows only without a model.
        with measured(**setup) as (_, server):
            costs = asyncio.run(edge_cost.measure(server))
            click.echo(f"\n{format_table(['edge alone', ''], list(costs.items()))}")


def as_json(load: LoadTest, levels: Sequence[Level]) -> dict[str, Any]:
    """Return everything that was measured, and what was said."""
    return {
        "machine": machine_line(),
        "streams": [
            {
                "language": planned.language,
                "offset_s": round(planned.offset_s, 3),
                "speech_s": round(planned.speech_s, 1),
                "clips": [piece.clip.path.name for piece in planned.pieces if piece.clip],
            }
            for planned in load.plans
        ],
        "alone": {number: outcome.finals for number, outcome in enumerate(load.alone)},
        "levels": [level.as_json() for level in levels],
    }
