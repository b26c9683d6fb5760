"""What the server costs without recognition: connections, messages, memory of a session."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import aiohttp
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.clips import noise, packets
from oyez.bench.load import connections, feed
from oyez.bench.server import Meter, Server
from oyez.client import Session, SessionOptions, Target, open_session

CONNECTING_S = 3.0
CONNECTING_TASKS = 8
MESSAGE_SESSIONS = 4
MESSAGES = 3000
"""The messages of each session."""
IDLE_SESSIONS = 500
OPENING_AT_ONCE = 32
SETTLING_S = 1.0
MANUAL = json.dumps({"type": "session.update", "session": {"turn_detection": None}})
SECOND = packets(noise(SAMPLE_RATE, np.random.default_rng(0)))
"""A second of soft noise, as packets."""


async def measure(server: Server) -> dict[str, float]:
    """Return what the server spends, by what it is spent on. The server has just been started.

    Raises ClientError, TimeoutError.
    """
    async with connections() as http:
        edge = _Edge(http, server.target, Meter(server.pid))
        idle_kb, fed_kb = await edge.memory_kb()
        rate, connection_ms = await edge.connections()
        manual_us, vad_us = await edge.message_us(manual=True), await edge.message_us(manual=False)
    return {
        "connections per second, one after another in 8 places": round(rate),
        "server CPU for a connection, ms": round(connection_ms, 2),
        "server CPU for 100 ms of audio, manual mode, µs": round(manual_us),
        "… messages per second and core, manual mode": round(1e6 / manual_us),
        "server CPU for 100 ms of audio, server VAD, µs": round(vad_us),
        "… messages per second and core, server VAD": round(1e6 / vad_us),
        "memory of an idle session, KiB": round(idle_kb),
        "memory of a session after 1 s of audio, KiB": round(fed_kb),
    }


@dataclass(frozen=True, slots=True)
class _Edge:
    http: aiohttp.ClientSession
    target: Target
    meter: Meter

    async def memory_kb(self) -> tuple[float, float]:
        """Return the resident KiB of a session without audio, and of one with a second of it."""
        async with self._sessions(1) as sessions:  # what is made only once belongs to no session
            await feed(sessions[0], SECOND)
        before = self.meter.read()
        async with self._sessions(IDLE_SESSIONS) as sessions:
            await asyncio.sleep(SETTLING_S)
            idle = self.meter.read() - before
            for session in sessions:
                await feed(session, SECOND)
            await asyncio.sleep(SETTLING_S)
            fed = self.meter.read() - before
        return idle.rss_bytes / 1024 / IDLE_SESSIONS, fed.rss_bytes / 1024 / IDLE_SESSIONS

    async def connections(self) -> tuple[float, float]:
        """Open connections that get their session and are closed. Returns how many per second, and
        the CPU milliseconds of each."""
        before = self.meter.read()
        until_s = time.perf_counter() + CONNECTING_S

        async def connect() -> int:
            count = 0
            while time.perf_counter() < until_s:
                async with open_session(self.target, SessionOptions(), self.http):
                    count += 1
            return count

        count = sum(await asyncio.gather(*(connect() for _ in range(CONNECTING_TASKS))))
        used = self.meter.read() - before
        return count / used.at_s, 1000 * used.cpu_s / count

    async def message_us(self, *, manual: bool) -> float:
        """Return the CPU microseconds for an append of 100 ms."""
        async with self._sessions(MESSAGE_SESSIONS) as sessions:
            for session in sessions:
                if manual:
                    await session.send_message(MANUAL)
                    await session.next_event()
                await feed(session, SECOND[:1])
            before = self.meter.read()
            await asyncio.gather(*(feed(each, SECOND[:1] * MESSAGES) for each in sessions))
            used = self.meter.read() - before
        return 1e6 * used.cpu_s / (MESSAGE_SESSIONS * MESSAGES)

    @asynccontextmanager
    async def _sessions(self, count: int) -> AsyncIterator[list[Session]]:
        places = asyncio.Semaphore(OPENING_AT_ONCE)
        async with AsyncExitStack() as stack:

            async def open_one() -> Session:
                async with places:
                    session = open_session(self.target, SessionOptions(), self.http)
                    return await stack.enter_async_context(session)

            yield await asyncio.gather(*(open_one() for _ in range(count)))
