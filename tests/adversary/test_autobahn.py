"""Autobahn's own cases, on the server's WebSocket layer behind a route that echoes.

`kosoku` runs them: the case files of Autobahn's test suite, whose own runner needs Python 2. What
oyez itself answers is in `test_websocket_rules`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from websockets.frames import Frame, Opcode

from oyez.server.session.websocket import WebSocket

MAX_MESSAGE_BYTES = 17 << 20
"""The largest message of Autobahn's cases has 16 MiB."""
NOT_STRICT = {
    *("3.2", "3.3", "3.4", "4.1.3", "4.1.4", "4.1.5", "4.2.3", "4.2.4", "4.2.5", "5.15"),
    *("6.4.3", "6.4.4"),
}
"""A message in front of a wrong frame may be lost with it, where both came at once; wrong text is
noticed at the end of a fragment."""
NO_COMPRESSION = ["12.*", "13.*"]
"""permessage-deflate, which is not offered."""


class Echo(WebSocket):
    """Sends each message back, as the kind it was."""

    is_text = True

    def _handle_data(self, frame: Frame) -> None:
        if frame.opcode is not Opcode.CONT:
            self.is_text = frame.opcode is Opcode.TEXT
        super()._handle_data(frame)

    def echo(self, message: bytes) -> None:
        send = self._protocol.send_text if self.is_text else self._protocol.send_binary
        send(message)


async def echo(request: web.Request) -> web.StreamResponse:
    socket = Echo(MAX_MESSAGE_BYTES)
    await socket.accept(request, None)
    socket.listen(socket.echo, lambda: None)
    await socket.ended.wait()
    await socket.finish()
    socket.release()
    return socket.response


@asynccontextmanager
async def echo_server() -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_get("/", echo)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    yield f"{host}:{port}"
    await runner.cleanup()


@pytest.fixture
def kosoku() -> Iterator[Any]:
    """It puts stand-ins for old packages before those that are installed: other tests must not
    find them."""
    paths, known = list(sys.path), set(sys.modules)
    yield pytest.importorskip("kosoku")
    sys.path[:] = paths
    for name in set(sys.modules) - known:
        if "kosoku" in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


async def test_autobahns_cases(kosoku: Any) -> None:
    async with echo_server() as address, asyncio.timeout(120):
        try:
            results = await kosoku.run_fuzzingclient(
                f"ws://{address}", exclude_cases=NO_COMPRESSION, concurrency=8
            )
        except kosoku.FailureError as error:
            results = error.results
    assert len(results) > 240
    failed = {each.case_id: (each.result, each.result_close) for each in results if not each.passed}
    assert not failed
    lenient = {each.case_id for each in results if each.behavior.value == "NON-STRICT"}
    assert lenient <= NOT_STRICT
