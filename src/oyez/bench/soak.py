"""One session, fed for hours: whether time and memory stay flat."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from oyez.audio.pcm import Samples
from oyez.bench.load import FINISH, encode, open_session
from oyez.bench.long_session import LongSession
from oyez.bench.manifest import Clip
from oyez.bench.meter import Meter, Reading
from oyez.bench.paced import PACKET_S, PACKET_SAMPLES
from oyez.bench.voices import Mode, noise_source, pieces, plan_source, rotation, sound

SLICES = 10
MARK_PACKETS = 50
MARKS_ON_THE_WAY = 3
"""So at most 20 s of audio are between us and the session."""
WARM_UP_S = 120.0


@dataclass(frozen=True, slots=True)
class Options:
    audio_s: float
    speed: float
    """Times real time; 0: as fast as the server takes it."""
    mode: Mode

    @property
    def slice_s(self) -> float:
        return self.audio_s / SLICES

    @property
    def warm_up_s(self) -> float:
        """Fed before anything is measured."""
        return min(WARM_UP_S, self.slice_s)


@dataclass(frozen=True, slots=True)
class Slice:
    """A tenth of the audio."""

    audio_s: float
    """Fed when it ended, without the warm-up."""
    elapsed_s: float
    """How long this slice took."""
    cpu_per_minute_s: float | None
    """CPU of the server for a minute of audio; None: not our server."""
    rss_bytes: int | None
    finals_ms: tuple[float, ...]
    """From `speech_stopped` to `completed`, of every turn that ended."""
    failed: int
    own_rss_bytes: int

    @property
    def final_ms(self) -> float | None:
        return float(np.mean(self.finals_ms)) if self.finals_ms else None


@dataclass(slots=True)
class Soak:
    """meter: the server's process, where it is ours to watch. own: this one."""

    options: Options
    meter: Meter | None
    own: Meter
    slices: list[Slice] = field(default_factory=list)

    async def run(
        self,
        url: str,
        key: str | None,
        clips: Sequence[Clip],
        show: Callable[[Slice], None],
    ) -> None:
        """Feed a session with clips of one language; show each slice as it ends.

        Raises RuntimeError if the session breaks or a clip cannot be read, TimeoutError, OSError
        or aiohttp.ClientError.
        """
        async with aiohttp.ClientSession() as http:
            socket = await open_session(http, url, key, clips[0].language)
            session = LongSession(socket)
            listener = asyncio.create_task(session.listen())
            feeder = asyncio.create_task(self._feed(session, clips, show))
            try:
                # whichever fails first; a feeder without a listener would wait in vain
                await asyncio.wait([listener, feeder], return_when=asyncio.FIRST_EXCEPTION)
                for task in (listener, feeder):
                    if task.done():
                        task.result()
            finally:
                listener.cancel()
                feeder.cancel()
                await asyncio.gather(listener, feeder, return_exceptions=True)
                await socket.close()

    async def _feed(
        self, session: LongSession, clips: Sequence[Clip], show: Callable[[Slice], None]
    ) -> None:
        feeder = Feeder(session, sounds(clips, self.options.mode), self.options.speed)
        await feeder.feed(self.options.warm_up_s)
        session.take_finals()
        before = self._read()
        for number in range(1, SLICES + 1):
            await feeder.feed(self.options.slice_s)
            after = self._read()
            self.slices.append(self._slice(number, before, after, session))
            show(self.slices[-1])
            before = after
        await session.send(FINISH)

    def _read(self) -> Reading:
        """Without a server of our own, only the time counts."""
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
    """The first stream of a load test, going on for ever: a clip, a pause, a clip, …"""
    random = noise_source(0)
    turned = rotation(0, clips)
    for piece in pieces(clips, mode, plan_source(0, mode)):
        yield sound(piece, random, turned)


class Feeder:
    """Sends packets at `speed` times real time by a clock that does not drift."""

    def __init__(self, session: LongSession, endless: Iterator[Samples], speed: float) -> None:
        self._session = session
        self._endless = endless
        self._speed = speed
        self._left: Samples = np.zeros(0, np.float32)
        self._packets: deque[str] = deque()
        self._sent = 0
        self._began_s = time.perf_counter()

    async def feed(self, audio_s: float) -> None:
        """Send so much, then wait until the server is through with it."""
        for _ in range(round(audio_s / PACKET_S)):
            if not self._packets:
                await asyncio.to_thread(self._make)
            await self._pace()
            await self._session.send(self._packets.popleft())
            self._sent += 1
            if self._sent % MARK_PACKETS == 0:
                await self._session.mark(MARKS_ON_THE_WAY)
        await self._session.settle()

    async def _pace(self) -> None:
        if self._speed:
            due_s = self._began_s + (self._sent + 1) * PACKET_S / self._speed
            await asyncio.sleep(due_s - time.perf_counter())

    def _make(self) -> None:
        """At least one more packet."""
        while len(self._left) < PACKET_SAMPLES:
            self._left = np.concatenate([self._left, next(self._endless)])
        whole = len(self._left) // PACKET_SAMPLES * PACKET_SAMPLES
        self._packets.extend(encode(self._left[:whole]))
        self._left = self._left[whole:].copy()  # a view would keep the whole clip
