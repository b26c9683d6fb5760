"""Hostile and unlucky files at `/v1/audio/transcriptions`: each costs its own request and nothing
else."""

from __future__ import annotations

import asyncio
import io
import os
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

import aiohttp
import pytest

from oyez.files import decoder_process
from oyez.server.transcriptions import endpoint, form, upload_slots
from support.decoders import CRASHES, SPINS, children, decode_by, is_gone
from support.keys import own_key
from support.media import encoded, tone
from support.server import RunningServer, append, held_engine, running_server, speech
from support.waiting import eventually

PATH = "/v1/audio/transcriptions"
WAV = encoded(tone(2.0), "wav", "pcm_s16le")
LINUX = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")

GOOD, BAD = own_key("good"), own_key("bad")


async def post(
    running: RunningServer, file: bytes = WAV, key: str = "", **fields: str
) -> tuple[int, dict[str, Any]]:
    body = aiohttp.FormData(fields)
    body.add_field("file", io.BytesIO(file), filename="a.wav")
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    url = f"http://{running.address}{PATH}"
    async with running.http.post(url, data=body, headers=headers) as response:
        return response.status, await response.json()


async def code(answer: Awaitable[tuple[int, dict[str, Any]]]) -> tuple[int, str | None]:
    status, body = await answer
    return status, body["error"]["code"] if "error" in body else None


def at_work() -> list[int]:
    return children(os.getpid())


def complete_files(running: RunningServer) -> int:
    return sum(each.is_complete for each in running.server.transcriptions.slots.files)


def disk_bytes(running: RunningServer) -> int:
    return sum(each.size_bytes for each in running.server.transcriptions.slots.files)


async def test_a_crash_costs_its_file_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with running_server() as running:
        live = await running.connect()
        await live.send(append(speech(0.5)))
        await live.until("speech_started")
        with monkeypatch.context() as patched:
            decode_by(patched, CRASHES)
            status, body = await post(running)
        assert (status, body["error"]["code"]) == (400, "invalid_file")
        assert "makes the decoder crash" in body["error"]["message"]
        await live.send(append(speech(0.5) + bytes(64_000)))
        await live.until("transcription.completed")
        assert (await post(running))[0] == 200
    (line,) = [each for each in caplog.records if "ended its decoder" in each.message]
    assert "ended with -11" in line.__dict__["fields"]["how"]


async def test_what_takes_too_long_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, SPINS, first="confine.STALL_CPU_S = 1")
    async with running_server() as running:
        status, body = await post(running)
        assert (status, body["error"]["code"]) == (400, "invalid_file")
        assert "takes too much time" in body["error"]["message"]


async def test_a_decoder_that_cannot_start_is_a_fault_of_the_server(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/not/there")
    async with running_server() as running:
        status, body = await post(running)
        assert (status, body["error"]["code"]) == (503, "decoder")
        assert body["error"]["type"] == "server_error"
    assert "no process to decode a file could be started" in caplog.text


@LINUX
async def test_a_client_that_leaves_ends_the_decoder_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    decode_by(monkeypatch, SPINS)
    async with running_server(max_transcriptions=1) as running:
        asking = asyncio.create_task(post(running))
        await eventually(lambda: len(at_work()) == 1)
        (pid,) = at_work()
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        began_s = time.monotonic()
        await eventually(lambda: is_gone(pid, within_s=0.0))
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)
        assert time.monotonic() - began_s < 2.0  # 0.3 s on a quiet machine
        monkeypatch.undo()
        assert (await post(running))[0] == 200


@LINUX
async def test_a_client_that_leaves_amid_broken_packets(monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_server(max_transcriptions=1) as running:
        asking = asyncio.create_task(post(running, _broken_packets(4_000_000)))
        await eventually(lambda: len(at_work()) == 1)
        (pid,) = at_work()
        await asyncio.sleep(0.5)  # it has begun with them
        assert not asking.done() and not is_gone(pid, within_s=0.0)
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
        began_s = time.monotonic()
        await eventually(lambda: is_gone(pid, within_s=0.0))
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)
        assert time.monotonic() - began_s < 2.0  # 0.3 s on a quiet machine


def _broken_packets(count: int) -> bytes:
    """A WebM file of so many packets of Opus, each of one byte that has no meaning."""
    sound = encoded(tone(0.1, rate=48_000), "webm", "libopus", rate=48_000)
    cluster = sound.index(b"\x1f\x43\xb6\x75")
    unknown_size = b"\x01" + b"\xff" * 7
    packet = bytes([0xA3, 0x85, 0x81, 0x00, 0x00, 0x80, 0xFF])
    return (
        _of_unknown_size(sound[:cluster])
        + b"\x1f\x43\xb6\x75"
        + unknown_size
        + b"\xe7\x81\x00"
        + packet * count
    )


def _of_unknown_size(head: bytes) -> bytes:
    segment = head.index(b"\x18\x53\x80\x67") + 4
    return head[:segment] + b"\x01" + b"\xff" * 7 + head[segment + 8 :]


@LINUX
async def test_shutdown_ends_decoders(monkeypatch: pytest.MonkeyPatch) -> None:
    decode_by(monkeypatch, SPINS)
    async with running_server() as running:
        asking = asyncio.create_task(post(running))
        await eventually(lambda: len(at_work()) == 1)
        (pid,) = at_work()
        await running.server.drain(0.1)
        assert is_gone(pid)
        assert await code(asking) == (503, "draining")


async def test_shutdown_has_an_end_whatever_a_file_does(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    released = asyncio.Event()

    async def hangs(*_: object) -> None:
        while not released.is_set():
            try:
                await released.wait()
            except asyncio.CancelledError:
                continue

    monkeypatch.setattr(endpoint, "ABORT_S", 0.3)
    monkeypatch.setattr(endpoint._File, "_answer", hangs)
    async with running_server() as running:
        asking = asyncio.create_task(post(running))
        await eventually(
            lambda: any(each.is_working for each in running.server.transcriptions.files.values())
        )
        began_s = time.monotonic()
        await running.server.transcriptions.drain(0.1)
        assert time.monotonic() - began_s < 2.0
        assert "1 files did not end in time" in caplog.text
        released.set()
        await asyncio.gather(asking, return_exceptions=True)


Send = Callable[[bytes], Awaitable[None]]


@asynccontextmanager
async def slow_upload(
    running: RunningServer, key: str = "", length_bytes: int = 100_000_000
) -> AsyncIterator[tuple[asyncio.StreamReader, Send]]:
    """A form whose file has begun: what comes back, and how more of it is sent."""
    host, port = running.address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {PATH} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length_bytes}\r\n"
    head += f"Authorization: Bearer {key}\r\n" if key else ""
    head += "Content-Type: multipart/form-data; boundary=b\r\n\r\n"
    head += '--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'

    async def send(data: bytes) -> None:
        writer.write(data)
        await writer.drain()

    try:
        await send(head.encode())
        http = running.runner.server
        assert http is not None
        await eventually(lambda: len(http.connections) > 0)
        for protocol in http.connections:
            protocol._lingering_time = 0.5  # how long aiohttp reads on after its answer
        yield reader, send
    finally:
        writer.close()


async def test_a_file_made_while_its_upload_is_cancelled_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    begun, may_end = threading.Event(), threading.Event()
    made: list[io.BytesIO] = []

    def slow() -> io.BytesIO:
        begun.set()
        may_end.wait(10)
        made.append(io.BytesIO())
        return made[0]

    monkeypatch.setattr(tempfile, "TemporaryFile", slow)
    async with running_server() as running:
        asking = asyncio.create_task(post(running))
        assert await asyncio.to_thread(begun.wait, 10)
        draining = asyncio.create_task(running.server.drain(1.0))
        await eventually(
            lambda: all(task.cancelling() for task in running.server.transcriptions.files)
        )
        may_end.set()
        assert (await asking)[0] == 503
        await draining
    assert made[0].closed


async def test_ten_slow_uploads_keep_nobody_out_and_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MIN_RATE_S", 1.0)
    async with running_server(api_key=f"{GOOD},{BAD}") as running, AsyncExitStack() as stack:
        slow = [await stack.enter_async_context(slow_upload(running, BAD)) for _ in range(10)]
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 10)
        for _ in range(3):
            assert (await post(running, key=GOOD))[0] == 200
            for _, send in slow:
                await send(b"x" * 20)
        answers = [asyncio.create_task(reader.readline()) for reader, _ in slow]
        async with asyncio.timeout(5.0):
            while not all(answer.done() for answer in answers):
                for answer, (_, send) in zip(answers, slow, strict=True):
                    if not answer.done():
                        with suppress(ConnectionError):  # it was answered just now, and closed
                            await send(b"x" * 20)
                await asyncio.sleep(0.1)
        assert {(await answer)[:12] for answer in answers} == {b"HTTP/1.1 408"}
        await eventually(lambda: len(running.server.transcriptions.slots.files) == 0)


async def test_a_pause_is_no_fault_if_enough_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(form, "MIN_RATE_S", 0.6)
    monkeypatch.setattr(form, "MIN_RATE_BYTES", 10_000)
    async with running_server() as running, slow_upload(running) as (reader, send):
        for _ in range(4):
            await send(bytes(10_000))
            await asyncio.sleep(0.3)
        assert len(running.server.transcriptions.slots.files) == 1
        assert (await asyncio.wait_for(reader.readline(), 3)).startswith(b"HTTP/1.1 408")


async def test_uploads_are_so_many_and_of_one_key_half(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload_slots, "MAX_UPLOADS", 10)
    async with running_server(api_key=f"{GOOD},{BAD}") as running, AsyncExitStack() as stack:
        for number in range(5):
            await stack.enter_async_context(slow_upload(running, BAD))
            await eventually(
                lambda: len(running.server.transcriptions.slots.files) == number + 1  # noqa: B023
            )
        assert await code(post(running, key=BAD)) == (503, "full")
        assert (await post(running, key=GOOD))[0] == 200


async def test_one_key_cannot_take_every_place_that_waits() -> None:
    limits: dict[str, Any] = {"max_transcriptions": 1, "max_waiting_transcriptions": 4}
    async with running_server(held_engine(), api_key=f"{GOOD},{BAD}", **limits) as running:
        asking = [asyncio.create_task(post(running, key=BAD)) for _ in range(4)]
        done, _ = await asyncio.wait(asking, return_when=asyncio.FIRST_COMPLETED)
        assert [await code(each) for each in done] == [(503, "full")]
        waiting = [asyncio.create_task(post(running, key=GOOD)) for _ in range(2)]
        await eventually(lambda: complete_files(running) == 5)
        running.engine.may_answer.set()
        answers = [(await each)[0] for each in [*asking, *waiting]]
        assert sorted(answers) == [200, 200, 200, 200, 200, 503]
        await running.assert_nothing_left()


async def test_a_server_with_one_key_has_all_places_for_it() -> None:
    limits: dict[str, Any] = {"max_transcriptions": 1, "max_waiting_transcriptions": 4}
    async with running_server(held_engine(), api_key=GOOD, **limits) as running:
        asking = [asyncio.create_task(post(running, key=GOOD)) for _ in range(5)]
        await eventually(lambda: complete_files(running) == 5)
        running.engine.may_answer.set()
        assert [(await each)[0] for each in asking] == [200] * 5


async def test_disk_space_is_limited_and_a_key_gets_half_of_it() -> None:
    big = encoded(tone(6.0), "wav", "pcm_s16le")
    limits: dict[str, Any] = {"max_upload_bytes": 200_000, "upload_disk_bytes": 400_000}
    async with (
        running_server(api_key=f"{GOOD},{BAD}", **limits) as running,
        AsyncExitStack() as stack,
    ):
        await stack.enter_async_context(kept_upload(running, BAD))
        assert await code(post(running, big, key=BAD)) == (503, "storage")
        assert (await post(running, big, key=GOOD))[0] == 200
    async with running_server(**limits) as running, AsyncExitStack() as stack:
        for _ in range(2):
            await stack.enter_async_context(kept_upload(running))
        assert await code(post(running, big)) == (503, "storage")
        await stack.aclose()
        await eventually(lambda: disk_bytes(running) == 0)
        assert (await post(running, big))[0] == 200


@asynccontextmanager
async def kept_upload(running: RunningServer, key: str = "") -> AsyncIterator[None]:
    """A form of which 150 KB and more are on disk, and the end does not come."""
    wanted_bytes = disk_bytes(running) + 150_000
    async with slow_upload(running, key, 200_000) as (_, send):
        await send(bytes(150_000))
        while (
            disk_bytes(running) < wanted_bytes
        ):  # what came last is held back, to look for the end in it
            await send(bytes(100))
            await asyncio.sleep(0.01)
        yield


@pytest.mark.parametrize("model", ["x" * 201, "a\nb", "a\x1b[31m"])
async def test_a_model_that_is_no_name_is_refused(model: str) -> None:
    async with running_server() as running:
        status, body = await post(running, model=model)
        assert (status, body["error"]["param"]) == (400, "model")
        assert "up to 200 printable characters" in body["error"]["message"]


async def test_a_system_that_filters_no_system_calls_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = decoder_process.COMMAND
    unfiltered = "from oyez.files import confine; confine.MACHINES = {}; from oyez"
    monkeypatch.setattr(decoder_process, "COMMAND", original.replace("from oyez", unfiltered, 1))
    async with running_server() as running:
        for _ in range(2):
            assert (await post(running))[0] == 200
    assert caplog.text.count("does not filter the system calls") == 1
