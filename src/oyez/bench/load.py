"""Clients for many streams at once, cheap enough not to disturb what they measure.

Every packet is encoded before the clock starts and is due at a fixed time, so a late packet does
not delay those after it.
"""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp
import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.client import (
    ClientError,
    ErrorEvent,
    Event,
    Finished,
    Session,
    SessionOptions,
    Target,
    open_session,
)

PACKET_S = 0.1
PACKET_SAMPLES = round(PACKET_S * SAMPLE_RATE)
FINISH = '{"type":"session.finish"}'
FINISH_TIMEOUT_S = 60.0
OPENING_TIMEOUT_S = 60.0
OPENING_S = 0.3
"""The time between the opening of the last session and the earliest start."""
UNPACED_TIMEOUT_S = 120.0
"""The longest time without an event. A server that works on audio sends one now and then."""
UNREACHABLE = (ClientError, aiohttp.ClientError, OSError, TimeoutError)


@dataclass(frozen=True, slots=True)
class Stream:
    """The messages of one session, ready to send."""

    number: int
    language: str | None
    offset_s: float
    packets: Sequence[str]

    @property
    def audio_s(self) -> float:
        """The length of the audio."""
        return len(self.packets) * PACKET_S


@dataclass(frozen=True, slots=True)
class Recording:
    """The events of one session, with the time at which each was received."""

    began_s: float
    """The time of the first sample, on the clock of `time.perf_counter`."""
    events: list[tuple[float, Event]] = field(default_factory=list)

    def sent_s(self, audio_ms: float) -> float:
        """Return when the sample at this audio time was sent: at the end of its packet."""
        packets = int(audio_ms / 1000 / PACKET_S) + 1
        return self.began_s + packets * PACKET_S


@dataclass(slots=True)
class Take:
    """A stream that was sent, and what came back."""

    stream: Stream
    recording: Recording
    late_ms: list[float] = field(default_factory=list)
    """For each packet, how much later it was sent than it was due and the connection was free.
    This is the fault of the load generator."""
    broken: str | None = None
    """Why the session did not reach `session.finished`; None if it did."""


def encode(samples: Samples) -> list[str]:
    """Encode float32 [n], 16 kHz, as append messages of 100 ms."""
    pcm = (np.clip(samples, -1, 1) * 32767).astype("<i2")
    return [
        append_message(pcm[at : at + PACKET_SAMPLES].tobytes())
        for at in range(0, len(pcm), PACKET_SAMPLES)
    ]


def append_message(pcm: bytes) -> str:
    """Encode little-endian PCM16 as one append message."""
    audio = base64.b64encode(pcm).decode()
    return f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}'


@asynccontextmanager
async def connections() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client that may open any number of connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield http


def target(url: str, key: str | None) -> Target:
    """Return the server at `url` as sessions of a benchmark use it."""
    return Target(url, key or "bench")


async def stream_all(url: str, key: str | None, streams: Sequence[Stream]) -> list[Take]:
    """Send all streams at once at real-time pace, each from its own offset.

    Faults of the server and the network are not raised: they are in the takes.
    """
    async with connections() as http, AsyncExitStack() as stack:
        server = target(url, key)
        opened = await asyncio.gather(*(_try_to_open(stack, http, server, one) for one in streams))
        earliest_s = min(one.offset_s for one in streams)
        begin_s = time.perf_counter() + OPENING_S - earliest_s
        takes = [Take(one, Recording(begin_s + one.offset_s)) for one in streams]
        async with asyncio.TaskGroup() as group:
            for take, session in zip(takes, opened, strict=True):
                if isinstance(session, str):
                    take.broken = session
                else:
                    group.create_task(_converse(session, take, paced=True))
        return takes


async def stream_unpaced(url: str, key: str | None, stream: Stream) -> Take:
    """Send one stream as fast as the server takes it. Faults are in the take, as above."""
    take = Take(stream, Recording(time.perf_counter()))
    async with connections() as http, AsyncExitStack() as stack:
        session = await _try_to_open(stack, http, target(url, key), stream)
        if isinstance(session, str):
            take.broken = session
        else:
            await _converse(session, take, paced=False)
    return take


async def _try_to_open(
    stack: AsyncExitStack, http: aiohttp.ClientSession, server: Target, stream: Stream
) -> Session | str:
    """Open a session that `stack` closes, or return why that was not possible."""
    session = open_session(server, SessionOptions(stream.language), http)
    try:
        async with asyncio.timeout(OPENING_TIMEOUT_S):
            return await stack.enter_async_context(session)
    except UNREACHABLE as error:
        return _reason(error)


async def _converse(session: Session, take: Take, *, paced: bool) -> None:
    sender = asyncio.create_task(_send(session, take, paced=paced))
    try:
        if paced:
            await _receive_paced(session, take)
        else:
            await _receive(session, take, UNPACED_TIMEOUT_S)
    except UNREACHABLE as error:
        take.broken = _reason(error)
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send(session: Session, take: Take, *, paced: bool) -> None:
    began_s = take.recording.began_s
    free_s = 0.0
    for number, packet in enumerate(take.stream.packets, start=1):
        if paced:
            due_s = began_s + number * PACKET_S
            await asyncio.sleep(due_s - time.perf_counter())
            take.late_ms.append(1000 * (time.perf_counter() - max(due_s, free_s)))
        await session.send_message(packet)
        free_s = time.perf_counter()
    await session.send_message(FINISH)


async def _receive_paced(session: Session, take: Take) -> None:
    until_s = take.recording.began_s + take.stream.audio_s + FINISH_TIMEOUT_S
    async with asyncio.timeout(until_s - time.perf_counter()):
        await _receive(session, take, None)


async def _receive(session: Session, take: Take, quiet_s: float | None) -> None:
    """Record events until the session ends.

    Raises ClientError, and TimeoutError after `quiet_s` without an event.
    """
    while True:
        async with asyncio.timeout(quiet_s):
            event, _ = await session.next_event()
        take.recording.events.append((time.perf_counter(), event))
        if isinstance(event, ErrorEvent):
            take.broken = event.error.message
        if isinstance(event, ErrorEvent | Finished):
            return


def _reason(error: Exception) -> str:
    """Say in words why a session did not come about or broke."""
    origin = error.__cause__ if isinstance(error, ClientError) else error
    return str(error) if origin is None else f"{type(origin).__name__} {origin}".strip()
