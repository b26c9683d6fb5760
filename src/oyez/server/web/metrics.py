"""`GET /metrics`, open to anybody unless `metrics_key` is set."""

from __future__ import annotations

import asyncio
import hmac

from aiohttp import web

from oyez.metrics import CONTENT_TYPE, Metrics
from oyez.settings import Settings

PATH = "/metrics"
EVERY_S = 0.1
"""The text takes some 10 ms to make: those who ask sooner share the next one."""


class _Exposition:
    """Text that is made after it was asked for, and seldom, however many ask."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._made_s = float("-inf")
        self._next: asyncio.Task[bytes] | None = None

    async def text(self) -> bytes:
        if self._next is None:
            self._next = asyncio.create_task(self._make())
        return await asyncio.shield(self._next)

    async def _make(self) -> bytes:
        loop = asyncio.get_running_loop()
        await asyncio.sleep(self._made_s + EVERY_S - loop.time())
        self._made_s, self._next = loop.time(), None
        return self._metrics.exposition()


def metrics_routes(settings: Settings, metrics: Metrics) -> list[web.RouteDef]:
    """None with the setting `metrics` off."""
    key = settings.metrics_key
    made = _Exposition(metrics)

    async def exposition(request: web.Request) -> web.Response:
        if key and not _is_bearer(request.headers.get("Authorization", ""), key.get_secret_value()):
            return web.Response(
                status=401,
                text="Send the server's metrics_key: Authorization: Bearer KEY\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return web.Response(body=await made.text(), headers={"Content-Type": CONTENT_TYPE})

    return [web.get(PATH, exposition)] if settings.metrics else []


def _is_bearer(authorization: str, key: str) -> bool:
    scheme, _, offered = authorization.strip().partition(" ")
    same = hmac.compare_digest(offered.strip().encode("utf-8", "surrogateescape"), key.encode())
    return scheme.lower() == "bearer" and same
