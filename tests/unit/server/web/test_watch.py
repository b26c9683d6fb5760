"""What becomes of a request that no handler answers: it is counted all the same."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from oyez.metrics import Metrics
from oyez.server.web.watch import http_watch


async def counted(answer: web.StreamResponse | BaseException) -> str:
    """The status under which a request with this end is counted."""
    metrics = Metrics()

    async def handler(request: web.Request) -> web.StreamResponse:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    request = make_mocked_request("GET", "/made-up")
    try:
        await http_watch(metrics)(request, handler)
    except BaseException as raised:  # noqa: BLE001 - whatever it is, it must come through
        assert raised is answer
    lines = metrics.exposition().decode().splitlines()
    (line,) = [line for line in lines if line.startswith("oyez_http_requests_total{")]
    return line


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (web.Response(status=204), "204"),
        (web.HTTPForbidden(), "403"),
        (ValueError("our bug"), "500"),
        (asyncio.CancelledError(), "499"),
    ],
)
async def test_every_end_of_a_request_is_counted(
    answer: web.StreamResponse | BaseException, status: str
) -> None:
    assert f',status="{status}"}} 1.0' in await counted(answer)
