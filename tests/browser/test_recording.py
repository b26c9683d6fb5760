"""Sound in, words out, files saved."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from playwright.async_api import Browser

from oyez.engines.fake import FakeRecogniser
from support.browser import SAMPLE, Visitor, visit
from support.server import running_server
from support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_words_grow_while_somebody_speaks(browser: Browser) -> None:
    async with (
        running_server() as running,
        visit(browser, running.address, expected="willReadFrequently") as visitor,
    ):
        assert await visitor.page.evaluate("probes.voicePixels()") == 0
        await visitor["start"].click()
        await visitor.page.locator(".firm", has_text="one two").wait_for()
        tentative = visitor.page.locator(".stash").last
        style = await tentative.evaluate("e => ({...getComputedStyle(e)})")
        assert (style["fontStyle"], style["textDecorationStyle"]) == ("italic", "dotted")
        assert await visitor.page.evaluate("probes.voicePixels()") > 100
        assert await visitor.page.locator(".language").first.inner_text() == "English"
        assert await visitor.page.locator("#timeline button").count() >= 1
        await visitor["start"].click()
        await visitor.over()
        assert await visitor.page.locator("[data-status=open]").count() == 0
        assert "two" in await visitor["said"].inner_text()
        assert await visitor["latency-first"].inner_text() != "–"
        await running.assert_nothing_left()


async def test_what_is_sent_is_pcm_of_100_ms(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor["start"].click()
        await visitor.page.locator(".utterance").first.wait_for()
        appends = [each for each in visitor.sent if each["type"].endswith("append")]
        assert {len(each["audio"]) for each in appends} == {4268}  # 3200 bytes in base64
        assert visitor.sent_types()[:2] == ["update", "append"]


async def test_files_of_the_transcript(browser: Browser, tmp_path: Path) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.play_sample()
        saved = {kind: await _save(visitor, kind, tmp_path) for kind in ("txt", "srt", "vtt")}
        saved["json"] = await _save(visitor, "json", tmp_path)
        utterances = json.loads(saved["json"])["utterances"]
        finals = [each["transcript"] for each in visitor.received if "transcript" in each]
        assert [each["transcript"] for each in utterances] == [each for each in finals[:-1] if each]
        assert saved["txt"].split("\n")[:-1] == [each["transcript"] for each in utterances]
        assert saved["srt"].startswith("1\n00:00:00,")
        assert saved["vtt"].startswith("WEBVTT\n\n00:00:00.")
        assert utterances[0]["language"] == "en"
        assert utterances[-1]["end_ms"] <= 20_500
        await visitor["copy"].click()
        await visitor.page.locator("#copy", has_text="Copied").wait_for()
        assert await visitor.page.evaluate("navigator.clipboard.readText()") == saved["txt"]


async def _save(visitor: Visitor, kind: str, folder: Path) -> str:
    async with visitor.page.expect_download() as download:
        await visitor.page.click(f"[data-export={kind}]")
    taken = await download.value
    assert taken.suggested_filename == f"oyez-transcript.{kind}"
    await taken.save_as(folder / kind)
    return (folder / kind).read_text()


async def test_a_file_as_it_is_spoken(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.choose("source", "file")
        await visitor["file"].set_input_files(str(SAMPLE))
        await visitor["start"].click()
        await visitor.page.locator(".firm", has_text="one").wait_for()
        clock = await visitor["clock"].inner_text()
        assert clock in ("0:01", "0:02", "0:03", "0:04", "0:05", "0:06", "0:07")
        await visitor["start"].click()
        await visitor.over()


async def test_hold_the_space_bar_to_talk(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.choose("turns", "manual")
        await visitor["start"].click()
        await visitor["talk"].wait_for()
        keyboard = visitor.page.keyboard
        await visitor["captions"].focus()
        await asyncio.sleep(0.5)
        assert visitor.sent_types() == ["update"]
        for turn in (1, 2):
            await keyboard.down("Space")
            await asyncio.sleep(1.2)
            await keyboard.up("Space")
            await visitor.page.locator(
                f".utterance[data-status=final] >> nth={turn - 1}"
            ).wait_for()
        assert visitor.sent[0]["session"]["turn_detection"] is None
        assert visitor.sent_types() == ["update", "append", "commit", "append", "commit"]
        assert await visitor.page.locator("#timeline button").count() == 2
        await visitor["start"].click()
        await visitor.over()
        assert "one two" in await visitor.words()


async def test_the_space_bar_still_types(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.choose("turns", "manual")
        await visitor["start"].click()
        await visitor["talk"].wait_for()
        await visitor["context"].press_sequentially("a b")
        assert await visitor["context"].input_value() == "a b"
        assert await visitor["talk"].get_attribute("aria-pressed") == "false"
        await visitor["talk"].focus()
        await visitor.page.keyboard.down("Enter")
        assert await visitor["talk"].get_attribute("aria-pressed") == "true"
        await visitor.page.keyboard.up("Enter")
        assert await visitor["talk"].get_attribute("aria-pressed") == "false"


async def test_any_script_looks_right(browser: Browser) -> None:
    said = {"ar": "مرحبا بالعالم", "zh": "今天 天气", "th": "สวัสดี"}
    engine = FakeRecogniser(lambda request: said[request.language or "zh"])
    async with running_server(engine) as running, visit(browser, running.address) as visitor:
        for language in said:
            await visitor["language"].select_option(language)
            await visitor.play_sample()
            words = visitor.page.locator(".words").first
            assert await words.get_attribute("lang") == language
            direction = await words.evaluate("e => getComputedStyle(e).direction")
            assert direction == ("rtl" if language == "ar" else "ltr")


async def test_the_reader_is_left_where_they_are(browser: Browser) -> None:
    engine = FakeRecogniser(lambda request: "word " * 200)
    size = {"width": 500, "height": 500}
    async with (
        running_server(engine) as running,
        visit(browser, running.address, viewport=size) as visitor,
    ):
        await visitor["start"].click()
        pane = visitor["captions"]
        await visitor.page.locator(".firm, .stash", has_text="word word").first.wait_for()
        await eventually(lambda: len(visitor.received) > 5)
        at_end = "e => e.scrollHeight - e.scrollTop - e.clientHeight < 4"
        assert await pane.evaluate("e => e.scrollHeight > e.clientHeight")
        assert await pane.evaluate(at_end)
        await pane.evaluate("e => e.scrollTop = 0")
        await visitor["latest"].wait_for()
        assert await pane.evaluate("e => e.scrollTop") == 0
        await visitor["latest"].click()
        assert await pane.evaluate(at_end)
        assert not await visitor["latest"].is_visible()
