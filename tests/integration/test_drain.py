"""A server that leaves while many speak."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from oyez.server import lifecycle
from support.process import a_process
from support.server import MODEL, Client, append, held_engine, running_server, silence, speech
from support.waiting import stays

SESSIONS = 24
DRAIN_S = 15.0
PACKET_S = 0.1
PACKETS = [append(speech(PACKET_S))] * 12 + [append(silence(PACKET_S))] * 8
"""What each says, again and again: 1.2 s of speech, 0.8 s of silence."""


async def talk(client: Client, ahead_s: float) -> None:
    """Send packets as a microphone does, until the server ends the session."""
    await asyncio.sleep(ahead_s)
    began_s = time.monotonic()
    sent = 0
    while not client.socket.closed:
        try:
            await client.send(PACKETS[sent % len(PACKETS)])
        except ConnectionError:
            return
        sent += 1
        await asyncio.sleep(max(0.0, began_s + sent * PACKET_S - time.monotonic()))


async def probe(http: aiohttp.ClientSession, url: str) -> tuple[int, int, str | None]:
    """What a load balancer and a newcomer are told: two statuses and Retry-After."""
    async with http.get(url.replace("ws:", "http:").partition("/api")[0] + "/readyz") as ready:
        ready_status = ready.status
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await http.ws_connect(f"{url}?model={MODEL}")
    headers = refused.value.headers
    return ready_status, refused.value.status, headers["Retry-After"] if headers else None


async def test_everything_said_is_answered_and_nobody_is_cut_off() -> None:
    flags = ["--drain-timeout-s", str(DRAIN_S), "--max-load", "0", "--sessions-per-second", "100"]
    with a_process(*flags) as (process, url, _):
        async with aiohttp.ClientSession() as http:
            clients = [
                Client(await http.ws_connect(f"{url}?model={MODEL}")) for _ in range(SESSIONS)
            ]
            reading = [asyncio.create_task(client.closed(30.0)) for client in clients]
            talking = [
                asyncio.create_task(talk(client, number * 0.03))
                for number, client in enumerate(clients)
            ]
            await asyncio.sleep(3.0)
            process.send_signal(signal.SIGTERM)
            stopped_s = time.monotonic()
            await asyncio.sleep(0.05)
            assert await probe(http, url) == (503, 503, "5")
            codes = await asyncio.gather(*reading)
            await asyncio.gather(*talking)
            assert await asyncio.to_thread(process.wait, 20.0) == 0
            took_s = time.monotonic() - stopped_s
    assert set(codes) == {1001}
    for client in clients:
        said = Counter(client.types)
        assert client.types[-1] == "finished"
        assert said["speech_started"] == said["completed"] >= 1
        assert said["failed"] == said["error"] == 0
    assert took_s < DRAIN_S + 5.0


async def test_a_second_signal_waits_for_nothing() -> None:
    async with running_server(held_engine()) as server:
        client = await server.connect()
        await client.send(append(speech(1.0) + silence(1.0)))
        await client.until("speech_stopped")
        stops = asyncio.Semaphore(0)
        leaving = asyncio.create_task(lifecycle._drain(server.server, 60.0, stops))
        await stays(lambda: not leaving.done())
        stops.release()
        assert await client.closed() == 1001
        await asyncio.wait_for(leaving, 5.0)


async def test_a_request_that_is_being_answered_is_waited_for() -> None:
    async with running_server() as server:
        middleware = server.server.connections.middleware
        answering, may_answer = asyncio.Event(), asyncio.Event()

        async def slow(request: web.Request) -> web.Response:
            answering.set()
            await may_answer.wait()
            return web.Response()

        request = make_mocked_request("GET", "/")
        task = asyncio.ensure_future(middleware(request, slow))
        await answering.wait()
        leaving = asyncio.create_task(server.server.drain(10.0))
        await stays(lambda: not leaving.done())
        may_answer.set()
        await asyncio.wait_for(leaving, 2.0)
        assert (await task).status == 200
