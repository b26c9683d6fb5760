"""Crowds of strangers: whatever they leave undone, others are served."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme

from support.process import a_process
from support.server import append, running_server, silence, speech
from support.waiting import eventually

REQUEST = b"GET /docs HTTP/1.1\r\nHost: a\r\n\r\n"
BODY = b"POST /docs HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\n" + bytes(100_000)
HABITS = {
    "say nothing": b"",
    "send half a request": b"GET /docs HTTP/1.1\r\nHost: a\r\nA",
    "ask and stay": REQUEST,
    "read no answers": REQUEST * 200,
    "send a body nobody reads": BODY,
}


@contextmanager
def crowd(port: int, size: int, says: bytes = b"") -> Iterator[None]:
    """So many connections of one habit, opened as fast as it goes. Whatever they are answered is
    not read."""
    with ExitStack() as stack:
        opened = [stack.enter_context(socket.socket()) for _ in range(size)]
        for each in opened:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))
        deadline_s = time.monotonic() + 1.0
        for each in opened:
            each.settimeout(max(0.0, deadline_s - time.monotonic()))
            try:
                each.send(says)
            except OSError:
                continue  # it was closed to make room
        yield


async def healthy(url: str, trusting: ssl.SSLContext | bool = True) -> None:
    """Health is told to a newcomer within a second."""
    began_s = time.monotonic()
    async with aiohttp.ClientSession() as probe:
        for path in ("/healthz", "/readyz"):
            async with probe.get(url + path, ssl=trusting) as answer:
                assert answer.status == 200
    assert time.monotonic() - began_s < 1.0


@pytest.mark.parametrize("habit", HABITS)
async def test_a_crowd_locks_nobody_out(habit: str) -> None:
    async with running_server(max_sessions=4, max_connections=30) as server:
        speaker = await server.connect()
        await speaker.send(append(speech(1.0)))
        port = int(server.address.partition(":")[2])
        crowding = crowd(port, 80, HABITS[habit])
        await asyncio.to_thread(crowding.__enter__)
        await healthy(f"http://{server.address}")
        newcomer = await server.connect()
        await newcomer.until("created")
        await speaker.send(append(silence(1.0)))
        await speaker.until("completed")
        await eventually(lambda: len(server.server.connections) <= 30)
        for client in (speaker, newcomer):
            await client.socket.close()
        crowding.__exit__(None, None, None)
        await server.assert_nothing_left()
        await server.http.close()
        await eventually(lambda: len(server.server.connections) == 0)
        http = server.runner.server
        assert http is not None
        await eventually(lambda: not http.connections)  # their tasks end just after the sockets


@pytest.mark.parametrize("habit", ["send half a request", "read no answers"])
async def test_what_is_left_undone_ends_without_a_crowd_too(habit: str) -> None:
    async with running_server(slow_reader_timeout_s=0.7, keepalive_timeout_s=0.7) as server:
        port = int(server.address.partition(":")[2])
        crowding = crowd(port, 3, HABITS[habit])
        await asyncio.to_thread(crowding.__enter__)
        await eventually(lambda: len(server.server.connections) == 3)
        await eventually(lambda: len(server.server.connections) == 0, timeout_s=5.0)
        crowding.__exit__(None, None, None)


async def test_a_client_is_refused_where_all_are_in_use() -> None:
    async with running_server(max_sessions=1, max_connections=2) as server:
        session = await server.connect()
        await session.until("created")
        host, _, port = server.address.partition(":")
        form = b"--x\r\nContent-Disposition: form-data; name=file; filename=a\r\n\r\nRIFF"
        _, upload = await asyncio.open_connection(host, int(port))
        upload.write(
            b"POST /v1/audio/transcriptions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9999\r\n"
            b"Content-Type: multipart/form-data; boundary=x\r\n\r\n" + form
        )
        await eventually(lambda: server.server.connections._requests == 2)
        reader, writer = await asyncio.open_connection(host, int(port))
        answer = await asyncio.wait_for(reader.read(), 5.0)
        assert answer.startswith(b"HTTP/1.1 503 ") and b"Retry-After" in answer
        writer.close()
        upload.close()
        await session.socket.close()


@pytest.mark.parametrize("tls", [False, True])
async def test_descriptors_are_kept_back_and_the_log_stays_short(tls: bool, tmp_path: Path) -> None:
    """A burst that comes in one go, with fewer open files than connections are wanted."""
    authority = trustme.CA()
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    issued = authority.issue_cert("127.0.0.1")
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    files = ["--tls-cert", f"{tmp_path}/cert.pem", "--tls-key", f"{tmp_path}/key.pem"]
    with a_process(*(files if tls else []), open_files=300) as (process, url, _):
        address = url.split("/")[2]
        os.kill(process.pid, signal.SIGSTOP)
        crowding = crowd(int(address.partition(":")[2]), 700)
        await asyncio.to_thread(crowding.__enter__)
        os.kill(process.pid, signal.SIGCONT)
        await healthy(f"{'https' if tls else 'http'}://{address}", trusting if tls else True)
        await asyncio.sleep(0.2)
        assert len(os.listdir(f"/proc/{process.pid}/fd")) <= 300 - 16
        await healthy(f"{'https' if tls else 'http'}://{address}", trusting if tls else True)
        crowding.__exit__(None, None, None)
        process.terminate()
        assert process.stderr is not None
        log = await asyncio.to_thread(process.stderr.read)
    assert len(log.splitlines()) < 20 and "Traceback" not in log
    assert "idle connections were closed to make room for others" in log
