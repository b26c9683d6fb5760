"""Counts requests by route, and how long each took; sessions are told apart by status 101."""

from __future__ import annotations

import time

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from oyez.metrics import OTHER, Metrics

NEVER_ANSWERED = 499
"""The status of a request whose client left, as nginx has it."""
UPGRADED = 101


def http_watch(metrics: Metrics) -> Middleware:
    """To be the outermost."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        resource = request.match_info.route.resource
        path = resource.canonical if resource else OTHER
        began_s = time.monotonic()
        status = NEVER_ANSWERED
        try:
            response = await handler(request)
            status = response.status
            return response
        except web.HTTPException as answer:
            status = answer.status
            raise
        except Exception:
            status = 500
            raise
        finally:
            metrics.http_requests.labels(path, str(status)).inc()
            if status != UPGRADED:
                metrics.http_seconds.labels(path).observe(time.monotonic() - began_s)

    return middleware
