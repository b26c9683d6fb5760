from __future__ import annotations

import asyncio

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from oyez.metrics import Metrics
from oyez.server.web.pages import metrics_routes
from oyez.settings import Settings


async def test_simultaneous_requests_share_a_text_that_is_made_after_them() -> None:
    metrics = Metrics()
    make, made = metrics.exposition, 0

    def exposition() -> bytes:
        nonlocal made
        made += 1
        return make()

    metrics.exposition = exposition  # type: ignore[method-assign]
    (route,) = metrics_routes(Settings(), metrics)

    async def ask() -> str:
        answer = await route.handler(make_mocked_request("GET", "/metrics"))
        assert isinstance(answer, web.Response)
        return str(answer.text)

    await asyncio.gather(*(ask() for _ in range(50)))
    assert made == 1
    metrics.http_requests.labels("/x", "200").inc()
    texts = await asyncio.gather(*(ask() for _ in range(50)))
    assert made == 2
    assert all('oyez_http_requests_total{path="/x",status="200"} 1.0' in text for text in texts)
