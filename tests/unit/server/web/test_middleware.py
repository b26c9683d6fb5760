from __future__ import annotations

import asyncio

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer, make_mocked_request

from oyez.metrics import Metrics
from oyez.server.web.middleware import TrustedProxies, count_requests, resolve_client

INNER = TrustedProxies(["10.0.0.0/8", "127.0.0.1", "::1"])


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "client"),
    [
        ("203.0.113.9", [], "203.0.113.9"),
        ("203.0.113.9", ["198.51.100.1"], "203.0.113.9"),  # not a trusted proxy
        ("127.0.0.1", [], "127.0.0.1"),
        ("127.0.0.1", ["198.51.100.1"], "198.51.100.1"),
        (
            "127.0.0.1",
            ["1.1.1.1, 198.51.100.1"],
            "198.51.100.1",
        ),  # the client's claim
        ("127.0.0.1", ["1.1.1.1, 198.51.100.1, 10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["1.1.1.1", "198.51.100.1", "10.1.2.3"], "198.51.100.1"),
        ("127.0.0.1", ["10.1.2.3"], "10.1.2.3"),
        ("127.0.0.1", ["198.51.100.1:4711"], "198.51.100.1"),
        ("127.0.0.1", ["[2001:db8::7]:4711"], "2001:db8::7"),
        ("::ffff:127.0.0.1", ["2001:db8::7"], "2001:db8::7"),
        ("127.0.0.1", ["198.51.100.1, unknown"], "127.0.0.1"),
        ("127.0.0.1", ["<script>"], "127.0.0.1"),
        ("127.0.0.1", [""], "127.0.0.1"),
        (None, ["198.51.100.1"], None),
    ],
)
def test_the_client_is_the_peer_of_the_outermost_trusted_proxy(
    peer: str | None, forwarded_for: list[str], client: str | None
) -> None:
    assert INNER.client(peer, forwarded_for) == client


@pytest.mark.parametrize(
    ("peer", "forwarded_proto", "scheme"),
    [
        ("127.0.0.1", ["https"], "https"),
        ("127.0.0.1", ["http, HTTPS "], "https"),
        ("127.0.0.1", ["https", "http"], "http"),
        ("127.0.0.1", ["gopher"], None),
        ("127.0.0.1", [], None),
        ("203.0.113.9", ["https"], None),
    ],
)
def test_the_scheme_is_that_of_the_nearest_proxy(
    peer: str, forwarded_proto: list[str], scheme: str | None
) -> None:
    assert INNER.scheme(peer, forwarded_proto) == scheme


@pytest.mark.parametrize(
    ("trusted", "seen"),
    [(["127.0.0.1"], "198.51.100.1 https"), (["10.0.0.0/8"], "127.0.0.1 http")],
)
async def test_handlers_get_address_and_scheme_of_the_client(trusted: list[str], seen: str) -> None:
    async def show(request: web.Request) -> web.Response:
        return web.Response(text=f"{request.remote} {request.scheme}")

    app = web.Application(middlewares=[resolve_client(TrustedProxies(trusted))])
    app.router.add_get("/", show)
    async with TestServer(app) as server, ClientSession() as http:
        headers = {"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https"}
        async with http.get(server.make_url("/"), headers=headers) as response:
            assert await response.text() == seen


async def counted(answer: web.StreamResponse | BaseException) -> str:
    """The line of the exposition for a request that ends like this."""
    metrics = Metrics()

    async def handler(request: web.Request) -> web.StreamResponse:
        if isinstance(answer, BaseException):
            raise answer
        return answer

    request = make_mocked_request("GET", "/made-up")
    try:
        await count_requests(metrics)(request, handler)
    except BaseException as raised:  # noqa: BLE001 - every exception must pass
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
