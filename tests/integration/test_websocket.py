"""Frames that no proper client sends, and what the socket is bounded by."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import Iterator

import aiohttp
import pytest

from oyez.server.session import buffers, connection
from oyez.server.session.websocket import CONTROL_FRAMES_PER_SECOND
from support.blocking_websocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    PING,
    PONG,
    TEXT,
    frame,
    upgrade,
)
from support.raw_websocket import RawWebSocket
from support.server import append, held_engine, running_server, silence, speech
from support.waiting import eventually

UPDATE = json.dumps({"type": "session.update", "session": {"sample_rate": 8000}}).encode()


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([frame(b"{}", TEXT, mask=None)], 1002),
        ([frame(b"", PING, mask=None)], 1002),
        ([frame(b"{}", TEXT, reserved=4)], 1002),
        ([frame(b"", 3)], 1002),
        ([frame(b"", PING, final=False)], 1002),
        ([frame(bytes(126), PING)], 1002),
        ([frame(b"{}", CONTINUATION)], 1002),
        ([frame(b"{", TEXT, final=False), frame(b"}", TEXT)], 1002),
        ([frame(b"\x03", CLOSE)], 1002),
        ([frame(b"\x03\xee", CLOSE)], 1002),
        ([frame(b"\xff\xff", CLOSE)], 1002),
        ([frame(b"\x03\xe8\xff", CLOSE)], 1007),
        ([frame(b"\xff", TEXT)], 1007),
        ([frame(b"\xc3", TEXT, final=False), frame(b"(", CONTINUATION)], 1007),
        ([frame(b"\xc3\xa4", TEXT, final=False), frame(b"\xc3", CONTINUATION)], 1007),
        ([b"\x81\xff" + b"\xff" * 12], 1009),
        ([frame(b"\x03\xe8", CLOSE)], 1000),
        ([frame(b"\x0f\xa0mine", CLOSE)], 4000),
    ],
)
async def test_what_breaks_the_protocol_is_closed_with_its_code(
    frames: list[bytes], code: int
) -> None:
    async with running_server() as running:
        client = await RawWebSocket.connect(running.address)
        # what follows is not read as frames any more
        client.send(*frames, frame(b"{", TEXT) * 100)
        assert await client.close_code() == code
        await running.assert_nothing_left()


async def test_fragments_and_pings_between_them_make_a_message() -> None:
    async with running_server() as running:
        client = await RawWebSocket.connect(running.address)
        half = len(UPDATE) // 2
        client.send(
            frame(UPDATE[:half], TEXT, final=False),
            frame(b"between", PING),
            frame(b"", CONTINUATION, final=False),
            frame(UPDATE[half:], CONTINUATION),
        )
        assert await client.until(PONG) == b"between"
        while json.loads(await client.until(TEXT))["type"] != "session.updated":
            pass
        client.send(frame(UPDATE, BINARY))
        assert json.loads(await client.until(TEXT))["session"]["sample_rate"] == 8000
        client.vanish()


async def test_a_message_that_comes_with_the_upgrade_is_not_lost() -> None:
    async with running_server() as running:
        host, _, port = running.address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        writer.write(upgrade() + frame(UPDATE, TEXT))
        await reader.readuntil(b"\r\n\r\n")
        client = RawWebSocket(reader, writer)
        while json.loads(await client.until(TEXT))["type"] != "session.updated":
            pass
        client.vanish()


async def test_a_flood_of_pings_is_closed() -> None:
    async with running_server() as running:
        client = await RawWebSocket.connect(running.address)
        client.send(frame(b"", PING) * (2 * CONTROL_FRAMES_PER_SECOND + 1))
        assert await client.close_code() == 1008


async def test_a_moderate_rate_of_pings_is_answered() -> None:
    async with running_server() as running:
        client = await RawWebSocket.connect(running.address)
        client.send(frame(b"x", PING) * (CONTROL_FRAMES_PER_SECOND // 2))
        for _ in range(CONTROL_FRAMES_PER_SECOND // 2):
            await client.until(PONG)
        client.vanish()


async def test_pings_behind_minutes_of_audio_are_answered_at_once() -> None:
    async with running_server(held_engine(), max_backlog_s=1.0) as running:
        client = await running.connect(autoping=False)
        for _ in range(20):
            await client.send(append(speech(9.0) + silence(1.0)))
        began_s = time.monotonic()
        await client.socket.ping(b"x")
        assert await _pong(client.socket) == b"x"
        assert time.monotonic() - began_s < 1.0
        (open_connection,) = running.server.realtime.connections
        assert open_connection._inbox_bytes > 4_000_000, "the audio was worked off"
        client.vanish()


async def _pong(socket: object) -> object:
    assert isinstance(socket, aiohttp.ClientWebSocketResponse)
    while True:
        message = await socket.receive(timeout=10.0)
        if message.type is aiohttp.WSMsgType.PONG:
            return message.data


async def test_who_sends_a_message_slowly_is_not_gone() -> None:
    async with running_server(ping_interval_s=0.2, ping_timeout_s=0.6) as running:
        client = await RawWebSocket.connect(running.address)
        message = frame(UPDATE, TEXT)
        for place in range(0, len(message), 4):
            client.send(message[place : place + 4])
            await asyncio.sleep(0.1)
        while json.loads(await client.until(TEXT))["type"] != "session.updated":
            pass
        client.vanish()


async def test_parts_of_messages_are_bounded_for_all_and_harm_no_speaker(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(connection, "STUCK_S", 1.0)
    async with running_server(max_buffered_mb=8) as running:
        budget = running.server.realtime.buffers
        hogs = [await RawWebSocket.connect(running.address) for _ in range(8)]
        for hog in hogs:
            size_bytes = 1_300_000
            hog.send(b"\x81\xff" + size_bytes.to_bytes(8, "big") + bytes(4))
            hog.send(b"x" * (size_bytes - 1))
        await eventually(lambda: budget.held_bytes >= 8 << 20)
        assert budget.held_bytes < 11 << 20
        speaker = await running.connect()
        await speaker.send(append(speech(2.0)), append(silence(1.5)))
        await speaker.until("completed")
        codes = await asyncio.gather(*(hog.until(CLOSE, 20.0) for hog in hogs[-2:]))
        assert {int.from_bytes(code[:2], "big") for code in codes} == {1009}
        for hog in hogs:
            hog.vanish()
        await speaker.socket.close()
        await running.assert_nothing_left()
        assert budget.held_bytes == 0


async def test_a_client_that_left_is_noticed_while_nothing_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffers, "SESSION_BYTES", 1 << 20)
    async with running_server(held_engine(), max_backlog_s=1.0) as running:
        client = await running.connect()
        await client.send(*[append(speech(1.0) + silence(1.5))] * 12)
        await eventually(lambda: running.server.realtime.buffers.held_bytes >= 1 << 20)
        client.vanish()
        await running.assert_nothing_left()


@pytest.fixture
def no_collection() -> Iterator[None]:
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.mark.parametrize("how", ["closed", "vanished", "finished", "aborted"])
async def test_a_session_that_ended_is_freed_at_once(how: str, no_collection: None) -> None:
    async with running_server() as running:
        client = await running.connect()
        await client.send(append(speech(2.0)))
        await client.until("speech_started")
        (found,) = running.server.realtime.connections
        alive = [weakref.ref(each) for each in (found, found._session, found._socket)]
        match how:
            case "closed":
                await client.socket.close()
            case "vanished":
                client.vanish()
            case "finished":
                await client.send('{"type": "session.finish"}')
                await client.until("finished")
                await client.socket.close()
            case "aborted":
                found.abort(1001, "dropped")
        del found
        await running.assert_nothing_left()
        await eventually(lambda: not any(reference() for reference in alive), 3.0)
