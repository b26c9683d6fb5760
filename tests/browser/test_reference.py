"""The reference at `/docs`, in a browser."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.async_api import Browser, Page

from support.browser import PROBES
from support.server import running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def reader(browser: Browser, **options: Any) -> AsyncIterator[Page]:
    """A page at `/docs`. Fails if it fetches anything from another host or logs to the console."""
    context = await browser.new_context(**options)
    complaints: list[str] = []
    hosts: set[str] = set()
    async with running_server() as running:
        try:
            page = await context.new_page()
            page.on("console", lambda each: complaints.append(each.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
            if options.get("java_script_enabled", True):
                await page.add_init_script(path=PROBES)
            await page.goto(f"http://{running.address}/docs")
            yield page
            if options.get("java_script_enabled", True):
                assert await page.evaluate("window.violations") == []
        finally:
            await context.close()
    assert complaints == []
    assert hosts == {running.address}


async def test_it_names_the_address_it_was_read_at(browser: Browser) -> None:
    async with reader(browser) as page:
        shown = await page.locator("#address").inner_text()
        assert shown.startswith(
            f"{page.url.removesuffix('/docs')}/api-ws/v1/".replace("http", "ws")
        )


async def test_an_example_can_be_copied(browser: Browser) -> None:
    async with reader(browser, permissions=["clipboard-read", "clipboard-write"]) as page:
        example = page.locator("[id='session.finish'] pre")
        await example.get_by_role("button", name="Copy").click()
        await example.get_by_role("button", name="Copied").wait_for()
        copied = await page.evaluate("navigator.clipboard.readText()")
        assert copied == await example.locator("code").inner_text()
        assert '"type": "session.finish"' in copied


@pytest.mark.parametrize("width", [360, 768, 1280])
async def test_it_fits_every_width(browser: Browser, width: int) -> None:
    async with reader(browser, viewport={"width": width, "height": 800}) as page:
        assert await page.evaluate("document.documentElement.scrollWidth") == width


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_its_ground(browser: Browser, scheme: Any) -> None:
    async with reader(browser, color_scheme=scheme) as page:
        assert await page.evaluate(TOO_FAINT) == []


async def test_it_is_whole_without_scripts(browser: Browser) -> None:
    async with reader(browser, java_script_enabled=False) as page:
        link = page.get_by_role("navigation", name="Contents").get_by_role("link", name="error")
        await link.last.click()
        assert urlsplit(page.url).fragment == "error"
        assert await page.locator("#theme").is_hidden()


TOO_FAINT = """() => {
  const context = document.createElement("canvas").getContext("2d", { willReadFrequently: true });
  const rgb = (colour) => {
    context.clearRect(0, 0, 1, 1);
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data];
  };
  const light = ([r, g, b]) => [r, g, b]
    .map((part) => part / 255)
    .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
    .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
  const ground = (element) => {
    const colour = rgb(getComputedStyle(element).backgroundColor);
    return colour[3] === 255 || !element.parentElement ? colour : ground(element.parentElement);
  };
  const faint = [];
  for (const element of document.body.querySelectorAll("*")) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
    if (!own || element.matches(".anchor, .skip, .hidden")) continue;
    const [a, b] = [light(rgb(getComputedStyle(element).color)), light(ground(element))];
    const contrast = (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
    if (contrast < 4.5) faint.push(`${contrast.toFixed(2)} ${element.textContent.slice(0, 40)}`);
  }
  return faint;
}"""
