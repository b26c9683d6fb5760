"""Make the pictures of the web page in docs/images: a real server, a real browser, the sample.

Needs Chromium and the packages of `make setup`: .venv/bin/python scripts/page_screenshots.py
"""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from playwright.async_api import Browser, async_playwright

IMAGES = Path(__file__).parents[1] / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
MOMENT_S = 12.0
"""Into the sample: some sentences are final, one is being spoken."""


@contextmanager
def a_server() -> Iterator[str]:
    """The address of a server that runs as long as this does."""
    command = [sys.executable, "-m", "oyez", "serve", "--port", "0", "--database", "off"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if ready := re.search(r"oyez is ready: ws://([\d.:]+)/", line):
                yield f"http://{ready[1]}/"
                break
        else:
            raise SystemExit("the server did not start")
    finally:
        process.terminate()
        process.wait()


async def take(browser: Browser, address: str, scheme: Literal["light", "dark"]) -> None:
    context = await browser.new_context(
        viewport={"width": 1280, "height": 800}, color_scheme=scheme
    )
    page = await context.new_page()
    await page.goto(address)
    await page.fill("#silence", "500")
    await page.check("input[name=source][value=sample]", force=True)
    await page.uncheck("#aloud")
    await page.click("#start")
    await asyncio.sleep(MOMENT_S)
    await page.screenshot(path=IMAGES / f"page-{scheme}.png")
    await context.close()


async def main() -> None:
    IMAGES.mkdir(exist_ok=True)
    with a_server() as address:
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            await take(browser, address, "light")
            await take(browser, address, "dark")
            await browser.close()


asyncio.run(main())
