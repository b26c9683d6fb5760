"""One session that is fed for hours: whether its time and memory stay flat."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from statistics import fmean
from typing import Any

import numpy as np

from oyez.audio.pcm import Samples
from oyez.bench.load import FINISH, PACKET_S, PACKET_SAMPLES, encode, target
from oyez.bench.manifest import Clip
from oyez.bench.meter import Meter, Reading
from oyez.bench.report import machine_line, row_head, row_line
from oyez.bench.voices import Mode, noise_source, pieces, plan_source, rotation, sound
from oyez.client import (
    ErrorEvent,
    Event,
    Failed,
    Final,
    Session,
    SessionOptions,
    Stopped,
    Updated,
    open_session,
)

SLICES = 10
MARK_PACKETS = 50
MAX_OPEN_MARKS = 3
"""At most 20 s of audio are between the client and the session."""
WARM_UP_S = 120.0
ANSWER_TIMEOUT_S = 300.0
MARK = "mark"
MEBIBYTE = 1 << 20
COLUMNS = {
    "audio min": 9, "speed": 6, "CPU s/min": 9, "RSS MB": 7, "final ms": 8, "turns": 6,
    "failed": 6, "own RSS MB": 10,
}  # fmt: skip
"""The name and the least width of each column; docs/performance.md explains them."""
_MARK_MESSAGE = json.dumps({"type": "session.update", "event_id": MARK, "session": {}})


@dataclass(frozen=True, slots=True)
class Options:
    """What is fed to the session, and how fast."""

    audio_s: float
    speed: float
    """Times real time; 0 means as fast as the server takes it."""
    mode: Mode

    @property
    def slice_s(self) -> float:
        """The length of a tenth of the audio."""
        return self.audio_s / SLICES

    @property
    def warm_up_s(self) -> float:
        """The length of the audio that is fed before anything is measured."""
        return min(WARM_UP_S, self.slice_s)


@dataclass(frozen=True, slots=True)
class Slice:
    """What a tenth of the audio cost."""

    audio_s: float
    """The audio that was fed by its end, without the warm-up."""
    elapsed_s: float
    """How long this slice took."""
    cpu_per_minute_s: float | None
    """The server's processor time for a minute of audio; None if it is another's server."""
    rss_bytes: int | None
    finals_ms: tuple[float, ...]
    """The time from `speech_stopped` to `completed` of every turn that ended."""
    failed: int
    own_rss_bytes: int

    @property
    def final_ms(self) -> float | None:
        """The mean of `finals_ms`; None without finals."""
        return float(np.mean(self.finals_ms)) if self.finals_ms else None


class LongSession:
    """The client of a session that lasts for hours. It keeps little, and never runs far ahead.

    A mark is a `session.update` among the packets. The server answers it when it gets there, with
    an error because audio has begun, which shows the client how far the server is.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._open_marks = 0
        self._changed = asyncio.Event()
        self._stopped_s: dict[str, float] = {}
        self._finals_ms: list[float] = []
        self._failed = 0

    async def send(self, message: str) -> None:
        """Send one message that is JSON already. Raises ClientError."""
        await self._session.send_message(message)

    async def mark(self, max_open: int) -> None:
        """Send a mark, then wait until at most `max_open` are unanswered. Raises TimeoutError."""
        self._open_marks += 1
        await self.send(_MARK_MESSAGE)
        await self._until(lambda: self._open_marks <= max_open)

    async def settle(self) -> None:
        """Wait until all audio was read and every turn that ended has its final, so that no work
        for it remains. Raises TimeoutError."""
        await self.mark(0)
        await self._until(lambda: not self._stopped_s)

    async def receive(self) -> None:
        """Read events up to `session.finished`.

        Raises RuntimeError if the server refuses a message, ClientError if it ends the session.
        """
        async for event, _ in self._session.events():
            self._take(event, time.perf_counter())

    def take_finals(self) -> tuple[tuple[float, ...], int]:
        """Return what came since the last call: the milliseconds from `speech_stopped` to
        `completed` of every turn, and how many turns failed."""
        taken = tuple(self._finals_ms), self._failed
        self._finals_ms, self._failed = [], 0
        return taken

    async def _until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            while not condition():
                self._changed.clear()
                await self._changed.wait()

    def _take(self, event: Event, at_s: float) -> None:
        self._changed.set()
        match event:
            case Stopped(item_id):
                self._stopped_s[item_id] = at_s
            case Final(item_id):
                self._finals_ms.append(1000 * (at_s - self._stopped_s.pop(item_id, at_s)))
            case Failed(item_id):
                self._stopped_s.pop(item_id, None)
                self._failed += 1
            case Updated():
                self._open_marks -= 1
            case ErrorEvent(error) if error.event_id == MARK:
                self._open_marks -= 1
            case ErrorEvent(error):
                raise RuntimeError(error.message)
            case _:
                pass


@dataclass(slots=True)
class Soak:
    """A session that is fed for hours, and what each tenth of it cost."""

    options: Options
    meter: Meter | None
    """Reads the server's process, if the benchmark started it."""
    own: Meter
    """Reads this process."""
    slices: list[Slice] = field(default_factory=list)

    async def run(
        self, url: str, key: str | None, clips: Sequence[Clip], show: Callable[[Slice], None]
    ) -> None:
        """Feed a session with clips of one language; show each slice as it ends.

        Raises RuntimeError if a message is refused or a clip cannot be read, ClientError if the
        session breaks, and TimeoutError.
        """
        async with open_session(target(url, key), SessionOptions(clips[0].language)) as opened:
            session = LongSession(opened)
            receiver = asyncio.create_task(session.receive())
            feeder = asyncio.create_task(self._feed(session, clips, show))
            try:
                # The first failure ends both: a feeder without a receiver would wait in vain.
                await asyncio.wait([receiver, feeder], return_when=asyncio.FIRST_EXCEPTION)
                for task in (receiver, feeder):
                    if task.done():
                        task.result()
            finally:
                receiver.cancel()
                feeder.cancel()
                await asyncio.gather(receiver, feeder, return_exceptions=True)

    async def _feed(
        self, session: LongSession, clips: Sequence[Clip], show: Callable[[Slice], None]
    ) -> None:
        packets = PacketSource(session, sounds(clips, self.options.mode), self.options.speed)
        await packets.feed(self.options.warm_up_s)
        session.take_finals()
        before = self._read()
        for number in range(1, SLICES + 1):
            await packets.feed(self.options.slice_s)
            after = self._read()
            self.slices.append(self._slice(number, before, after, session))
            show(self.slices[-1])
            before = after
        await session.send(FINISH)

    def _read(self) -> Reading:
        """Without a server of the benchmark's own, only the time of the reading is used."""
        return self.meter.read() if self.meter else self.own.read()

    def _slice(self, number: int, before: Reading, after: Reading, session: LongSession) -> Slice:
        finals_ms, failed = session.take_finals()
        cpu_s = (after.cpu_s - before.cpu_s) * 60 / self.options.slice_s
        return Slice(
            audio_s=number * self.options.slice_s,
            elapsed_s=after.at_s - before.at_s,
            cpu_per_minute_s=cpu_s if self.meter else None,
            rss_bytes=after.rss_bytes if self.meter else None,
            finals_ms=finals_ms,
            failed=failed,
            own_rss_bytes=self.own.read().rss_bytes,
        )


def sounds(clips: Sequence[Clip], mode: Mode) -> Iterator[Samples]:
    """Yield what stream 0 of a load test says, clip and pause by turns, without an end."""
    random = noise_source(0)
    turned = rotation(0, clips)
    for piece in pieces(clips, mode, plan_source(0, mode)):
        yield sound(piece, random, turned)


class PacketSource:
    """Makes packets of endless audio and sends them by a clock that does not drift.

    speed: times real time; 0 means as fast as the server takes them.
    """

    def __init__(self, session: LongSession, endless: Iterator[Samples], speed: float) -> None:
        self._session = session
        self._endless = endless
        self._speed = speed
        self._left: Samples = np.zeros(0, np.float32)
        self._packets: deque[str] = deque()
        self._sent = 0
        self._began_s = time.perf_counter()

    async def feed(self, audio_s: float) -> None:
        """Send so much audio, then wait until the server has dealt with it."""
        for _ in range(round(audio_s / PACKET_S)):
            if not self._packets:
                await asyncio.to_thread(self._make)
            await self._pace()
            await self._session.send(self._packets.popleft())
            self._sent += 1
            if self._sent % MARK_PACKETS == 0:
                await self._session.mark(MAX_OPEN_MARKS)
        await self._session.settle()

    async def _pace(self) -> None:
        if self._speed:
            due_s = self._began_s + (self._sent + 1) * PACKET_S / self._speed
            await asyncio.sleep(due_s - time.perf_counter())

    def _make(self) -> None:
        """Make at least one more packet."""
        while len(self._left) < PACKET_SAMPLES:
            self._left = np.concatenate([self._left, next(self._endless)])
        whole = len(self._left) // PACKET_SAMPLES * PACKET_SAMPLES
        self._packets.extend(encode(self._left[:whole]))
        self._left = self._left[whole:].copy()  # a view would keep the whole clip in memory


def head() -> str:
    """Return the first two lines of the table."""
    return row_head(COLUMNS)


def row(one: Slice, slice_s: float) -> str:
    """Return the line of one slice of `slice_s` seconds of audio."""
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


def summary(slices: Sequence[Slice]) -> str:
    """Return the last line of the report."""
    parts = ", ".join(
        f"{name} {'–' if drift is None else f'{drift:+.1f} %'}"
        for name, drift in drifts(slices).items()
    )
    return f"Drift, last third against first third: {parts}."


def as_json(options: Options, slices: Sequence[Slice]) -> dict[str, Any]:
    """Return everything that was measured."""
    return {
        "machine": machine_line(),
        "options": asdict(options),
        "slices": [asdict(one) for one in slices],
        "drift_percent": drifts(slices),
    }


def _shown(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
