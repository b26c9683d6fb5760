"""Clients for many streams at once, cheap enough not to disturb what they measure.

Every packet is due at a fixed time, so a late packet does not delay those after it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import aiohttp

from oyez.bench.clips import PACKET_S
from oyez.client import (
    ClientError,
    ErrorEvent,
    Event,
    Failed,
    Final,
    Finished,
    Session,
    SessionOptions,
    Stopped,
    Target,
    Updated,
    open_session,
)

FINISH_TIMEOUT_S = 60.0
OPENING_TIMEOUT_S = 60.0
OPENING_S = 0.3
"""The time between the opening of the last session and the earliest start."""
QUIET_TIMEOUT_S = 120.0
"""The longest time without an event. A server that works on audio sends one now and then."""
FINISH = '{"type":"session.finish"}'
MARK = json.dumps({"type": "session.update", "event_id": "mark", "session": {}})
"""The server answers this when it has dealt with all messages before it, with an error because
audio has begun."""


@dataclass(frozen=True, slots=True)
class Stream:
    """What one session of a level sends, and when it starts."""

    number: int
    language: str | None
    offset_s: float
    packets: Sequence[bytes]
    """PCM16, 100 ms each."""

    @property
    def audio_s(self) -> float:
        """The length of the audio."""
        return len(self.packets) * PACKET_S


@dataclass(slots=True)
class Take:
    """What came back of audio that was sent. Times are on the clock of `time.perf_counter`."""

    began_s: float
    """The time of the first sample."""
    events: list[tuple[float, Event]] = field(default_factory=list)
    """Each event with the time at which it was received."""
    late_ms: list[float] = field(default_factory=list)
    """For each packet, how much later it was sent than it was due and the connection was free.
    This is the fault of the load generator."""
    broken: str | None = None
    """Why the session did not reach `session.finished`; None if it did."""

    def sent_s(self, audio_ms: float) -> float:
        """Return when the sample at this audio time was sent: at the end of its packet."""
        return self.began_s + (int(audio_ms / 1000 / PACKET_S) + 1) * PACKET_S


@asynccontextmanager
async def connections() -> AsyncIterator[aiohttp.ClientSession]:
    """Yield a client that may open any number of connections."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as http:
        yield http


async def stream_all(
    target: Target, streams: Sequence[Stream], *, paced: bool = True
) -> list[Take]:
    """Send all streams at once, at real-time pace and each from its own offset, or if not `paced`
    as fast as the server takes them. Returns a take for each stream.

    Faults of the server and the network are not raised: they are in the takes.
    """
    async with connections() as http, AsyncExitStack() as stack:

        async def opened(stream: Stream) -> Session | str:
            try:
                async with asyncio.timeout(OPENING_TIMEOUT_S):
                    session = open_session(target, SessionOptions(stream.language), http)
                    return await stack.enter_async_context(session)
            except (ClientError, TimeoutError) as error:
                return _reason(error)

        sessions = await asyncio.gather(*map(opened, streams))
        begin_s = time.perf_counter() + OPENING_S - min(one.offset_s for one in streams)
        takes = [Take(begin_s + one.offset_s) for one in streams]
        async with asyncio.TaskGroup() as group:
            for take, session, stream in zip(takes, sessions, streams, strict=True):
                if isinstance(session, str):
                    take.broken = session
                else:
                    group.create_task(_converse(session, stream, take, paced=paced))
    return takes


async def feed(session: Session, packets: Iterable[bytes], speed: float = 0.0) -> Take:
    """Send packets, and wait until the server has dealt with them and has answered every turn that
    has ended. Returns the events of that time.

    speed: times real time; 0: as fast as the server takes them. Raises ClientError if the session
    ends, TimeoutError, and RuntimeError if the server refuses a message.
    """
    take = Take(time.perf_counter())
    quiet_s = QUIET_TIMEOUT_S / (min(speed, 1.0) or 1.0)
    waiting: set[str] = set()
    is_marked = False
    async with _sending(session, packets, take, speed, last=MARK):
        while waiting or not is_marked:
            match await _next(session, take, quiet_s):
                case Stopped(item_id):
                    waiting.add(item_id)
                case Final(item_id) | Failed(item_id):
                    waiting.discard(item_id)
                case ErrorEvent(error) if error.event_id != "mark":
                    raise RuntimeError(error.message)
                case ErrorEvent() | Updated():
                    is_marked = True
                case _:
                    pass
    return take


async def _converse(session: Session, stream: Stream, take: Take, *, paced: bool) -> None:
    left_s = take.began_s + stream.audio_s + FINISH_TIMEOUT_S - time.perf_counter()
    sending = _sending(session, stream.packets, take, 1.0 if paced else 0.0, last=FINISH)
    try:
        async with sending, asyncio.timeout(left_s if paced else None):
            event: Event | None = None
            while not isinstance(event, ErrorEvent | Finished):
                event = await _next(session, take)
            if isinstance(event, ErrorEvent):
                take.broken = event.error.message
    except (ClientError, TimeoutError) as error:
        take.broken = _reason(error)


async def _next(session: Session, take: Take, quiet_s: float = QUIET_TIMEOUT_S) -> Event:
    async with asyncio.timeout(quiet_s):
        event, _ = await session.next_event()
    take.events.append((time.perf_counter(), event))
    return event


@asynccontextmanager
async def _sending(
    session: Session, packets: Iterable[bytes], take: Take, speed: float, last: str
) -> AsyncIterator[None]:
    """Send packets and a last message while the caller reads events."""
    sender = asyncio.create_task(_send(session, packets, take, speed, last))
    try:
        yield
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send(
    session: Session, packets: Iterable[bytes], take: Take, speed: float, last: str
) -> None:
    free_s = 0.0
    for number, packet in enumerate(packets, start=1):
        if speed:
            due_s = take.began_s + number * PACKET_S / speed
            await asyncio.sleep(due_s - time.perf_counter())
            take.late_ms.append(1000 * (time.perf_counter() - max(due_s, free_s)))
        await session.send(packet)
        free_s = time.perf_counter()
    await session.send_message(last)


def _reason(error: Exception) -> str:
    return str(error) or "the server does not answer"
