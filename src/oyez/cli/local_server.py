"""The server inside a command: the same recognition, order and limits as `oyez serve`, reached
through a socket that only this user can open."""

from __future__ import annotations

import asyncio
import secrets
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web

from oyez.client.session import Target
from oyez.metrics import Metrics
from oyez.runtime.loader import Engines
from oyez.server.access.access import Accounts
from oyez.server.app import Server
from oyez.settings import Settings

THREADS_STOP_S = 2.0
DAY_S = 86_400.0


@asynccontextmanager
async def local_server(engines: Engines) -> AsyncIterator[Target]:
    """Where to connect while it runs. Keeps no record, listens on no port where there are Unix
    sockets."""
    key = secrets.token_hex(16)
    settings = Settings.model_validate(
        {
            "api_key": key,
            "database": "off",
            "max_load": 0,
            "idle_timeout_s": DAY_S,
            "web_page": False,
        }
    )
    metrics = Metrics()
    accounts = await asyncio.to_thread(Accounts, settings, metrics)
    server = Server(settings, engines, metrics, accounts)
    runner = web.AppRunner(server.app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    with tempfile.TemporaryDirectory(prefix="oyez-") as directory:
        try:
            yield await _listen(runner, Path(directory) / "socket", key)
        finally:
            await server.realtime.drain(0.0)
            await runner.cleanup()
            await asyncio.to_thread(server.realtime.stop, THREADS_STOP_S)
            await asyncio.to_thread(accounts.close, THREADS_STOP_S)


async def _listen(runner: web.AppRunner, path: Path, key: str) -> Target:
    if sys.platform == "win32":
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        return Target(f"ws://{host}:{port}", key)
    await web.UnixSite(runner, str(path)).start()
    return Target("ws://oyez", key, socket_path=str(path))
