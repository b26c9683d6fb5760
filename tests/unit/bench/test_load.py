"""The clock of the load generator, and what it waits for."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from oyez.bench import load
from oyez.bench.load import Stream, Take, feed
from oyez.client import ClientError, Event, Final, Session, Target

PACKET = b"\0" * 3200
FINAL = "conversation.item.input_audio_transcription.completed"


class Socket:
    """Answers a mark and the end of the session; sends other events as a test wants."""

    close_code = 1006

    def __init__(self, *events: dict[str, Any] | None, slow_packet: int = 0) -> None:
        self.sent: list[dict[str, Any]] = []
        self.sent_s: list[float] = []
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        self.slow_packet = slow_packet
        for event in events:
            self.events.put_nowait(event)

    async def send_str(self, text: str) -> None:
        self.sent.append(json.loads(text))
        self.sent_s.append(time.perf_counter())
        if len(self.sent) == self.slow_packet:
            await asyncio.sleep(0.5)  # as a server that does not read
        if self.sent[-1]["type"] == "session.update":
            self.events.put_nowait({"type": "error", "error": {"event_id": "mark"}})
        if self.sent[-1]["type"] == "session.finish":
            self.events.put_nowait({"type": "session.finished"})

    async def receive(self, **_: object) -> aiohttp.WSMessage:
        event = await self.events.get()
        if event is None:
            return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, json.dumps(event), None)


def session(socket: Socket) -> Session:
    return Session(socket, "the server")  # type: ignore[arg-type]


async def test_a_blocked_packet_delays_none_that_is_due_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    socket = Socket(slow_packet=5)

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[Session]:
        yield session(socket)

    monkeypatch.setattr(load, "open_session", opened)
    (take,) = await load.stream_all(Target(""), [Stream(0, None, 3.0, [PACKET] * 20)])
    for number, sent_s in enumerate(socket.sent_s[:20], start=1):
        held_s = 0.1 * max(0, 10 - number) if number > 5 else 0.0
        assert sent_s - take.began_s == pytest.approx(0.1 * number + held_s, abs=0.08)
    assert max(take.late_ms) < 80, "the server's fault is not the generator's"
    assert take.broken is None


async def test_a_busy_generator_reports_that_it_is_late() -> None:
    take = Take(time.perf_counter())
    sending = asyncio.create_task(load._send(session(Socket()), [PACKET] * 3, take, 1.0, "{}"))
    await asyncio.sleep(0.05)
    time.sleep(0.15)  # noqa: ASYNC251 - what the figure is there to show
    with pytest.raises(KeyError):
        await sending
    assert take.late_ms[0] > 80 and take.late_ms[2] < 50


async def test_all_packets_are_sent_and_then_a_mark() -> None:
    socket = Socket()
    audio = [bytes([number]) * 3200 for number in range(120)]
    await feed(session(socket), audio)
    sent = [base64.b64decode(one["audio"]) for one in socket.sent if "audio" in one]
    assert sent == audio
    assert len(socket.sent) == 121 and socket.sent[-1]["type"] == "session.update"


async def test_the_finals_of_turns_that_have_ended_are_waited_for() -> None:
    socket = Socket({"type": "input_audio_buffer.speech_stopped", "item_id": "a"})
    feeding = asyncio.create_task(feed(session(socket), [PACKET]))
    await asyncio.sleep(0.05)
    assert not feeding.done()
    socket.events.put_nowait({"type": FINAL, "item_id": "a"})
    take = await asyncio.wait_for(feeding, 1.0)
    events: list[Event] = [event for _, event in take.events]
    assert Final("a") in events


async def test_a_server_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    socket = Socket({"type": "input_audio_buffer.speech_stopped", "item_id": "a"})
    monkeypatch.setattr(load, "QUIET_TIMEOUT_S", 0.1)
    with pytest.raises(TimeoutError):
        await feed(session(socket), [PACKET])


@pytest.mark.parametrize("last", [{"type": "error", "error": {"message": "no"}}, None])
async def test_a_session_that_breaks_is_an_error(last: dict[str, Any] | None) -> None:
    with pytest.raises((RuntimeError, ClientError), match="no|is gone"):
        await feed(session(Socket(last)), [PACKET] * 3)
