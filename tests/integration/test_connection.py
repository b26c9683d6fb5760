from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import Any

import aiohttp
import numpy as np
import pytest

from oyez.engines.base import Emotion, Features
from oyez.protocol.client_events import Malformed
from oyez.protocol.session import Session
from oyez.runtime.job import MAX_FINALS
from oyez.server.session import buffers
from oyez.server.session.connection import MESSAGE_OVERHEAD_BYTES, TICK_S
from oyez.server.session.session_metrics import SessionMetrics
from oyez.testing import FakeRecogniser
from support.server import FINISH, Client, append, held_engine, running_server, silence, speech
from support.waiting import eventually, stays


async def say_one_turn(client: Client) -> None:
    await client.send(append(speech(2.0)), append(silence(1.5)))


async def test_a_turn_is_reported_from_start_to_final() -> None:
    async with running_server() as running:
        client = await running.connect()
        await say_one_turn(client)
        final = await client.until("completed")
        assert final["transcript"].lower().startswith("one two three")
        await client.send(FINISH)
        finished = await client.until("session.finished")
        assert finished["transcript"] == final["transcript"]
        without_interims = [name for name in client.types if name != "text"]
        assert without_interims == [
            "created", "speech_started", "speech_stopped", "committed", "created",
            "completed", "finished",
        ]  # fmt: skip
        await client.socket.close()
        await running.assert_nothing_left()


async def test_each_session_has_its_emotions_named_by_itself() -> None:
    class Moody:
        """Names a session's first utterance angry and all others sad."""

        def __init__(self) -> None:
            self.heard = 0

        def new_tracker(self) -> Moody:
            return Moody()

        def guess(self, features: Features | None) -> Emotion:
            return "surprised"

        def update(self, features: Features | None) -> Emotion:
            self.heard += 1
            return "angry" if self.heard == 1 else "sad"

    async with running_server(emotion=Moody()) as running:
        for _ in range(2):
            client = await running.connect()
            named = []
            for _ in range(2):
                await client.send(append(speech(2.0)))
                await client.until("transcription.text")
                await client.send(append(silence(1.5)))
                named.append((await client.until("completed"))["emotion"])
            assert named == ["angry", "sad"]
            shown = {e["emotion"] for e in client.seen if e["type"].endswith("transcription.text")}
            assert "surprised" in shown
            await client.socket.close()


async def test_binary_frames_are_json_too() -> None:
    async with running_server() as running:
        client = await running.connect()
        await client.send(FINISH.encode())
        await client.until("session.finished")


async def test_the_server_closes_when_the_client_does_not() -> None:
    async with running_server(close_after_finish_s=0.1) as running:
        client = await running.connect()
        await client.send(FINISH)
        assert await client.closed() == 1000
        await running.assert_nothing_left()


async def test_a_session_without_input_is_finished_and_closed() -> None:
    async with running_server(idle_timeout_s=0.1) as running:
        client = await running.connect()
        assert await client.closed() == 1000
        assert client.types == ["created", "finished"]


async def test_a_message_beyond_the_limit_closes_1009() -> None:
    async with running_server(max_append_bytes=1000, ws_max_message_bytes=1_100_000) as running:
        client = await running.connect()
        await client.send(append(bytes(1_000_000)))
        assert await client.closed() == 1009
        await running.assert_nothing_left()


async def test_the_largest_append_is_accepted() -> None:
    async with running_server() as running:
        client = await running.connect()
        await client.send(append(bytes(2 << 20)), FINISH)
        await client.until("session.finished")
        assert not any(event["type"] == "error" for event in client.seen)


@pytest.mark.parametrize("message", ["", "{", "[]", '"x"', "null", '{"type": 7}', "\x00", b"\xff"])
async def test_garbage_is_answered_and_harms_nothing(message: str | bytes) -> None:
    async with running_server() as running:
        client = await running.connect()
        await client.send(message)
        assert (await client.until("error"))["error"]["type"] == "invalid_request_error"
        await say_one_turn(client)
        await client.until("completed")


async def test_a_vanished_client_leaves_nothing_behind() -> None:
    async with running_server(held_engine()) as running:
        client = await running.connect()
        await say_one_turn(client)
        await client.until("committed")
        scheduler = running.server.realtime.scheduler
        await eventually(lambda: scheduler.waiting + scheduler.running > 0)
        client.vanish()
        await running.assert_nothing_left()


async def test_a_waiting_recognition_of_one_session_does_not_block_another() -> None:
    async with running_server(held_engine()) as running:
        first, second = await running.connect(), await running.connect()
        await say_one_turn(first)
        await first.until("committed")
        began_s = time.monotonic()
        await say_one_turn(second)
        await second.until("committed")
        assert time.monotonic() - began_s < 2.0
        running.engine.may_answer.set()
        await asyncio.gather(first.until("completed"), second.until("completed"))


async def test_input_is_held_back_but_never_dropped() -> None:
    async with running_server(held_engine(), max_backlog_s=5.0) as running:
        client = await running.connect()
        turns = 40
        sender = asyncio.create_task(
            client.send(*[append(speech(1.0) + silence(1.5))] * turns, FINISH)
        )
        (connection,) = running.server.realtime.connections
        await eventually(lambda: connection.figures.turns >= 2)
        await stays(lambda: connection.figures.audio_s < 40.0, for_s=0.3)
        running.engine.may_answer.set()
        await client.until("session.finished")
        await sender
        assert connection.figures.audio_s == turns * 2.5
        assert client.types.count("completed") == turns


async def test_messages_are_counted_while_they_wait_and_are_as_old_as_when_they_came(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ages_s: list[float] = []
    heard = SessionMetrics.add_audio

    def note(self: SessionMetrics, samples: int, arrived_s: float) -> None:
        ages_s.append(time.monotonic() - arrived_s)
        heard(self, samples, arrived_s)

    monkeypatch.setattr(SessionMetrics, "add_audio", note)
    async with running_server(held_engine(), max_backlog_s=1.0) as running:
        client = await running.connect()
        messages = [append(speech(1.0) + silence(1.5))] * 4
        await client.send(*messages)
        (connection,) = running.server.realtime.connections
        await eventually(lambda: connection.figures.turns > 0)
        await asyncio.sleep(0.3)
        waiting = len(connection._inbox)
        assert 0 < waiting < len(messages)
        assert connection._inbox_bytes == waiting * (len(messages[0]) + MESSAGE_OVERHEAD_BYTES)
        assert max(ages_s) < 0.3
        running.engine.may_answer.set()
        await client.send(FINISH)
        await client.until("session.finished")
        assert connection._inbox_bytes == 0
        assert max(ages_s) > 0.3


async def test_pings_are_answered_while_input_is_held_back() -> None:
    async with running_server(held_engine(), max_backlog_s=1.0) as running:
        client = await running.connect(autoping=False)
        await client.send(*[append(speech(1.0) + silence(1.5))] * 4)
        await client.until("committed")
        await client.socket.ping(b"hello")
        async with asyncio.timeout(5.0):
            while True:
                message = await client.socket.receive()
                if message.type is aiohttp.WSMsgType.PONG:
                    break
        assert message.data == b"hello"


async def test_a_session_that_is_held_back_can_be_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(buffers, "SESSION_BYTES", 1 << 20)
    async with running_server(held_engine(), max_backlog_s=1.0) as running:
        client = await running.connect()
        sender = asyncio.create_task(client.send(*[append(speech(1.0) + silence(1.5))] * 200))
        await client.until("committed")
        await stays(lambda: not sender.done(), for_s=0.3)  # the server still reads
        (connection,) = running.server.realtime.connections
        connection.abort(1001, "dropped")
        await running.assert_nothing_left()
        await asyncio.gather(sender, return_exceptions=True)


async def test_a_client_that_answers_no_ping_is_gone() -> None:
    async with running_server(ping_interval_s=0.1, ping_timeout_s=1.0) as running:
        await running.connect(autoping=False)
        await running.assert_nothing_left()


async def test_a_client_that_answers_pings_stays() -> None:
    async with running_server(ping_interval_s=0.1, ping_timeout_s=1.0) as running:
        client = await running.connect()
        with pytest.raises(TimeoutError):
            await client.until("session.finished", timeout_s=2.5)
        assert len(running.server.realtime.connections) == 1


async def test_a_client_that_does_not_read_is_dropped_and_harms_nobody() -> None:
    async with running_server(slow_reader_timeout_s=0.5, send_buffer_bytes=4096) as running:
        reader, writer = await asyncio.open_connection(*running.address.split(":"), limit=1)
        writer.write(
            b"GET /api-ws/v1/realtime?model=qwen3-asr-flash-realtime HTTP/1.1\r\n"
            b"Host: localhost\r\n"
            b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        await eventually(lambda: len(running.server.realtime.connections) == 1)
        (stalled,) = running.server.realtime.connections
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        neighbour = await running.connect()

        async def flood() -> None:
            # masked text frames that are no JSON: each is answered by an error of 200 bytes
            while True:
                writer.write(b"\x81\x81\x00\x00\x00\x00{" * 1000)
                await writer.drain()

        flooding = asyncio.create_task(flood())
        try:
            await eventually(lambda: stalled not in running.server.realtime.connections, 30.0)
            await say_one_turn(neighbour)
            await neighbour.until("completed")
        finally:
            flooding.cancel()
            writer.transport.abort()
            await asyncio.gather(flooding, return_exceptions=True)
        status, metrics, _ = await running.get("/metrics")
        assert 'oyez_sessions_closed_total{close_code="1008"} 1.0' in metrics


async def test_a_bug_in_one_session_ends_only_that_one(monkeypatch: pytest.MonkeyPatch) -> None:
    receive = Session.receive

    def buggy(self: Session, event: Any, now_ms: int) -> Any:
        if isinstance(event, Malformed):
            raise ZeroDivisionError("a bug")
        return receive(self, event, now_ms)

    monkeypatch.setattr(Session, "receive", buggy)
    async with running_server() as running:
        client, neighbour = await running.connect(), await running.connect()
        await client.send("bug")
        assert await client.closed() == 1011
        error = client.seen[-1]
        assert (error["type"], error["error"]["type"]) == ("error", "server_error")
        assert error["error"]["code"] == "InternalError"
        assert "bug" not in json.dumps(error["error"])
        await say_one_turn(neighbour)
        await neighbour.until("completed")


async def test_a_very_large_append_keeps_nobody_waiting() -> None:
    large: dict[str, Any] = {"max_append_bytes": 15 << 20, "ws_max_message_bytes": 24 << 20}
    async with running_server(**large) as running:
        client, neighbour = await running.connect(), await running.connect()
        await client.send(append(silence(320.0)), FINISH)
        began_s = time.monotonic()
        await say_one_turn(neighbour)
        await neighbour.until("completed")
        assert time.monotonic() - began_s < 0.8
        assert "finished" not in client.types
        await client.until("session.finished")


async def test_a_file_fed_fast_does_not_hold_up_a_speaker() -> None:
    async with running_server(FakeRecogniser(delay_s=0.1, max_batch=1)) as running:
        feeder, speaker = await running.connect(), await running.connect()
        for _ in range(60):
            await feeder.send(append(speech(3.0)), append(silence(1.0)))
        await feeder.until("completed")
        began_s = time.monotonic()
        await say_one_turn(speaker)
        await speaker.until("completed")
        assert time.monotonic() - began_s < 1.0
        waiting = running.server.realtime.scheduler.waiting
        assert waiting >= MAX_FINALS - 2, "the feeder was done too early for this to mean anything"
        feeder.vanish()


async def test_an_idle_session_is_finished_with_what_the_resampler_held() -> None:
    async with running_server(idle_timeout_s=0.3) as running:
        client = await running.connect()
        await client.send(json.dumps({"type": "session.update", "session": {"sample_rate": 8000}}))
        hum = np.repeat(np.frombuffer(speech(0.5), "<i2"), 4).tobytes()
        await client.send(append(hum))
        assert await client.closed() == 1000
        assert client.types[-2:] == ["completed", "finished"]


async def test_an_engine_that_fails_on_one_turn_fails_that_item_only() -> None:
    calls = iter([RuntimeError("engine")])

    def script(request: Any) -> str:
        for error in calls:
            raise error
        return "fine again"

    async with running_server(FakeRecogniser(script)) as running:
        client = await running.connect()
        await client.send(
            json.dumps({"type": "session.update", "session": {"turn_detection": None}})
        )
        commit = json.dumps({"type": "input_audio_buffer.commit"})
        await client.send(append(speech(0.3)), commit)
        await client.until("failed")
        await client.send(append(speech(0.3)), commit)
        await client.until("completed")


async def test_all_sessions_tick_in_the_same_instants() -> None:
    async with running_server() as running:
        clients = []
        for _ in range(3):
            clients.append(await running.connect())
            await asyncio.sleep(0.06)
        connections = running.server.realtime.connections
        assert len(connections) == len(clients)
        for connection in connections:
            assert (connection._next_tick.when() / TICK_S).is_integer()


async def test_draining_finishes_what_was_said() -> None:
    async with running_server(held_engine()) as running:
        client = await running.connect()
        await say_one_turn(client)
        await client.until("committed")
        draining = asyncio.create_task(running.server.realtime.drain(10.0))
        await asyncio.sleep(0)
        assert (await running.upgrade())[0] == 503
        assert (await running.get("/readyz"))[0] == 503
        assert (await running.get("/healthz"))[0] == 200
        running.engine.may_answer.set()
        assert await client.closed() == 1001
        assert client.types[-2:] == ["completed", "finished"]
        await draining
        await running.assert_nothing_left()


async def test_draining_has_a_deadline() -> None:
    async with running_server(held_engine()) as running:
        client = await running.connect()
        await say_one_turn(client)
        await client.until("committed")
        began_s = time.monotonic()
        closed = asyncio.create_task(client.closed())
        await running.server.realtime.drain(0.2)
        assert time.monotonic() - began_s < 3.0
        assert await closed == 1001
        await running.assert_nothing_left()


async def test_a_client_that_goes_on_sending_receives_the_end_all_the_same() -> None:
    async with running_server() as running:
        for _ in range(5):
            client = await running.connect()
            await client.send(append(speech(1.0)))
            await client.until("speech_started")
            (connection,) = running.server.realtime.connections
            connection.close(1008, "enough")
            with suppress(ConnectionError):
                for _ in range(20):
                    await client.send(append(speech(0.5)))
                    await asyncio.sleep(0)
            assert await client.closed() == 1008
            await running.assert_nothing_left()
