"""One session that is fed for hours: whether its time and memory stay flat."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from oyez.bench.clips import PACKET_S, Mode, choose, endless_packets
from oyez.bench.latency import Outcome
from oyez.bench.load import feed
from oyez.bench.options import write_json
from oyez.bench.report import NO_VALUE, Columns, decimal, machine_line, table_head, table_row
from oyez.bench.server import Meter, measured
from oyez.client import SessionOptions, Target, open_session

SLICES = 10
WARM_UP_S = 120.0
MEBIBYTE = 1 << 20


@dataclass(frozen=True, slots=True)
class Slice:
    """What a tenth of the audio cost."""

    audio_s: float
    """The audio that was fed by its end, without the warm-up."""
    elapsed_s: float
    """How long this slice took."""
    speed: float
    """Times real time."""
    cpu_per_minute_s: float | None
    """The server's processor time for a minute of audio; None if it is another's server."""
    rss_bytes: int | None
    finals_ms: list[float]
    """The time from `speech_stopped` to `completed` of every turn that ended."""
    failed: int
    own_rss_bytes: int

    @property
    def final_ms(self) -> float | None:
        """The mean of `finals_ms`; None without finals."""
        return fmean(self.finals_ms) if self.finals_ms else None


COLUMNS: Columns[Slice] = {
    "audio min": (9, lambda one: f"{one.audio_s / 60:.1f}"),
    "speed": (6, lambda one: f"{one.speed:.1f}"),
    "CPU s/min": (9, lambda one: decimal(one.cpu_per_minute_s, 2)),
    "RSS MB": (7, lambda one: decimal(one.rss_bytes and one.rss_bytes / MEBIBYTE, 1)),
    "final ms": (8, lambda one: decimal(one.final_ms, 1)),
    "turns": (6, lambda one: str(len(one.finals_ms))),
    "failed": (6, lambda one: str(one.failed)),
    "own RSS MB": (10, lambda one: f"{one.own_rss_bytes / MEBIBYTE:.0f}"),
}
"""docs/performance.md explains them."""


async def run(
    target: Target,
    language: str,
    audio: Iterator[bytes],
    audio_s: float,
    speed: float,
    meter: Meter,
    show: Callable[[Slice], None],
) -> None:
    """Feed a session with packets of one language, and show each slice as it ends.

    speed: times real time; 0 means as fast as the server takes it.

    Raises RuntimeError if a message is refused or a clip cannot be read, ClientError if the
    session breaks, and TimeoutError.
    """
    slice_s = audio_s / SLICES
    async with open_session(target, SessionOptions(language)) as session:
        await feed(session, islice(audio, round(min(WARM_UP_S, slice_s) / PACKET_S)), speed)
        before = meter.read()
        for number in range(1, SLICES + 1):
            take = await feed(session, islice(audio, round(slice_s / PACKET_S)), speed)
            outcome = Outcome.of(take)
            after = meter.read()
            used, before = after - before, after
            cost = Slice(
                audio_s=number * slice_s,
                elapsed_s=used.at_s,
                speed=slice_s / used.at_s,
                cpu_per_minute_s=used.cpu_s * 60 / slice_s if meter.has_server else None,
                rss_bytes=after.rss_bytes if meter.has_server else None,
                finals_ms=outcome.final_after_stop,
                failed=outcome.failed,
                own_rss_bytes=after.own_rss_bytes,
            )
            show(cost)
        await session.finish()
        async for _ in session.events():
            pass


def drift_percent(values: Sequence[float | None]) -> float | None:
    """Compare the mean of the last third with that of the first, in percent.

    Return None if one of them has no value, or if the first is zero.
    """
    third = max(1, len(values) // 3)
    first = [value for value in values[:third] if value is not None]
    last = [value for value in values[-third:] if value is not None]
    if not first or not last or not fmean(first):
        return None
    return 100 * (fmean(last) / fmean(first) - 1)


def drifts(slices: Sequence[Slice]) -> dict[str, float | None]:
    """Return the drift of processor time, memory and finals, in percent."""
    return {
        "CPU": drift_percent([one.cpu_per_minute_s for one in slices]),
        "RSS": drift_percent([one.rss_bytes for one in slices]),
        "final": drift_percent([one.final_ms for one in slices]),
    }


def main(hours: float, speed: float, monologue: bool, json_file: Path | None, **setup: Any) -> None:
    """Measure and print; `commands` has the options."""
    mode: Mode = "nonstop" if monologue else "conversational"
    audio_s = hours * 3600
    slices: list[Slice] = []

    def show(one: Slice) -> None:
        slices.append(one)
        click.echo(table_row(COLUMNS, one))
        if json_file:  # written every time, in case the rest never comes
            measured_so_far = {
                "machine": machine_line(),
                "options": {"audio_s": audio_s, "speed": speed, "mode": mode},
                "slices": [asdict(each) for each in slices],
                "drift_percent": drifts(slices),
            }
            write_json(json_file, measured_so_far)

    with measured(**setup) as (spoken, server):
        language, clips = next(iter(choose(spoken).items()))
        audio = endless_packets(clips, mode)
        click.echo(f"{machine_line()}\n{mode}, {hours:g} h, {server.name}\n")
        click.echo(table_head(COLUMNS))
        meter = Meter(server.pid)
        asyncio.run(run(server.target, language, audio, audio_s, speed, meter, show))
        parts = ", ".join(
            f"{name} {NO_VALUE if drift is None else f'{drift:+.1f} %'}"
            for name, drift in drifts(slices).items()
        )
        click.echo(f"\nDrift, last third against first third: {parts}.")
