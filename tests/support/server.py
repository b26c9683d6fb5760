"""A real server in the test's own event loop, on a free port, with engines that need no model."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp
import numpy as np
from aiohttp import web

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import EmotionClassifier
from oyez.engines.emotion import Neutral
from oyez.metrics import Metrics
from oyez.runtime.loader import Engines
from oyez.server.access.callers import Accounts
from oyez.server.app import Server
from oyez.server.process.listening import Listening, bind
from oyez.server.realtime import PATH
from oyez.settings import Settings
from oyez.testing import FakeDetector, FakeRecogniser
from support.closed import as_described
from support.waiting import eventually

MODEL = "qwen3-asr-flash-realtime"


def speech(duration_s: float) -> bytes:
    """PCM16 that the fake detector takes for speech."""
    samples = np.full(round(duration_s * SAMPLE_RATE), 8000, "<i2")
    samples[::2] *= -1
    return samples.tobytes()


def silence(duration_s: float) -> bytes:
    return bytes(2 * round(duration_s * SAMPLE_RATE))


def append(audio: bytes) -> str:
    encoded = base64.b64encode(audio).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": encoded})


FINISH = json.dumps({"type": "session.finish"})


class Client:
    """A WebSocket client that keeps what it has seen, and holds it to the reference."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.socket = socket
        self.seen: list[dict[str, Any]] = []

    async def send(self, *messages: str | bytes) -> None:
        for message in messages:
            if isinstance(message, bytes):
                await self.socket.send_bytes(message)
            else:
                await self.socket.send_str(message)

    async def until(self, event_type: str, timeout_s: float = 10.0) -> dict[str, Any]:
        """The next event whose type ends like this."""
        async with asyncio.timeout(timeout_s):
            while True:
                event = as_described(await self.socket.receive_json())
                self.seen.append(event)
                if event["type"].endswith(event_type):
                    return event

    async def closed(self, timeout_s: float = 10.0) -> int | None:
        """Read until the server closes; its code."""
        async with asyncio.timeout(timeout_s):
            async for message in self.socket:
                self.seen.append(as_described(json.loads(message.data)))
        return self.socket.close_code

    @property
    def types(self) -> list[str]:
        return [event["type"].rpartition(".")[2] for event in self.seen]

    def vanish(self) -> None:
        """Drop the connection without a word, as a crash does."""
        transport = self.socket._response.connection.transport  # type: ignore[union-attr]
        transport.abort()  # type: ignore[union-attr]


def held_engine() -> FakeRecogniser:
    """It answers nothing until it may."""
    engine = FakeRecogniser()
    engine.may_answer.clear()
    return engine


@dataclass
class RunningServer:
    server: Server
    engine: FakeRecogniser
    address: str
    http: aiohttp.ClientSession
    accepting: Listening
    runner: web.AppRunner

    async def connect(
        self,
        query: str = f"model={MODEL}",
        *,
        path: str = PATH,
        key: str | None = None,
        **options: Any,
    ) -> Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        url = f"ws://{self.address}{path}?{query}"
        return Client(await self.http.ws_connect(url, headers=headers, **options))

    async def get(self, path: str, **headers: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, body (parsed if JSON) and the response."""
        async with self.http.get(f"http://{self.address}{path}", headers=headers) as response:
            is_json = response.content_type == "application/json"
            body = await (response.json() if is_json else response.text())
            return response.status, body, response

    async def upgrade(self, **headers: str) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Ask for an upgrade that is refused, so that the HTTP answer can be read."""
        handshake = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
        }
        return await self.get(f"{PATH}?model={MODEL}", **handshake, **headers)

    async def assert_nothing_left(self) -> None:
        """No connection, no place taken, no job."""
        realtime = self.server.realtime
        await eventually(lambda: not realtime.connections)
        await eventually(lambda: realtime.admission.open_sessions == 0)
        await eventually(lambda: realtime.scheduler.waiting + realtime.scheduler.running == 0)


@asynccontextmanager
async def running_server(
    engine: FakeRecogniser | None = None,
    *,
    engines: Engines | None = None,
    session_cost: float = 0.0,
    emotion: EmotionClassifier | None = None,
    port: int = 0,
    **settings: Any,
) -> AsyncIterator[RunningServer]:
    """A server with these settings. After the test its tasks must be gone. engines: real ones
    instead of fakes. port: 0: a free one."""
    engine = engine or FakeRecogniser()
    before = asyncio.all_tasks()
    engines = engines or Engines(engine, FakeDetector(), emotion or Neutral(), session_cost)
    options = Settings(**{"database": "off", "create_database": True, **settings})
    metrics = Metrics()
    accounts = await asyncio.to_thread(Accounts, options, metrics)
    server = Server(options, engines, metrics, accounts)
    runner = web.AppRunner(server.app, shutdown_timeout=0.1, auto_decompress=False)
    await runner.setup()
    assert runner.server is not None
    listener = bind("127.0.0.1", port)
    accepting = Listening(listener, runner.server, server.connections)
    host, port = listener.getsockname()[:2]
    async with aiohttp.ClientSession() as http:
        yield RunningServer(server, engine, f"{host}:{port}", http, accepting, runner)
    engine.may_answer.set()
    await server.drain(1.0)
    await accepting.close()
    await runner.cleanup()
    await asyncio.to_thread(server.realtime.stop, 5.0)
    await asyncio.to_thread(accounts.close, 5.0)
    await eventually(lambda: asyncio.all_tasks() <= before)
