from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from support.driver import Driver
from support.golden import read, replay
from support.order import check_events
from support.server import Client, running_server

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.jsonl"))


class DriverPeer:
    """The pure session, without a server."""

    def __init__(self) -> None:
        self._driver = Driver()
        self._read = 0

    async def send(self, text: str) -> None:
        self._driver.raw(text)

    async def receive(self) -> dict[str, Any]:
        assert self._read < len(self._driver.events), "the session says nothing more"
        self._read += 1
        return self._driver.events[self._read - 1]

    async def leftovers(self) -> list[dict[str, Any]]:
        return self._driver.events[self._read :]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_the_session_answers_as_documented(path: Path) -> None:
    check_events(await replay(read(path), DriverPeer()))


class SocketPeer:
    """The whole server, over a socket, with engines that need no model."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def send(self, text: str) -> None:
        await self._client.send(text)

    async def receive(self) -> dict[str, Any]:
        return await self._client.until("")

    async def leftovers(self) -> list[dict[str, Any]]:
        read = len(self._client.seen)
        assert await self._client.closed() == 1000
        return self._client.seen[read:]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
async def test_the_server_answers_as_documented(path: Path) -> None:
    async with running_server(close_after_finish_s=0.2) as running:
        peer = SocketPeer(await running.connect())
        check_events(await replay(read(path), peer))
        await running.assert_nothing_left()
