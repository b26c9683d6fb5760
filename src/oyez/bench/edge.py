"""What the server costs without recognition: connections, messages, memory of a session."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.load import connections, encode, target
from oyez.bench.meter import Meter
from oyez.bench.report import format_table
from oyez.bench.voices import noise
from oyez.client import ErrorEvent, Event, Session, SessionOptions, Updated, open_session

CONNECTING_S = 3.0
CONNECTING_TASKS = 8
MESSAGE_SESSIONS = 4
MESSAGES = 3000
"""The messages of each session."""
IDLE_SESSIONS = 500
OPENING_AT_ONCE = 32
AUDIO_S = 1.0
SETTLING_S = 1.0
LAST = json.dumps({"type": "session.update", "event_id": "last", "session": {}})
"""The server answers this with an error when it has dealt with all messages before it."""
MANUAL = json.dumps({"type": "session.update", "session": {"turn_detection": None}})
KIBIBYTE = 1 << 10


@dataclass(frozen=True, slots=True)
class EdgeCost:
    """What the server's process spends."""

    connections_per_s: float
    """Connections that were opened, got their session, and were closed."""
    connection_cpu_ms: float
    """Processor time for one of these."""
    manual_message_us: float
    """Processor time for an append of 100 ms in manual mode."""
    vad_message_us: float
    """Processor time for an append of 100 ms in server VAD mode."""
    idle_session_kb: float
    """Resident memory of a session without audio, in KiB."""
    fed_session_kb: float
    """Resident memory of a session that has had AUDIO_S of audio, in KiB."""


async def measure(url: str, key: str | None, meter: Meter) -> EdgeCost:
    """Measure a server that has just been started. Raises one of load.UNREACHABLE."""
    async with connections() as http:
        edge = _Measurement(http, url, key, meter)
        idle_kb, fed_kb = await edge.memory()
        rate, connection_ms = await edge.connections()
        return EdgeCost(
            rate,
            connection_ms,
            await edge.message_us(manual=True),
            await edge.message_us(manual=False),
            idle_kb,
            fed_kb,
        )


def report(edge: EdgeCost) -> str:
    """Return the table as Markdown."""
    rows: list[list[object]] = [
        ["connections per second, one after another in 8 places", round(edge.connections_per_s)],
        ["server CPU for a connection, ms", f"{edge.connection_cpu_ms:.2f}"],
        ["server CPU for 100 ms of audio, manual mode, µs", round(edge.manual_message_us)],
        ["… messages per second and core", round(1e6 / edge.manual_message_us)],
        ["server CPU for 100 ms of audio, server VAD, µs", round(edge.vad_message_us)],
        ["… messages per second and core", round(1e6 / edge.vad_message_us)],
        ["memory of an idle session, KiB", round(edge.idle_session_kb)],
        ["memory of a session after 1 s of audio, KiB", round(edge.fed_session_kb)],
    ]
    return format_table(["edge alone", ""], rows)


@dataclass(frozen=True, slots=True)
class _Measurement:
    http: aiohttp.ClientSession
    url: str
    key: str | None
    meter: Meter

    async def memory(self) -> tuple[float, float]:
        """Return the KiB of a session without audio, and of one with audio."""
        packets = encode(noise(round(AUDIO_S * SAMPLE_RATE), np.random.default_rng(0)))
        async with self._sessions(1) as sessions:  # what is made only once belongs to no session
            await _send_and_wait(sessions[0], packets)
        before = self.meter.read().rss_bytes
        async with self._sessions(IDLE_SESSIONS) as sessions:
            await asyncio.sleep(SETTLING_S)
            idle = self.meter.read().rss_bytes
            for session in sessions:
                await _send_and_wait(session, packets)
            await asyncio.sleep(SETTLING_S)
            fed = self.meter.read().rss_bytes
        per_session = KIBIBYTE * IDLE_SESSIONS
        return (idle - before) / per_session, (fed - before) / per_session

    async def connections(self) -> tuple[float, float]:
        """Return the connections per second, and the CPU milliseconds of each."""
        before = self.meter.read()
        until_s = time.perf_counter() + CONNECTING_S
        tasks = (self._connect_until(until_s) for _ in range(CONNECTING_TASKS))
        count = sum(await asyncio.gather(*tasks))
        after = self.meter.read()
        return count / (after.at_s - before.at_s), 1000 * (after.cpu_s - before.cpu_s) / count

    async def message_us(self, *, manual: bool) -> float:
        """Return the CPU microseconds for each message."""
        (packet,) = encode(noise(SAMPLE_RATE // 10, np.random.default_rng(0)))
        async with self._sessions(MESSAGE_SESSIONS) as sessions:
            for session in sessions:
                if manual:
                    await session.send_message(MANUAL)
                    await _until(session, Updated)
                await _send_and_wait(session, [packet])
            before = self.meter.read()
            sending = (_send_and_wait(session, [packet] * MESSAGES) for session in sessions)
            await asyncio.gather(*sending)
            after = self.meter.read()
        return 1e6 * (after.cpu_s - before.cpu_s) / (MESSAGE_SESSIONS * MESSAGES)

    async def _connect_until(self, until_s: float) -> int:
        count = 0
        while time.perf_counter() < until_s:
            async with open_session(target(self.url, self.key), SessionOptions(), self.http):
                count += 1
        return count

    @asynccontextmanager
    async def _sessions(self, count: int) -> AsyncIterator[list[Session]]:
        places = asyncio.Semaphore(OPENING_AT_ONCE)
        server = target(self.url, self.key)
        async with AsyncExitStack() as stack:

            async def open_one() -> Session:
                async with places:
                    return await stack.enter_async_context(
                        open_session(server, SessionOptions(), self.http)
                    )

            yield await asyncio.gather(*(open_one() for _ in range(count)))


async def _send_and_wait(session: Session, packets: Sequence[str]) -> None:
    """Send packets, and wait until the server has dealt with them."""
    for packet in packets:
        await session.send_message(packet)
    await session.send_message(LAST)
    await _until(session, ErrorEvent)


async def _until(session: Session, kind: type[Event]) -> None:
    async with asyncio.timeout(60):
        while not isinstance((await session.next_event())[0], kind):
            pass
