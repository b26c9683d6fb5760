"""What the server costs without recognition: connections, messages, memory of a session."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.bench.load import encode, open_session
from oyez.bench.meter import Meter
from oyez.bench.report import format_table
from oyez.bench.voices import noise

CONNECTING_S = 3.0
CONNECTING_TASKS = 8
MESSAGE_SESSIONS = 4
MESSAGES = 3000
"""In each session."""
IDLE_SESSIONS = 500
OPENING_AT_ONCE = 32
HEARD_S = 1.0
SETTLING_S = 1.0
LAST = json.dumps({"type": "session.update", "event_id": "last", "session": {}})
"""The server answers it, with an error or not, when it has dealt with all before it."""
MANUAL = json.dumps({"type": "session.update", "session": {"turn_detection": None}})
KIBIBYTE = 1 << 10


@dataclass(frozen=True, slots=True)
class Edge:
    connections_per_s: float
    """Opened, `session.created` read, closed."""
    connection_cpu_ms: float
    """Of the server."""
    manual_message_us: float
    """CPU of the server for an append of 100 ms in manual mode: no voice activity detection."""
    vad_message_us: float
    """… in server VAD mode."""
    idle_session_kb: float
    """Resident memory."""
    heard_session_kb: float
    """… of a session that has had HEARD_S of audio."""


async def measure(url: str, key: str | None, meter: Meter) -> Edge:
    """Of a server that has just been started. Raises one of load.UNREACHABLE."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        edge = _Measurement(http, url, key, meter)
        idle_kb, heard_kb = await edge.memory()
        rate, connection_ms = await edge.connections()
        return Edge(
            rate,
            connection_ms,
            await edge.message_us(manual=True),
            await edge.message_us(manual=False),
            idle_kb,
            heard_kb,
        )


def report(edge: Edge) -> str:
    """The table, as Markdown."""
    rows: list[list[object]] = [
        ["connections per second, one after another in 8 places", round(edge.connections_per_s)],
        ["server CPU for a connection, ms", f"{edge.connection_cpu_ms:.2f}"],
        ["server CPU for 100 ms of audio, manual mode, µs", round(edge.manual_message_us)],
        ["… messages per second and core", round(1e6 / edge.manual_message_us)],
        ["server CPU for 100 ms of audio, server VAD, µs", round(edge.vad_message_us)],
        ["… messages per second and core", round(1e6 / edge.vad_message_us)],
        ["memory of an idle session, KiB", round(edge.idle_session_kb)],
        ["memory of a session after 1 s of audio, KiB", round(edge.heard_session_kb)],
    ]
    return format_table(["edge alone", ""], rows)


@dataclass(frozen=True, slots=True)
class _Measurement:
    http: aiohttp.ClientSession
    url: str
    key: str | None
    meter: Meter

    async def memory(self) -> tuple[float, float]:
        """KiB of a session: idle, and when it has heard something."""
        packets = encode(noise(round(HEARD_S * SAMPLE_RATE), np.random.default_rng(0)))
        async with self._sessions(1) as sockets:  # what is made once is no session's
            await _say(sockets[0], packets)
        before = self.meter.read().rss_bytes
        async with self._sessions(IDLE_SESSIONS) as sockets:
            await asyncio.sleep(SETTLING_S)
            idle = self.meter.read().rss_bytes
            for socket in sockets:
                await _say(socket, packets)
            await asyncio.sleep(SETTLING_S)
            heard = self.meter.read().rss_bytes
        per_session = KIBIBYTE * IDLE_SESSIONS
        return (idle - before) / per_session, (heard - before) / per_session

    async def connections(self) -> tuple[float, float]:
        """Per second, and CPU milliseconds of each."""
        before = self.meter.read()
        until_s = time.perf_counter() + CONNECTING_S
        tasks = (self._connect_until(until_s) for _ in range(CONNECTING_TASKS))
        count = sum(await asyncio.gather(*tasks))
        after = self.meter.read()
        return count / (after.at_s - before.at_s), 1000 * (after.cpu_s - before.cpu_s) / count

    async def message_us(self, *, manual: bool) -> float:
        """CPU microseconds for each message."""
        (packet,) = encode(noise(SAMPLE_RATE // 10, np.random.default_rng(0)))
        async with self._sessions(MESSAGE_SESSIONS) as sockets:
            for socket in sockets:
                if manual:
                    await socket.send_str(MANUAL)
                    await _until(socket, "session.updated")
                await _say(socket, [packet])
            before = self.meter.read()
            await asyncio.gather(*(_say(socket, [packet] * MESSAGES) for socket in sockets))
            after = self.meter.read()
        return 1e6 * (after.cpu_s - before.cpu_s) / (MESSAGE_SESSIONS * MESSAGES)

    async def _connect_until(self, until_s: float) -> int:
        count = 0
        while time.perf_counter() < until_s:
            socket = await open_session(self.http, self.url, self.key, None)
            await _until(socket, "session.created")
            await socket.close()
            count += 1
        return count

    @asynccontextmanager
    async def _sessions(self, count: int) -> AsyncIterator[list[aiohttp.ClientWebSocketResponse]]:
        places = asyncio.Semaphore(OPENING_AT_ONCE)

        async def open_one() -> aiohttp.ClientWebSocketResponse:
            async with places:
                socket = await open_session(self.http, self.url, self.key, None)
                await _until(socket, "session.created")
                return socket

        sockets = await asyncio.gather(*(open_one() for _ in range(count)))
        try:
            yield sockets
        finally:
            await asyncio.gather(*(socket.close() for socket in sockets))


async def _say(socket: aiohttp.ClientWebSocketResponse, packets: list[str]) -> None:
    """Send, and wait until the server has dealt with it."""
    for packet in packets:
        await socket.send_str(packet)
    await socket.send_str(LAST)
    await _until(socket, "error")


async def _until(socket: aiohttp.ClientWebSocketResponse, event_type: str) -> None:
    async with asyncio.timeout(60):
        while (await socket.receive_json())["type"] != event_type:
            pass
