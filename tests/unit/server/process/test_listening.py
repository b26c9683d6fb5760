from __future__ import annotations

import asyncio
import errno
import gc
import logging
import os
import socket
import ssl
import weakref
from asyncio import sslproto
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trustme

from oyez.server.process.connections import Connections
from oyez.server.process.listening import (
    ACCEPTS_PER_ITERATION,
    TLS_BUFFER_BYTES,
    ListenError,
    Listening,
    bind,
)
from oyez.settings import Settings
from support.waiting import eventually

AUTHORITY = trustme.CA()


def context() -> ssl.SSLContext:
    issued = AUTHORITY.issue_cert("127.0.0.1")
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    issued.configure_cert(made)
    return made


def trusting() -> ssl.SSLContext:
    made = ssl.create_default_context()
    AUTHORITY.configure_trust(made)
    return made


class Echo(asyncio.Protocol):
    """Sends back what it receives, and records whether the connection was lost."""

    def __init__(self) -> None:
        self.lost = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.lost = True


@asynccontextmanager
async def a_port(
    *,
    most: int = 100,
    tls: ssl.SSLContext | None = None,
    new_http: Callable[[], asyncio.Protocol] = Echo,
    handshake_timeout_s: float = 5.0,
) -> AsyncIterator[tuple[int, Connections]]:
    """A port that is listened on; nothing of it may be left afterwards."""
    before = asyncio.all_tasks()
    bounds = {"max_connections": most, "slow_reader_timeout_s": 1.0}
    connections = Connections(Settings().model_copy(update=bounds), lambda address: True)
    listener = bind("127.0.0.1", 0)
    port = listener.getsockname()[1]
    listening = Listening(
        listener, new_http, connections, tls=tls, handshake_timeout_s=handshake_timeout_s
    )
    try:
        async with asyncio.timeout(10):
            yield port, connections
            await eventually(lambda: len(connections) == 0)
    finally:
        await listening.close()
    assert asyncio.all_tasks() <= before


async def test_a_client_without_a_handshake_in_time_is_closed() -> None:
    """A connection that has completed its handshake may be silent for longer than that."""
    async with a_port(tls=context(), handshake_timeout_s=0.3) as (port, connections):
        through, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting())
        silent, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: len(connections) == 2)
        assert await silent.read() == b""
        await eventually(lambda: len(connections) == 1)
        assert not through.at_eof()
        writer.close()
        silent_writer.close()


async def test_what_comes_right_behind_the_handshake_is_read() -> None:
    """TLS 1.3 lets a client send its request together with the end of the handshake."""
    async with a_port(tls=context()) as (port, _):
        client = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = trusting().wrap_bio(*client, server_hostname="127.0.0.1")
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ssl.SSLWantReadError):
            session.do_handshake()
        writer.write(client[1].read())
        while True:
            client[0].write(await reader.read(1 << 16))
            try:
                session.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        session.write(b"at once")
        writer.write(client[1].read())
        answer = b""
        while not answer:
            client[0].write(await reader.read(1 << 16))
            try:
                answer = session.read(100)
            except ssl.SSLWantReadError:
                continue
        assert answer == b"at once"
        writer.close()


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x00\x05hello", b""])
async def test_a_handshake_that_fails_leaves_nothing(
    rubbish: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_port(tls=context()) as (port, connections):
        for _ in range(20):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(rubbish)
            await writer.drain()
            writer.close()
        await eventually(lambda: len(connections) == 0)
    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


@pytest.mark.parametrize("tls", [False, True])
async def test_beyond_the_most_the_oldest_is_closed(tls: bool) -> None:
    """Counted from accept: with TLS these have not even begun the handshake."""
    async with a_port(most=5, tls=context() if tls else None) as (port, connections):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(12)]
        for reader, _ in crowd[:7]:
            assert await reader.read() == b""
        await eventually(lambda: len(connections) == 5)
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=trusting() if tls else None
        )
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        for _, each in [*crowd, (reader, writer)]:
            each.close()


async def test_a_burst_in_one_iteration_of_the_event_loop_is_within_the_most() -> None:
    """Connections that came while the server was busy all wait in the kernel's queue."""
    async with a_port(most=20) as (port, connections):
        crowd = [socket.create_connection(("127.0.0.1", port)) for _ in range(300)]
        most = 0
        for _ in range(500):
            await asyncio.sleep(0)
            most = max(most, len(connections))
        assert len(connections) == 20
        for each in crowd:
            each.close()
    assert most <= 20 + 2 * ACCEPTS_PER_ITERATION


async def test_without_descriptors_it_goes_on_later(monkeypatch: pytest.MonkeyPatch) -> None:
    loop = asyncio.get_running_loop()
    accept, tries = loop.sock_accept, 0

    async def fail_now_and_then(listener: socket.socket) -> Any:
        nonlocal tries
        tries += 1
        if tries in (2, 3):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return await accept(listener)

    monkeypatch.setattr(loop, "sock_accept", fail_now_and_then)
    async with a_port() as (port, _):
        idle, idle_writer = await asyncio.open_connection("127.0.0.1", port)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await idle.read() == b""  # it made room
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        idle_writer.close()


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is freed meanwhile is freed at once: a crowd would fill memory until a collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def of_tls() -> list[sslproto.SSLProtocol]:
    return [each for each in gc.get_objects() if isinstance(each, sslproto.SSLProtocol)]


@pytest.mark.usefixtures("no_collection")
@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", b""])
async def test_a_handshake_that_fails_is_freed_at_once(rubbish: bytes) -> None:
    async with a_port(tls=context()) as (port, connections):
        crowd = [await asyncio.open_connection("127.0.0.1", port) for _ in range(3)]
        await eventually(lambda: len(connections) == 3)
        assert of_tls() == []  # those who have not begun cost no memory
        for _, writer in crowd:
            writer.write(b"\x16\x03")
        await eventually(lambda: len(of_tls()) == 3)
        assert {len(each.get_buffer(-1)) for each in of_tls()} == {TLS_BUFFER_BYTES}
        for _, writer in crowd:
            writer.write(rubbish)
            writer.close()
        await eventually(lambda: len(connections) == 0 and not of_tls(), timeout_s=5.0)


@pytest.mark.usefixtures("no_collection")
async def test_connections_that_end_are_freed_at_once() -> None:
    kept: list[weakref.ref[Echo]] = []

    def new_http() -> Echo:
        made = Echo()
        kept.append(weakref.ref(made))
        return made

    async with a_port(new_http=new_http) as (port, _):
        for _ in range(3):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
        await eventually(lambda: len(kept) == 3 and not any(each() for each in kept))


async def test_a_fault_of_ours_costs_one_connection(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    faults = iter([True, True, False])

    def new_http() -> Echo:
        if next(faults):
            raise LookupError("on purpose")
        return Echo()

    async with a_port(new_http=new_http) as (port, connections):
        for _ in range(2):
            failed, failed_writer = await asyncio.open_connection("127.0.0.1", port)
            assert await failed.read() == b""
            failed_writer.close()
        assert [each.exc_info[0] for each in caplog.records if each.exc_info] == [LookupError] * 2
        monkeypatch.setattr(connections, "_network", lambda host: 1 / 0)
        broken = await asyncio.open_connection("127.0.0.1", port)
        await eventually(lambda: len(caplog.records) == 3)
        monkeypatch.undo()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"
        writer.close()
        broken[1].close()


async def test_a_port_that_another_process_listens_on_is_an_error() -> None:
    first, second = bind("127.0.0.1", 0), None
    try:
        second = bind("127.0.0.1", first.getsockname()[1])
        first.listen()
        with pytest.raises(ListenError, match="choose another"):
            Listening(second, Echo, Connections(Settings(), lambda address: True))
    finally:
        first.close()
        if second:
            second.close()
