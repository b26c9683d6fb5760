"""The clock of the load generator."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from oyez.bench import load
from oyez.bench.load import Recording, Stream, Take
from oyez.client import Session


class Socket:
    """Takes half a second over the fifth message, as a server that does not read."""

    close_code = 1000

    def __init__(self) -> None:
        self.sent_s: list[float] = []
        self.finished = asyncio.Event()

    async def send_str(self, text: str) -> None:
        self.sent_s.append(time.perf_counter())
        if len(self.sent_s) == 5:
            await asyncio.sleep(0.5)
        if text == load.FINISH:
            self.finished.set()

    async def receive(self, **_: object) -> Any:
        await self.finished.wait()
        finished = json.dumps({"type": "session.finished"})
        return aiohttp.WSMessage(aiohttp.WSMsgType.TEXT, finished, None)


async def test_a_blocked_packet_delays_none_that_is_due_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    socket = Socket()

    @asynccontextmanager
    async def opened(*_: object) -> AsyncIterator[Session]:
        yield Session(socket, "test")  # type: ignore[arg-type]

    monkeypatch.setattr(load, "open_session", opened)
    (take,) = await load.stream_all("", None, [Stream(0, None, 3.0, ["x"] * 20)])
    began_s = take.recording.began_s
    for number, sent_s in enumerate(socket.sent_s[:20], start=1):
        held_s = 0.1 * max(0, 10 - number) if number > 5 else 0.0
        assert sent_s - began_s == pytest.approx(0.1 * number + held_s, abs=0.08)
    assert max(take.late_ms) < 80, "the server's fault is not the generator's"


async def test_a_busy_generator_knows_that_it_is_late() -> None:
    socket = Socket()
    take = Take(Stream(0, None, 0.0, ["x"] * 3), Recording(time.perf_counter()))
    sending = asyncio.create_task(load._send(Session(socket, "test"), take, paced=True))  # type: ignore[arg-type]
    await asyncio.sleep(0.05)
    time.sleep(0.15)  # noqa: ASYNC251 - what the figure is there to show
    await sending
    assert take.late_ms[0] > 80 and take.late_ms[2] < 50
