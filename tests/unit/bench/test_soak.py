"""What a soak feeds, and what it makes of it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Iterator
from typing import Any

import aiohttp
import numpy as np
import pytest

from oyez.audio.pcm import Samples
from oyez.bench.soak import LongSession, PacketSource, Slice, drift_percent, drifts, head, row
from oyez.client import ClientError, Session


class Socket:
    """Answers a mark once the next one is sent; sends what a test wants heard."""

    def __init__(self, *events: dict[str, Any]) -> None:
        self.sent: list[dict[str, Any]] = []
        self.close_code = 1006
        self.events: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()
        for event in events:
            self.events.put_nowait(event)

    async def send_str(self, text: str) -> None:
        self.sent.append(json.loads(text))
        if self.sent[-1]["type"] == "session.update":
            self.events.put_nowait({"type": "error", "error": {"event_id": "mark"}})

    async def receive(self, **_: object) -> aiohttp.WSMessage:
        event = await self.events.get()
        if event is None:
            return aiohttp.WSMessage(aiohttp.WSMsgType.CLOSED, None, None)
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, json.dumps(event), None)


def long_session(socket: Socket) -> LongSession:
    return LongSession(Session(socket, "the server"))  # type: ignore[arg-type]


def steps() -> Iterator[Samples]:
    """Pieces of odd lengths whose samples count up."""
    at = 0
    while True:
        yield (np.arange(at, at + 777) % 1000 / 32767).astype(np.float32)
        at += 777


async def test_packets_are_whole_and_gapless_and_the_server_is_waited_for() -> None:
    socket = Socket()
    session = long_session(socket)
    receiver = asyncio.create_task(session.receive())
    await PacketSource(session, steps(), speed=0).feed(12.0)
    receiver.cancel()
    packets = [one["audio"] for one in socket.sent if "audio" in one]
    pcm = np.concatenate([np.frombuffer(base64.b64decode(one), "<i2") for one in packets])
    assert len(packets) == 120
    np.testing.assert_allclose(pcm, np.arange(len(pcm)) % 1000, atol=1)
    assert len(socket.sent) == 120 + 2 + 1  # every 50 packets, and at the end
    assert socket.sent[-1]["type"] == "session.update" and socket.events.empty()


async def test_a_server_that_does_not_answer_is_not_run_away_from() -> None:
    socket = Socket()
    session = long_session(socket)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.2):
            await PacketSource(session, steps(), speed=0).feed(1000.0)
    assert sum("audio" in one for one in socket.sent) == 4 * 50


async def test_a_tenth_ends_with_the_finals_of_its_turns() -> None:
    socket = Socket({"type": "input_audio_buffer.speech_stopped", "item_id": "a"})
    session = long_session(socket)
    receiver = asyncio.create_task(session.receive())
    settling = asyncio.create_task(session.settle())
    await asyncio.sleep(0.05)
    assert not settling.done()
    final = "conversation.item.input_audio_transcription.completed"
    socket.events.put_nowait({"type": final, "item_id": "a"})
    await asyncio.wait_for(settling, 1.0)
    receiver.cancel()


async def test_finals_are_timed_and_failures_counted_once() -> None:
    kind = "conversation.item.input_audio_transcription."
    socket = Socket(
        {"type": "input_audio_buffer.speech_stopped", "item_id": "a"},
        {"type": kind + "completed", "item_id": "a"},
        {"type": kind + "failed", "item_id": "b"},
        {"type": "session.finished"},
    )
    session = long_session(socket)
    await session.receive()
    (final_ms,), failed = session.take_finals()
    assert 0 <= final_ms < 1000 and failed == 1
    assert session.take_finals() == ((), 0)


@pytest.mark.parametrize("last", [{"type": "error", "error": {"message": "no"}}, None])
async def test_a_session_that_breaks_is_told(last: dict[str, Any] | None) -> None:
    socket = Socket()
    socket.events.put_nowait(last)
    with pytest.raises((RuntimeError, ClientError), match="no|is gone"):
        await long_session(socket).receive()


def test_drift_is_the_last_third_against_the_first() -> None:
    assert drift_percent([1, 1, 1, 5, 5, 5, 5, 2, 2, 2]) == pytest.approx(100)
    assert drift_percent([2, None, 2, 9, 9, 9, 9, None, 1, 1]) == pytest.approx(-50)
    assert drift_percent([None] * 10) is None
    assert drift_percent([0.0] * 10) is None


def test_the_table() -> None:
    slices = [Slice(60.0 * n, 6.0, 1.0, n << 20, (10.0, 30.0), 0, 1 << 20) for n in range(1, 11)]
    assert drifts(slices) == {"CPU": 0.0, "RSS": pytest.approx(350.0), "final": 0.0}
    line = row(slices[0], 60.0).replace(" ", "")
    assert line == "|1.0|10.0|1.00|1.0|20.0|2|0|1|"
    foreign = Slice(60.0, 6.0, None, None, (), 0, 1 << 20)
    assert row(foreign, 60.0).count("|") == head().splitlines()[0].count("|")
