"""The page for those who see it small, large or not at all, and who use no mouse."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.async_api import Browser, Page

from support.browser import Visitor, visit
from support.server import running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTROLS = {"button", "link", "radio", "checkbox", "slider", "combobox", "textbox", "menuitem"}
REGIONS = {"banner", "main", "complementary", "navigation", "region"}
LEAST_CONTRAST = 4.5


async def test_text_stands_out_from_what_is_behind_it(browser: Browser) -> None:
    async with (
        running_server() as running,
        visit(browser, running.address, expected="getImageData") as visitor,
    ):
        await _assert_readable(visitor.page)
        await visitor.play_sample()
        await visitor["drawer-toggle"].click()
        await visitor.choose("source", "file")
        await visitor["start"].click()
        await visitor["problem"].wait_for()
        await _assert_readable(visitor.page)


async def _assert_readable(page: Page) -> None:
    schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
    for scheme in schemes:
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        contrasts = await page.evaluate("probes.contrasts()")
        assert len(contrasts) > 30
        assert [(scheme, *each) for each in contrasts if each[1] < LEAST_CONTRAST] == []


async def test_everything_has_a_name(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.play_sample()
        await visitor["drawer-toggle"].click()
        session = await visitor.page.context.new_cdp_session(visitor.page)
        tree = (await session.send("Accessibility.getFullAXTree"))["nodes"]
        nodes = [
            (node["role"]["value"], node.get("name", {}).get("value", ""))
            for node in tree
            if not node.get("ignored") and "role" in node
        ]
        named = {role: [name for other, name in nodes if other == role] for role, _ in nodes}
        assert set(named) >= {*REGIONS, "heading", "log", "list", "toolbar"}
        unnamed = [role for role, name in nodes if role in CONTROLS | {"region"} and not name]
        assert unnamed == []
        assert sum(len(names) for role, names in named.items() if role in CONTROLS) > 25


async def test_only_what_is_final_is_read_out(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.play_sample()
        live = "[aria-live], [role=log], [role=status], [role=alert]"
        assert await visitor["captions"].locator(live).count() == 0
        assert not await visitor["captions"].evaluate(f"e => !!e.closest('{live}')")
        finals = [e["transcript"] for e in visitor.received if e["type"].endswith(".completed")]
        assert " ".join(finals[-2:]) in await visitor["said"].inner_text()


async def test_the_keyboard_reaches_everything_in_order(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.play_sample()
        await visitor.page.locator(".skip").focus()
        reached = [await _tab(visitor) for _ in range(20)]
        assert [name for name, _ in reached] == [
            *("oyez", "drawer-toggle", "Docs", "theme", "captions"),
            *("Text", "SRT", "VTT", "JSON", "copy", "(timeline)", "source", "pace", "start"),
            *("turns", "threshold", "silence", "language", "context", "key"),
        ]
        assert [name for name, outlined in reached if not outlined] == []


async def _tab(visitor: Visitor) -> tuple[str, bool]:
    await visitor.page.keyboard.press("Tab")
    name, outlined = await visitor.page.evaluate("probes.focused()")
    return name, outlined


async def test_the_timeline_is_one_stop_with_arrows(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor["silence"].fill("200")
        await visitor.play_sample()
        blocks = visitor.page.locator("#timeline button")
        assert await blocks.count() >= 2
        assert await visitor.page.locator("#timeline button[tabindex='0']").count() == 1
        await blocks.first.focus()
        await visitor.page.keyboard.press("ArrowRight")
        assert await blocks.nth(1).evaluate("e => e === document.activeElement")
        await visitor.page.keyboard.press("Enter")
        await visitor.page.locator(".utterance.shown >> nth=0").wait_for()


async def test_nothing_is_cut_off_sideways(browser: Browser) -> None:
    """Small phones; a wide screen at 200 %; a wide screen."""
    async with running_server() as running, visit(browser, running.address) as visitor:
        page = visitor.page
        await _assert_fits(page)
        await visitor.play_sample()
        await visitor["drawer-toggle"].click()
        await _assert_fits(page)
        await visitor.choose("source", "file")
        await _assert_fits(page)


async def _assert_fits(page: Page) -> None:
    for wide, tall in ((320, 640), (360, 740), (640, 400), (1280, 800)):
        await page.set_viewport_size({"width": wide, "height": tall})
        await page.evaluate("document.getElementById('settings').open = true")
        assert await page.evaluate("document.documentElement.scrollWidth") <= wide
        assert await page.evaluate("probes.rightmost()") <= wide


async def test_colours_are_chosen_and_kept(browser: Browser) -> None:
    async with (
        running_server() as running,
        visit(browser, running.address, color_scheme="light") as visitor,
    ):
        paper = "getComputedStyle(document.body).backgroundColor"
        light = await visitor.page.evaluate(paper)
        await visitor["theme"].click()
        assert await visitor.page.evaluate(paper) == light
        await visitor["theme"].click()
        dark = await visitor.page.evaluate(paper)
        assert dark != light
        await visitor.page.reload()
        assert await visitor.page.evaluate(paper) == dark


async def test_nothing_moves_for_those_who_do_not_want_it(browser: Browser) -> None:
    async with (
        running_server() as running,
        visit(browser, running.address, reduced_motion="reduce") as visitor,
    ):
        await visitor["start"].click()
        await visitor.page.locator(".utterance").first.wait_for()
        assert await visitor.page.evaluate("document.getAnimations().length") == 0
