"""`examples/browser`: a page of another origin, with a key."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import Browser, Page

from support.browser import PROBES
from support.server import running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLE = Path(__file__).parents[2] / "examples/browser"
KEY = "a-key/with+signs/and+more"


@asynccontextmanager
async def served_elsewhere(browser: Browser, server: str) -> AsyncIterator[Page]:
    app = web.Application()
    app.router.add_static("/", EXAMPLE)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    context = await browser.new_context()
    try:
        await context.grant_permissions(["microphone"])
        page = await context.new_page()
        page.set_default_timeout(15_000)
        await page.add_init_script(path=PROBES)
        await page.goto(f"http://127.0.0.1:{runner.addresses[0][1]}/index.html")
        await page.fill("#url", f"ws://{server}/api-ws/v1/realtime")
        yield page
    finally:
        await context.close()
        await runner.cleanup()


async def test_it_shows_what_is_said(browser: Browser) -> None:
    async with (
        running_server(api_key=(KEY,)) as running,
        served_elsewhere(browser, running.address) as page,
    ):
        await page.fill("#key", KEY)
        await page.click("#start")
        await page.locator("#words p", has_text="one two three").first.wait_for()
        await page.click("#stop")
        await page.locator("#state", has_text="Closed: 1000").wait_for()
        await running.assert_nothing_left()


async def test_without_a_key_it_may_not_use_a_server_without_keys(browser: Browser) -> None:
    async with (
        running_server() as running,
        served_elsewhere(browser, running.address) as page,
    ):
        await page.click("#start")
        await page.locator("#state", has_text="Closed: 1006").wait_for()
        assert running.server.realtime.admission.open_sessions == 0
