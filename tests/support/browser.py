"""A visitor of the web page, in a real browser whose microphone plays the shipped sample."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Browser, Locator, Page, WebSocket, async_playwright

CHROMIUM = shutil.which("chromium")
SAMPLE = files("oyez") / "assets" / "two_cities.wav"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--use-fake-device-for-media-stream",
    f"--use-file-for-fake-audio-capture={SAMPLE}",
    "--host-resolver-rules=MAP another.test 127.0.0.1",
)
PROBES = Path(__file__).with_name("probes.js")


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        try:
            yield browser
        finally:
            await browser.close()


class Visitor:
    """Somebody on the page of the server at `address`, and what their browser saw."""

    def __init__(self, page: Page, address: str) -> None:
        self.page = page
        self.address = address
        self.complaints: list[str] = []
        self.urls: list[str] = []
        self.sent: list[dict[str, Any]] = []
        self.received: list[dict[str, Any]] = []
        page.set_default_timeout(15_000)
        page.on("console", lambda each: self._heard(each.type, each.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: self.urls.append(request.url))
        page.on("websocket", self._opened)

    def _heard(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def _opened(self, socket: WebSocket) -> None:
        self.urls.append(socket.url)
        socket.on("framesent", lambda frame: self.sent.append(json.loads(frame)))
        socket.on("framereceived", lambda frame: self.received.append(json.loads(frame)))

    async def open(self) -> None:
        await self.page.add_init_script(path=PROBES)
        await self.page.goto(f"http://{self.address}/")
        await self["server"].and_(self.page.locator("[data-state=ready]")).wait_for()

    def __getitem__(self, element_id: str) -> Locator:
        return self.page.locator(f"#{element_id}")

    async def choose(self, name: str, value: str) -> None:
        """One of the buttons that exclude each other: a source, or what ends turns."""
        await self.page.check(f"input[name={name}][value={value}]", force=True)

    async def play_sample(self) -> None:
        """As fast as it goes, until its last final."""
        await self.choose("source", "sample")
        await self["pace"].select_option("fast")
        await self["start"].click()
        await self.over()

    async def over(self) -> None:
        await self.page.locator("body[data-session=over]").wait_for()

    async def words(self) -> str:
        return " ".join(await self.page.locator(".words").all_inner_texts())

    async def notice(self, pattern: str) -> str:
        """The notice, once it reads like this."""
        return await self["notice"].filter(has_text=re.compile(pattern)).inner_text()

    def sent_types(self) -> list[str]:
        """What was sent, in order; a row of appends counts once."""
        types = [each["type"].rpartition(".")[2] for each in self.sent]
        return [each for n, each in enumerate(types) if n == 0 or each != types[n - 1]]

    async def assert_nothing_amiss(self, expected: str = "") -> None:
        """No request to another host, no violation of the policy, and nothing in the console but
        what is `expected`."""
        hosts = {urlsplit(url).netloc for url in self.urls if not url.startswith("blob:")}
        assert hosts <= {self.address}
        assert await self.page.evaluate("window.violations ?? []") == []
        unexpected = [c for c in self.complaints if not (expected and re.search(expected, c))]
        assert not unexpected, "\n".join(unexpected)


@asynccontextmanager
async def visit(browser: Browser, address: str, **options: Any) -> AsyncIterator[Visitor]:
    """A new visitor, who lets the page listen; options: of the browser's context."""
    expected = options.pop("expected", "")
    microphone = options.pop("microphone", True)
    context = await browser.new_context(**options)
    try:
        if microphone:
            await context.grant_permissions(["microphone", "clipboard-read", "clipboard-write"])
        visitor = Visitor(await context.new_page(), address)
        await visitor.open()
        yield visitor
        await visitor.assert_nothing_amiss(expected)
    finally:
        await context.close()
