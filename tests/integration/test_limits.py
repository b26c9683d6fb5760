"""Connections and memory: what one client takes, others do not lack."""

from __future__ import annotations

import asyncio
import socket
import time
from pathlib import Path

import aiohttp
import pytest

from oyez.server import realtime
from support.process import ENVIRONMENT, a_process, run_to_end
from support.server import MODEL, append, running_server, silence, speech

UPGRADE = (
    f"GET /api-ws/v1/realtime?model={MODEL} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\n"
    "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
)


async def test_half_a_request_is_not_waited_for() -> None:
    with a_process("--keepalive-timeout-s", "1") as (_, url, _lines):
        host, _, port = url.split("/")[2].partition(":")

        async def ask_slowly(beginning: str) -> None:
            """A byte now and then does not help."""
            reader, writer = await asyncio.open_connection(host, int(port))
            answer = asyncio.create_task(reader.read())
            for character in beginning:
                writer.write(character.encode())
                await asyncio.wait([answer], timeout=0.02)
            assert await asyncio.wait_for(answer, 10.0) == b"", beginning
            writer.close()

        await asyncio.gather(*(ask_slowly(each) for each in ("", "GET /hea", UPGRADE)))


async def test_rubbish_costs_a_line_now_and_then() -> None:
    with a_process() as (process, url, _lines):
        host, _, port = url.split("/")[2].partition(":")
        for rubbish in (
            b"\x16\x03\x01 no HTTP\r\n\r\n",
            b"GET / HTTP/1.1\r\nA: " + b"secret" * 4000,
        ):
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(rubbish)
            assert (await asyncio.wait_for(reader.read(), 10.0)).startswith(b"HTTP/1.0 400 ")
            writer.close()
        process.terminate()
        assert process.stderr is not None
        log = await asyncio.to_thread(process.stderr.read)
    assert log.count("a request was refused") == 1 and "client=127.0.0.1" in log
    assert "Traceback" not in log and "secret" not in log


async def test_without_memory_one_session_is_let_in(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    used_mb = 100.0
    monkeypatch.setattr(realtime, "resident_mb", lambda engine_pid: used_mb)
    async with running_server(max_memory_mb=100) as server:
        first = await server.connect()
        await first.until("created")
        for _ in range(2):
            with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
                await server.connect()
            assert refused.value.status == 503
        assert caplog.text.count("memory above max_memory_mb") == 1
        used_mb = 99.0
        second = await server.connect()
        await second.until("created")
        used_mb = 100.0
        await first.socket.close()
        await second.socket.close()
        await server.assert_nothing_left()
        await (await server.connect()).until("created")


def test_a_memory_limit_that_is_too_low_is_reported_at_the_start() -> None:
    ended = run_to_end("--port", "0", "--max-memory-mb", "20")
    assert ended.returncode == 3
    assert "max_memory_mb is 20, but" in ended.stderr


async def test_a_session_ends_when_its_time_is_up() -> None:
    async with running_server(max_session_s=0.6) as server:
        client = await server.connect()
        began_s = time.monotonic()
        await client.send(append(silence(0.5) + speech(1.0)))
        assert await client.closed() == 1000
        assert client.types[-2:] == ["completed", "finished"]
        assert time.monotonic() - began_s > 0.5


async def test_a_service_manager_is_informed(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(30.0)

        def hear(last: str) -> list[str]:
            heard = [manager.recv(1000).decode()]
            while not heard[-1].startswith(last):
                heard.append(manager.recv(1000).decode())
            return heard

        listening = asyncio.create_task(asyncio.to_thread(hear, "WATCHDOG"))
        told = {"NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "300000"}
        with a_process(environment={**ENVIRONMENT, **told}) as (process, url, _):
            heard = await listening
            assert heard[0].startswith("STATUS=loading")
            assert heard[-2:] == [f"READY=1\nSTATUS=listening on {url}", "WATCHDOG=1"]
            assert await asyncio.to_thread(hear, "WATCHDOG") == ["WATCHDOG=1"]
            process.terminate()
            assert (await asyncio.to_thread(hear, "STOPPING"))[-1].endswith("finishing 0 sessions")
            assert await asyncio.to_thread(process.wait, 20.0) == 0
