"""The page, the server and the real model, once: as somebody meets them who tries oyez."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser

from oyez.runtime.loader import Engines, load_engines
from oyez.settings import Settings
from support.browser import visit
from support.server import running_server

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.model]


def load() -> Engines:
    return load_engines(Settings(threads=1))


async def test_the_microphone_is_understood(browser: Browser) -> None:
    engines = await asyncio.to_thread(load)
    async with (
        running_server(engines=engines) as running,
        visit(browser, running.address) as visitor,
    ):
        await visitor["silence"].fill("300")
        await visitor["start"].click()
        await visitor.page.locator("[data-status=final] .words").first.wait_for()
        await visitor["start"].click()
        await visitor.over()
        said = (await visitor.words()).lower()
        assert any(words in said for words in ("best of times", "age of", "epoch of", "season of"))
        assert await visitor.page.locator(".language").first.inner_text() == "English"
