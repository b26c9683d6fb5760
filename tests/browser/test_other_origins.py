"""What a real browser lets a page of another origin do with the server."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from oyez.server.realtime import PATH
from support.server import MODEL, running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

KEY = "a-key-of-our-own-making"
SUBPROTOCOLS = ["oyez", "oyez-key." + base64.urlsafe_b64encode(KEY.encode()).decode().rstrip("=")]
OPEN = """([url, protocols]) => new Promise(done => {
    const socket = new WebSocket(url, protocols);
    socket.onmessage = (message) => { done(JSON.parse(message.data).type); socket.close(); };
    socket.onerror = () => done("refused");
})"""


@asynccontextmanager
async def a_page_elsewhere(browser: Browser) -> AsyncIterator[tuple[Page, str]]:
    """A page of another server, and its origin."""

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text="<h1>Elsewhere</h1>", content_type="text/html")

    app = web.Application()
    app.add_routes([web.get("/", hello)])
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    origin = "http://{}:{}".format(*runner.addresses[0][:2])
    page = await browser.new_page()
    await page.goto(origin)
    yield page, origin
    await page.close()
    await runner.cleanup()


def socket_url(address: str, user: str = "") -> str:
    return f"ws://{user}{address}{PATH}?model={MODEL}"


async def test_without_keys_only_pages_that_are_listed_get_a_session(browser: Browser) -> None:
    async with a_page_elsewhere(browser) as (page, origin):
        async with running_server() as running:
            for url in (socket_url(running.address), socket_url(running.address, "u:p@")):
                for protocols in ([], SUBPROTOCOLS):
                    assert await page.evaluate(OPEN, [url, protocols]) == "refused"
        async with running_server(allowed_origins=origin) as running:
            url = socket_url(running.address)
            assert await page.evaluate(OPEN, [url, []]) == "session.created"


async def test_a_page_that_has_a_key_may_come_from_anywhere(browser: Browser) -> None:
    async with a_page_elsewhere(browser) as (page, _), running_server(api_key=KEY) as running:
        url = socket_url(running.address)
        assert await page.evaluate(OPEN, [url, SUBPROTOCOLS]) == "session.created"
        assert await page.evaluate(OPEN, [url, []]) == "refused"
