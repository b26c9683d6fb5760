"""`GET /metrics`, open to anybody unless `metrics_key` is set."""

from __future__ import annotations

import hmac

from aiohttp import web

from oyez.metrics import CONTENT_TYPE, Metrics
from oyez.settings import Settings

PATH = "/metrics"


def metrics_routes(settings: Settings, metrics: Metrics) -> list[web.RouteDef]:
    """None with the setting `metrics` off."""
    key = settings.metrics_key

    async def exposition(request: web.Request) -> web.Response:
        if key and not _is_bearer(request.headers.get("Authorization", ""), key.get_secret_value()):
            return web.Response(
                status=401,
                text="Send the server's metrics_key: Authorization: Bearer KEY\n",
                headers={"WWW-Authenticate": "Bearer"},
            )
        return web.Response(body=metrics.exposition(), headers={"Content-Type": CONTENT_TYPE})

    return [web.get(PATH, exposition)] if settings.metrics else []


def _is_bearer(authorization: str, key: str) -> bool:
    scheme, _, offered = authorization.strip().partition(" ")
    same = hmac.compare_digest(offered.strip().encode("utf-8", "surrogateescape"), key.encode())
    return scheme.lower() == "bearer" and same
