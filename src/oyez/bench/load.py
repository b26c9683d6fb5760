"""Clients for many streams at once, cheap enough not to disturb what they measure.

Every packet is encoded before the clock starts and is due at a fixed time: a late packet does
not delay those after it.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import msgspec
import numpy as np

from oyez.audio.pcm import Samples
from oyez.bench.paced import PACKET_S, PACKET_SAMPLES, Recording

FINISH = '{"type":"session.finish"}'
FINISH_TIMEOUT_S = 60.0
OPENING_S = 0.3
"""Between the last session's opening and the earliest start."""
UNPACED_TIMEOUT_S = 120.0
"""Without any event; a server that works on what it has says something now and then."""
CLOSED_EARLY = "the server closed before session.finished"
UNREACHABLE = (aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Stream:
    """A session's worth of messages, ready to send."""

    number: int
    language: str | None
    offset_s: float
    packets: Sequence[str]

    @property
    def audio_s(self) -> float:
        return len(self.packets) * PACKET_S


@dataclass(slots=True)
class Take:
    """One stream, once streamed, as its client saw it."""

    stream: Stream
    recording: Recording
    late_ms: list[float] = field(default_factory=list)
    """How much later than due, and than the connection was free, each packet was sent: the
    load generator's own fault."""
    broken: str | None = None
    """Why the session did not reach `session.finished`."""


def encode(samples: Samples) -> list[str]:
    """Float32 [n], 16 kHz, as append messages of 100 ms."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    return [
        append(pcm[at : at + PACKET_SAMPLES].tobytes()) for at in range(0, len(pcm), PACKET_SAMPLES)
    ]


def append(pcm: bytes) -> str:
    """Little-endian PCM16 as one append message."""
    audio = base64.b64encode(pcm).decode()
    return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'


async def open_session(
    http: aiohttp.ClientSession, url: str, key: str | None, language: str | None
) -> aiohttp.ClientWebSocketResponse:
    """A new session that asks for `language`. Raises one of UNREACHABLE."""
    headers = {"Authorization": f"Bearer {key or 'bench'}"}
    socket = await http.ws_connect(url, headers=headers, max_msg_size=0)
    if language:
        asked = {"input_audio_transcription": {"language": language}}
        await socket.send_str(json.dumps({"type": "session.update", "session": asked}))
    return socket


async def stream_all(url: str, key: str | None, streams: Sequence[Stream]) -> list[Take]:
    """All streams at once at real-time pace, each from its own offset on. Never raises for what
    server or network do: that is in the takes."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector) as http:
        opened = await asyncio.gather(*(_try_to_open(http, url, key, one) for one in streams))
        earliest_s = min(one.offset_s for one in streams)
        begin_s = time.perf_counter() + OPENING_S - earliest_s
        takes = [Take(one, Recording(begin_s + one.offset_s)) for one in streams]
        async with asyncio.TaskGroup() as group:
            for take, socket in zip(takes, opened, strict=True):
                if isinstance(socket, str):
                    take.broken = socket
                else:
                    group.create_task(_converse(socket, take, paced=True))
        return takes


async def feed(url: str, key: str | None, stream: Stream) -> Take:
    """One stream alone, as fast as the server takes it. Never raises, as `stream_all`."""
    take = Take(stream, Recording(time.perf_counter()))
    async with aiohttp.ClientSession() as http:
        socket = await _try_to_open(http, url, key, stream)
        if isinstance(socket, str):
            take.broken = socket
        else:
            await _converse(socket, take, paced=False)
    return take


async def _try_to_open(
    http: aiohttp.ClientSession, url: str, key: str | None, stream: Stream
) -> aiohttp.ClientWebSocketResponse | str:
    try:
        return await open_session(http, url, key, stream.language)
    except UNREACHABLE as error:
        return _reason(error)


async def _converse(socket: aiohttp.ClientWebSocketResponse, take: Take, *, paced: bool) -> None:
    sender = asyncio.create_task(_send(socket, take, paced=paced))
    try:
        await (_receive_paced(socket, take) if paced else _receive(socket, take, UNPACED_TIMEOUT_S))
    except UNREACHABLE as error:
        take.broken = _reason(error)
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)
        await socket.close()


async def _send(socket: aiohttp.ClientWebSocketResponse, take: Take, *, paced: bool) -> None:
    began_s = take.recording.began_s
    free_s = 0.0
    for number, packet in enumerate(take.stream.packets, start=1):
        if paced:
            due_s = began_s + number * PACKET_S
            await asyncio.sleep(due_s - time.perf_counter())
            take.late_ms.append(1000 * (time.perf_counter() - max(due_s, free_s)))
        await socket.send_str(packet)
        free_s = time.perf_counter()
    await socket.send_str(FINISH)


async def _receive_paced(socket: aiohttp.ClientWebSocketResponse, take: Take) -> None:
    until_s = take.recording.began_s + take.stream.audio_s + FINISH_TIMEOUT_S
    async with asyncio.timeout(until_s - time.perf_counter()):
        await _receive(socket, take, None)


async def _receive(
    socket: aiohttp.ClientWebSocketResponse, take: Take, quiet_s: float | None
) -> None:
    """Until the session ends. Raises TimeoutError after so long without an event."""
    while True:
        async with asyncio.timeout(quiet_s):
            message = await socket.receive()
        at_s = time.perf_counter()
        if message.type is not aiohttp.WSMsgType.TEXT:
            take.broken = f"{CLOSED_EARLY}: {socket.close_code}"
            return
        event = msgspec.json.decode(message.data)
        take.recording.events.append((at_s, event))
        if event["type"] == "error":
            take.broken = event["error"]["message"]
            return
        if event["type"] == "session.finished":
            return


def _reason(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()
