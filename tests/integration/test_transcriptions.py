"""`/v1/audio/transcriptions` as OpenAI's own client meets it."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import openai
import pytest
from openai import AsyncOpenAI, OpenAI
from sqlalchemy import select

from oyez.accounts.database import open_database
from oyez.accounts.keys import KeyLimits, create_key
from oyez.accounts.schema import sessions
from oyez.engines.base import RecognitionError, Request
from oyez.testing import FakeRecogniser
from support.keys import own_key
from support.media import encoded
from support.server import RunningServer, append, held_engine, running_server
from support.server import speech as pcm_speech
from support.waiting import eventually

PATH = "/v1/audio/transcriptions"


def recording(turns: int = 1) -> bytes:
    """A WAV file with a turn of four words every 3.3 s."""
    said = np.where(np.arange(round(1.8 * 16_000)) % 2, 0.3, -0.3)
    turn = np.concatenate([np.zeros(8000), said, np.zeros(16_000)]).astype(np.float32)
    return encoded(np.tile(turn, turns), "wav", "pcm_s16le")


WAV = ("said.wav", recording(2))
TEXT = "one two three four. one two three four."


def client(running: RunningServer, key: str = "any") -> AsyncOpenAI:
    return AsyncOpenAI(base_url=f"http://{running.address}/v1", api_key=key, max_retries=0)


async def post(
    running: RunningServer, fields: dict[str, Any], **headers: str
) -> tuple[int, Any, aiohttp.ClientResponse]:
    form = aiohttp.FormData()
    for name, value in fields.items():
        if isinstance(value, bytes):
            form.add_field(name, io.BytesIO(value), filename="said.wav")
        else:
            form.add_field(name, value)
    url = f"http://{running.address}{PATH}"
    async with running.http.post(url, data=form, headers=headers) as response:
        return response.status, await response.json(), response


async def test_text_of_every_format() -> None:
    async with running_server() as running, client(running) as api:
        create = api.audio.transcriptions.create
        plain = await create(file=WAV, model="whisper-1")
        assert plain.text == TEXT
        assert plain.usage is not None and plain.usage.type == "duration"
        assert plain.usage.seconds == pytest.approx(6.6)
        assert await create(file=WAV, model="x", response_format="text") == TEXT + "\n"
        srt = await create(file=WAV, model="x", response_format="srt")
        assert re.match(r"1\n00:00:00,\d{3} --> 00:00:02,\d{3}\none two three four\.\n\n2\n", srt)
        vtt = await create(file=WAV, model="x", response_format="vtt")
        assert re.match(r"WEBVTT\n\n00:00:00\.\d{3} --> 00:00:02\.\d{3}\none two three", vtt)
        await running.assert_nothing_left()


async def test_verbose_json_has_the_times_that_were_asked_for() -> None:
    async with running_server() as running, client(running) as api:
        create = api.audio.transcriptions.create
        both = await create(
            file=WAV,
            model="whisper-1",
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        assert (both.language, both.duration, both.text) == ("english", 6.6, TEXT)
        assert both.words is not None and both.segments is not None
        assert [word.word for word in both.words] == TEXT.split()
        assert [segment.text for segment in both.segments] == ["one two three four."] * 2
        assert both.segments[1].start == both.words[4].start == pytest.approx(3.8, abs=0.1)
        assert both.segments[1].avg_logprob == 0.0
        segments = await create(file=WAV, model="x", response_format="verbose_json")
        assert segments.words is None and segments.segments
        words = await create(
            file=WAV, model="x", response_format="verbose_json", timestamp_granularities=["word"]
        )
        assert words.segments is None and words.words


async def test_the_synchronous_client() -> None:
    async with running_server() as running:

        def ask() -> str:
            base_url = f"http://{running.address}/v1"
            with OpenAI(base_url=base_url, api_key="any", max_retries=0) as api:
                return api.audio.transcriptions.create(file=WAV, model="whisper-1").text

        assert await asyncio.to_thread(ask) == TEXT


async def test_a_stream_has_text_as_soon_as_it_is_final() -> None:
    async with running_server() as running, client(running) as api:
        deltas, done = [], None
        file = ("said.wav", recording(20))
        async for event in await api.audio.transcriptions.create(
            file=file, model="gpt-4o-transcribe", stream=True
        ):
            if event.type == "transcript.text.delta":
                deltas.append(event.delta)
            elif event.type == "transcript.text.done":
                done = event
        assert done is not None
        assert done.text == "".join(deltas) == " ".join(["one two three four."] * 20)
        assert len(deltas) == 20


async def test_language_and_prompt_reach_the_engine() -> None:
    async with running_server() as running, client(running) as api:
        answer = await api.audio.transcriptions.create(
            file=WAV,
            model="x",
            language="de",
            prompt="Oyez",
            temperature=0.2,
            response_format="verbose_json",
        )
        assert answer.language == "german"
        assert {each.language for each in running.engine.requests} == {"de"}
        assert {each.context for each in running.engine.requests} == {"Oyez"}


async def test_models_are_listed() -> None:
    async with running_server(models="mine") as running, client(running) as api:
        names = [model.id async for model in api.models.list()]
        assert names == ["mine", "whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe"]
        assert (await api.models.retrieve("mine")).owned_by == "oyez"
        with pytest.raises(openai.NotFoundError, match="'other' does not exist"):
            await api.models.retrieve("other")


@pytest.mark.parametrize(
    ("options", "param", "message"),
    [
        ({"language": "xx"}, "language", "'xx'.*'sv'"),
        ({"response_format": "diarized_json"}, "response_format", "'json', 'text', 'srt'"),
        ({"temperature": 1.5}, "temperature", "'1.5'"),
        ({"timestamp_granularities": ["word"]}, "timestamp_granularities", "verbose_json"),
        (
            {"timestamp_granularities": ["letter"], "response_format": "verbose_json"},
            "timestamp_granularities",
            "'segment', 'word'",
        ),
        ({"stream": True, "response_format": "srt"}, "response_format", "'json', 'text'"),
        ({"prompt": "x" * 40_001}, "prompt", "40000 characters"),
        ({"extra_body": {"volume": "11"}}, "volume", "Unknown .*'volume'"),
    ],
)
async def test_a_bad_field_is_named(options: dict[str, Any], param: str, message: str) -> None:
    async with running_server() as running, client(running) as api:
        with pytest.raises(openai.BadRequestError, match=message) as raised:
            await api.audio.transcriptions.create(file=WAV, model="x", **options)
        assert raised.value.param == param
        assert raised.value.type == "invalid_request_error"
        assert running.engine.requests == []


async def test_what_is_no_audio_is_refused() -> None:
    async with running_server() as running, client(running) as api:
        with pytest.raises(openai.BadRequestError, match="not audio or video") as raised:
            await api.audio.transcriptions.create(file=("a.wav", b"Dear Sir" * 100), model="x")
        assert (raised.value.param, raised.value.code) == ("file", "invalid_file")


async def test_keys() -> None:
    async with running_server(api_key=own_key("good")) as running:
        async with client(running, "bad") as api:
            for ask in (
                lambda: api.models.list(),
                lambda: api.audio.transcriptions.create(file=WAV, model="x"),
            ):
                with pytest.raises(openai.AuthenticationError, match="Invalid API-key") as raised:
                    await ask()
                assert raised.value.code == "invalid_api_key"
        async with client(running, own_key("good")) as api:
            assert (await api.audio.transcriptions.create(file=WAV, model="x")).text == TEXT


async def test_limits_of_a_request() -> None:
    big = recording(10)
    async with running_server(max_upload_bytes=len(big) - 1) as running, client(running) as api:
        with pytest.raises(openai.APIStatusError, match="larger than") as raised:
            await api.audio.transcriptions.create(file=("a.wav", big), model="x")
        assert (raised.value.status_code, raised.value.code) == (413, "file_too_large")
    async with running_server(max_file_audio_s=30) as running, client(running) as api:
        for file in (big, _as_pipe(big)):
            with pytest.raises(openai.BadRequestError, match="longer than 30 s") as refused:
                await api.audio.transcriptions.create(file=("a.wav", file), model="x")
            assert refused.value.code == "audio_too_long"
        await running.assert_nothing_left()


def _as_pipe(wav: bytes) -> bytes:
    """With the length in the header that programs write that do not know it."""
    return wav[:4] + b"\xff" * 4 + wav[8:]


async def test_a_file_of_unknown_size_is_stopped_at_the_limit() -> None:
    async with running_server(max_upload_bytes=2_000_000) as running:

        async def too_much() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
            for _ in range(22):
                yield bytes(100_000)

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        url = f"http://{running.address}{PATH}"
        async with running.http.post(url, data=too_much(), headers=headers) as response:
            assert response.status == 413


async def test_a_client_that_leaves_while_it_sends_is_no_fault(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with running_server() as running:

        async def stuck() -> AsyncIterator[bytes]:
            yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\nRIFF'
            await asyncio.sleep(60)

        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        url = f"http://{running.address}{PATH}"
        asking = asyncio.create_task(running.http.post(url, data=stuck(), headers=headers))
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 1)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"", "malformed|no file"),
        (b"--b\r\nnonsense", "malformed|no file"),
        (b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\nx\r\n--b--\r\n', "no file"),
    ],
)
async def test_a_broken_form(body: bytes, message: str) -> None:
    async with running_server() as running:
        headers = {"Content-Type": "multipart/form-data; boundary=b"}
        url = f"http://{running.address}{PATH}"
        async with running.http.post(url, data=body, headers=headers) as response:
            error = (await response.json())["error"]
            assert response.status == 400
            assert re.search(message, error["message"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
async def test_a_full_disk_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    full = lambda: Path("/dev/full").open("w+b")  # noqa: E731, SIM115 - the server closes it
    monkeypatch.setattr("tempfile.TemporaryFile", full)
    async with running_server() as running:
        # less than a buffer, which no write notices by itself, and more
        for size_bytes in (1000, 300_000):
            status, body, _ = await post(running, {"file": bytes(size_bytes)})
            assert (status, body["error"]["code"]) == (503, "storage")
            assert "No space left on device" in body["error"]["message"]


async def test_no_directory_for_temporary_files_is_reported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails() -> io.BytesIO:
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.TemporaryFile", fails)
    async with running_server() as running:
        status, body, _ = await post(running, {"file": WAV[1]})
        assert (status, body["error"]["code"]) == (503, "storage")
        assert "No usable temporary directory" in body["error"]["message"]


async def test_a_compressed_form_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    async with running_server() as running:
        status, body, _ = await post(running, {"file": WAV[1]}, **{"Content-Encoding": "gzip"})
        assert (status, body["error"]["code"]) == (400, "invalid_content_type")
        assert "gzip" in body["error"]["message"]
    assert not [each for each in caplog.records if each.exc_info]


async def test_unknown_addresses_and_methods_answer_in_the_same_form() -> None:
    async with running_server() as running:
        for path, expected in (("/v1/audio/translations", 404), (PATH, 405), ("/v1/", 404)):
            status, body, response = await running.get(path)
            assert (status, body["error"]["code"]) == (expected, "unknown_url")
        assert (await running.get(PATH))[2].headers["Allow"] == "POST"
        assert (await running.get("/nowhere"))[0] == 404


async def test_files_wait_their_turn_and_one_too_many_is_refused() -> None:
    limits: dict[str, Any] = {"max_transcriptions": 1, "max_waiting_transcriptions": 1}
    async with running_server(held_engine(), **limits) as running:
        first = asyncio.create_task(post(running, {"file": WAV[1]}))
        await eventually(lambda: running.server.realtime.scheduler.running > 0)
        second = asyncio.create_task(post(running, {"file": WAV[1]}))
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 2)
        status, body, response = await post(running, {"file": WAV[1]})
        assert (status, body["error"]["code"]) == (503, "full")
        assert response.headers["Retry-After"] == "10"
        assert not second.done()
        running.engine.may_answer.set()
        for task in (first, second):
            assert (await task)[:2] == (200, {"text": TEXT, "usage": _usage(6.6)})
        await running.assert_nothing_left()


def _usage(seconds: float) -> dict[str, Any]:
    return {"seconds": seconds, "type": "duration"}


async def test_a_client_that_leaves_cancels_its_work() -> None:
    async with running_server(held_engine()) as running:
        asking = asyncio.create_task(post(running, {"file": recording(200)}))
        await eventually(lambda: running.server.realtime.scheduler.running > 0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)
        assert running.server.realtime.scheduler.waiting == 0
        running.engine.may_answer.set()
        await running.assert_nothing_left()


async def test_live_speech_goes_before_a_file() -> None:
    """The file's jobs were there first, and yet the live final is the next to run."""
    engine = FakeRecogniser(max_batch=1)
    engine.may_answer.clear()
    async with running_server(engine) as running:
        asking = asyncio.create_task(post(running, {"file": recording(20), "language": "de"}))
        scheduler = running.server.realtime.scheduler
        await eventually(lambda: scheduler.waiting > 5)
        live = await running.connect()
        await live.send(append(pcm_speech(1.0) + bytes(64_000)))
        await live.until("speech_stopped")
        engine.may_answer.set()
        await live.until("transcription.completed")
        languages = [request.language for request in engine.requests]
        # the one that was running cannot be taken back
        assert languages[0] == "de" and languages[1] is None
        assert (await asking)[0] == 200


async def test_shutdown_finishes_the_file_at_work_and_refuses_those_that_wait() -> None:
    async with running_server(held_engine(), max_transcriptions=1) as running:
        working = asyncio.create_task(post(running, {"file": WAV[1]}))
        await eventually(lambda: running.server.realtime.scheduler.running > 0)
        waiting = asyncio.create_task(post(running, {"file": WAV[1]}))
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 2)
        draining = asyncio.create_task(running.server.drain(10.0))
        status, body, _ = await waiting
        assert (status, body["error"]["type"]) == (503, "server_error")
        status, body, _ = await post(running, {"file": WAV[1]})
        assert (status, body["error"]["code"]) == (503, "draining")
        running.engine.may_answer.set()
        assert (await working)[1]["text"] == TEXT
        await draining


async def test_shutdown_does_not_wait_for_ever() -> None:
    async with running_server(held_engine()) as running:
        working = asyncio.create_task(post(running, {"file": WAV[1]}))
        await eventually(lambda: running.server.realtime.scheduler.running > 0)
        await running.server.drain(0.1)
        assert (await working)[0] == 503


async def test_shutdown_ends_a_stream_with_an_error() -> None:
    engine = FakeRecogniser(max_batch=1)
    async with running_server(engine) as running, client(running) as api:
        file = ("long.wav", recording(60))
        stream = await api.audio.transcriptions.create(file=file, model="x", stream=True)
        with pytest.raises(openai.APIError, match="shutting down"):
            async for _ in stream:
                if engine.may_answer.is_set():
                    engine.may_answer.clear()
                    await running.server.drain(0.1)
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)


async def test_a_client_that_does_not_read_a_stream_is_dropped() -> None:
    engine = FakeRecogniser(lambda request: "x" * 20_000, max_batch=1)
    async with running_server(engine, slow_reader_timeout_s=0.2) as running:
        with socket.socket() as slow:
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.setblocking(False)
            host, port = running.address.split(":")
            loop = asyncio.get_running_loop()
            await loop.sock_connect(slow, (host, int(port)))
            form = aiohttp.FormData({"stream": "true"})
            form.add_field("file", io.BytesIO(recording(200)), filename="a.wav")
            body = form()
            data = await body.as_bytes()
            head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n"
            head += f"Content-Type: {body.content_type}\r\n\r\n"
            await loop.sock_sendall(slow, head.encode() + data)
            (request,) = running.server.transcriptions.files.values()
            assert request._http.transport is not None
            sending = request._http.transport.get_extra_info("socket")
            sending.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
            await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)
        assert len(engine.requests) < 200
        await running.assert_nothing_left()


async def test_audio_that_cannot_be_recognised_fails_the_request() -> None:
    def fail_second(request: Request) -> str:
        count.append(request)
        if len(count) == 2:
            raise RecognitionError("out of luck")
        return "word"

    count: list[Request] = []
    async with (
        running_server(FakeRecogniser(fail_second, max_batch=1)) as running,
        client(running) as api,
    ):
        with pytest.raises(openai.InternalServerError, match=r"from 3\.\d to") as raised:
            await api.audio.transcriptions.create(file=WAV, model="x")
        assert raised.value.code == "recognition_failed"
        count.clear()
        text = ""
        with pytest.raises(openai.APIError, match="could not be recognised"):
            async for event in await api.audio.transcriptions.create(
                file=WAV, model="x", stream=True
            ):
                text += getattr(event, "delta", "")
        assert text == "word."


async def test_usage_and_limits_of_a_key(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'accounts.db'}"
    database = open_database(url)
    key, _ = create_key(database, "desk", KeyLimits(audio_s_per_day=10, languages=("de",)))
    database.close()
    async with running_server(database=url) as running, client(running, key) as api:
        create = api.audio.transcriptions.create
        with pytest.raises(openai.BadRequestError, match=r"Supported values are: 'de'\."):
            await create(file=WAV, model="x", language="en")
        assert (await create(file=WAV, model="mine")).text == TEXT
        assert {each.language for each in running.engine.requests} <= {"de", None}
        with pytest.raises(openai.RateLimitError, match="10 s of audio a day") as raised:
            await create(file=("long.wav", recording(9)), model="x")
        assert raised.value.code == "insufficient_quota"
    database = open_database(url)
    with database.read() as connection:
        used = connection.execute(select(sessions).order_by(sessions.c.began_at)).all()
    database.close()
    assert {row.endpoint for row in used} == {"transcriptions"}
    assert [(row.close_code, row.close_reason) for row in used] == [
        (200, "transcribed"),
        (429, "insufficient_quota"),
    ]
    assert (used[0].model, used[0].audio_ms, used[0].finals) == ("mine", 6600, 2)
    assert used[0].speech_ms == pytest.approx(3600, abs=150)


async def test_no_word_of_a_file_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    async with running_server(FakeRecogniser(lambda request: "secret")) as running:
        status, body, _ = await post(running, {"file": WAV[1], "prompt": "hush"})
        assert (status, body["text"]) == (200, "secret. secret.")
        assert (await running.get("/metrics"))[1].count(
            'oyez_transcriptions_total{outcome="trans'
        ) == 1
    logged = json.dumps([record.__dict__ for record in caplog.records], default=str)
    assert "transcription ended" in logged
    assert "secret" not in logged and "hush" not in logged and "said.wav" not in logged


async def test_an_mp3_and_a_video() -> None:
    said = np.where(np.arange(round(1.8 * 48_000)) // 60 % 2, 0.3, -0.3)
    turn = np.concatenate([np.zeros(24_000), said, np.zeros(48_000)]).astype(np.float32)
    async with running_server() as running, client(running) as api:
        for container, codec, video in (("mp3", "libmp3lame", False), ("mp4", "aac", True)):
            data = encoded(turn, container, codec, rate=48_000, video=video)
            answer = await api.audio.transcriptions.create(file=io.BytesIO(data), model="x")
            assert answer.text.startswith("one two three")
