"""Settings as the server hears them, the key, and the drawer of raw events."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser

from support.browser import Visitor, visit
from support.server import running_server
from support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_settings_reach_the_server(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor["threshold"].focus()
        for _ in range(4):
            await visitor.page.keyboard.press("ArrowRight")
        await visitor["silence"].focus()
        await visitor.page.keyboard.press("Home")
        assert await visitor["threshold-value"].inner_text() == "0.40"
        assert await visitor["silence-value"].inner_text() == "200 ms"
        await visitor["language"].select_option("sv")
        await visitor["context"].fill("Åsa, Łódź")
        await visitor.play_sample()
        session = visitor.sent[0]["session"]
        assert session["turn_detection"] == {
            "type": "server_vad",
            "threshold": 0.4,
            "silence_duration_ms": 200,
        }
        transcription = session["input_audio_transcription"]
        assert transcription == {"language": "sv", "corpus": {"text": "Åsa, Łódź"}}
        echoed = next(each for each in visitor.received if each["type"] == "session.updated")
        assert echoed["session"]["turn_detection"]["silence_duration_ms"] == 200


async def test_settings_are_found_again(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor["language"].select_option("fi")
        await visitor["silence"].fill("3000")
        await visitor.choose("turns", "manual")
        await visitor.page.reload()
        await visitor.page.locator("#language option[value=fi]").wait_for(state="attached")
        assert await visitor["language"].input_value() == "fi"
        assert await visitor["silence"].input_value() == "3000"
        assert not await visitor["silence"].is_visible()


async def test_a_running_session_is_followed_by_one_with_other_settings(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor["start"].click()
        await visitor.page.locator(".utterance").first.wait_for()
        assert not await visitor["pending"].is_visible()
        await visitor["language"].select_option("de")
        await visitor["apply"].click()
        await eventually(lambda: len(_updates(visitor)) == 2)
        assert _updates(visitor)[1]["session"]["input_audio_transcription"]["language"] == "de"
        await visitor.page.locator(".language", has_text="German").wait_for()
        assert not await visitor["pending"].is_visible()
        assert await visitor.page.locator(".language", has_text="English").count() >= 1
        appended = sum(len(each.get("audio", "")) for each in visitor.sent)
        await visitor["start"].click()
        await visitor.over()
        assert appended > 0


def _updates(visitor: Visitor) -> list[dict[str, Any]]:
    return [each for each in visitor.sent if each["type"] == "session.update"]


async def test_the_key_is_sent_where_nobody_reads_it(browser: Browser) -> None:
    key = "hush-hush-very-secret"
    async with (
        running_server(api_key=key) as running,
        visit(browser, running.address, expected="401|WebSocket") as visitor,
    ):
        await visitor.choose("source", "sample")
        await visitor["pace"].select_option("fast")
        await visitor["start"].click()
        await visitor["problem"].filter(has_text="requires an API key").wait_for()
        await visitor["key"].fill("wrong")
        await visitor["start"].click()
        await visitor["problem"].filter(has_text="does not accept this API key").wait_for()
        assert await visitor.page.evaluate("document.activeElement.id") == "key"
        await visitor["key"].fill(key)
        await visitor["problem-again"].click()
        await visitor.page.locator("[data-status=final]").first.wait_for()
        await visitor.over()
        assert not any(key in url for url in visitor.urls)
        assert key not in await visitor.page.evaluate("JSON.stringify(localStorage)")
        assert key in await visitor.page.evaluate("JSON.stringify(sessionStorage)")
        assert key not in json.dumps(visitor.sent)


async def test_raw_events(browser: Browser, tmp_path: Path) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.play_sample()
        await visitor["drawer-toggle"].click()
        rows = visitor.page.locator("#log li")
        everything = await rows.all_inner_texts()
        assert not any("input_audio_buffer.append" in row for row in everything)
        assert any("session.finished" in row for row in everything)
        await visitor["log-direction"].select_option("sent")
        assert await rows.count() == 2
        await visitor["log-audio"].check()
        assert "(3200 bytes)" in (await rows.all_inner_texts())[1]
        await visitor["log-type"].select_option("session.update")
        assert await rows.count() == 1
        await visitor["log-copy"].click()
        await visitor.page.locator("#log-copy", has_text="Copied").wait_for()
        copied = await visitor.page.evaluate("navigator.clipboard.readText()")
        assert json.loads(copied)["event"] == visitor.sent[0]
        await visitor["log-type"].select_option("")
        await visitor["log-direction"].select_option("")
        async with visitor.page.expect_download() as download:
            await visitor["log-save"].click()
        await (await download.value).save_as(tmp_path / "events")
        lines = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
        assert len(lines) == len(visitor.sent) + len(visitor.received)
        assert {line["direction"] for line in lines} == {"sent", "received"}
        assert (await download.value).suggested_filename == "oyez-events.jsonl"
        await visitor["log-clear"].click()
        assert await rows.count() == 0
        await visitor.page.keyboard.press("Escape")
        assert not await visitor["drawer"].is_visible()
        assert await visitor.page.evaluate("document.activeElement.id") == "drawer-toggle"


async def test_raw_events_stand_still_while_paused(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor["drawer-toggle"].click()
        await visitor["log-pause"].click()
        await visitor.play_sample()
        rows = visitor.page.locator("#log li")
        assert await rows.count() == 0
        await visitor["log-pause"].click()
        assert await rows.count() > 5
