"""The page for those who see it small, large or not at all, and who use no mouse."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.async_api import Browser, Page

from support.browser import Visitor, visit
from support.server import running_server

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONTROLS = {"button", "link", "radio", "checkbox", "slider", "combobox", "textbox", "menuitem"}
REGIONS = {"banner", "main", "complementary", "navigation", "region"}
LEAST_CONTRAST = 4.5


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_text_stands_out_from_what_is_behind_it(browser: Browser, scheme: Any) -> None:
    async with (
        running_server() as running,
        visit(browser, running.address, color_scheme=scheme, expected="getImageData") as visitor,
    ):
        await _assert_readable(visitor.page)
        await visitor.play_sample()
        await visitor["drawer-toggle"].click()
        await visitor.choose("source", "file")
        await visitor["start"].click()
        await visitor["problem"].wait_for()
        await _assert_readable(visitor.page)


async def _assert_readable(page: Page) -> None:
    contrasts = await page.evaluate("probes.contrasts()")
    assert len(contrasts) > 30
    assert [each for each in contrasts if each[1] < LEAST_CONTRAST] == []


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
        await visitor["start"].click()
        await visitor.page.locator(".firm", has_text="one").first.wait_for()
        live = (
            "[...document.querySelectorAll('[aria-live], [role=log], [role=status], [role=alert]')]"
        )
        within = f"{live}.some((each) => each.contains(document.getElementById('captions')) || "
        assert not await visitor.page.evaluate(within + "captions.contains(each))")
        await visitor["start"].click()
        await visitor.over()
        finals = [e["transcript"] for e in visitor.received if e["type"].endswith(".completed")]
        assert finals[-1].split()[0] in await visitor["said"].inner_text()


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


@pytest.mark.parametrize(("wide", "tall"), [(320, 640), (360, 740), (640, 400), (1280, 800)])
async def test_nothing_is_cut_off_sideways(browser: Browser, wide: int, tall: int) -> None:
    size: Any = {"width": wide, "height": tall}
    async with running_server() as running, visit(browser, running.address, viewport=size) as page:
        fits = "document.documentElement.scrollWidth <= innerWidth"
        assert await page.page.evaluate(fits)
        await page.play_sample()
        await page["drawer-toggle"].click()
        await page["settings"].evaluate("e => e.open = true")
        assert await page.page.evaluate(fits)
        assert await page.page.evaluate("probes.rightmost()") <= wide
        await page["start"].scroll_into_view_if_needed()
        assert await page["start"].is_visible()


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
        await visitor.page.locator(".firm", has_text="one").first.wait_for()
        assert await visitor.page.evaluate("document.getAnimations().length") == 0
