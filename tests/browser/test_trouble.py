"""What people are told when something is missing, refused or lost, and what is not lost with it."""

from __future__ import annotations

import asyncio

import pytest
from playwright.async_api import Browser

from support.browser import visit
from support.server import RunningServer, running_server
from support.waiting import eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")
SOCKETS = "WebSocket|Failed to load resource|ERR_CONNECTION"


async def test_a_microphone_that_may_not_be_used(browser: Browser) -> None:
    async with (
        running_server() as running,
        visit(browser, running.address, microphone=False) as visitor,
    ):
        await visitor["start"].click()
        await visitor["problem"].filter(has_text="may not be used").wait_for()
        assert await visitor["start"].inner_text() == "Start listening"
        await visitor["problem-close"].click()
        assert not await visitor["problem"].is_visible()
        await visitor.play_sample()
        assert "one two" in await visitor.words()


async def test_a_page_over_plain_http_from_elsewhere(browser: Browser) -> None:
    async with running_server() as running:
        address = running.address.replace("127.0.0.1", "another.test")
        async with visit(browser, address, microphone=False) as visitor:
            await visitor["start"].click()
            told = visitor["problem"].filter(has_text="https")
            await told.wait_for()
            assert "localhost" in await told.inner_text()


async def test_a_file_without_sound(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        await visitor.choose("source", "file")
        await visitor["start"].click()
        await visitor["problem"].filter(has_text="No file chosen").wait_for()
        text = {"name": "a.txt", "mimeType": "text/plain", "buffer": b"no sound"}
        await visitor["file"].set_input_files(text)  # type: ignore[arg-type]
        await visitor["start"].click()
        await visitor["problem"].filter(has_text="a.txt could not be decoded").wait_for()


async def test_a_full_server_is_asked_again(browser: Browser) -> None:
    async with (
        running_server(max_sessions=1) as running,
        visit(browser, running.address, expected=SOCKETS) as visitor,
    ):
        other = await running.connect()
        await visitor.choose("source", "sample")
        await visitor["pace"].select_option("fast")
        await visitor["start"].click()
        assert "Trying again in 1 s" in await visitor.notice("no room at the moment")
        await other.socket.close()
        await visitor.over()
        assert "one two" in await visitor.words()


async def test_settings_the_server_does_not_take(browser: Browser) -> None:
    async with running_server() as running, visit(browser, running.address) as visitor:
        # a page that was open before the server was changed
        await visitor["language"].evaluate("e => e.append(new Option('x', 'tlh'))")
        await visitor["language"].select_option("tlh")
        await visitor.choose("source", "sample")
        await visitor["start"].click()
        await visitor["problem"].filter(has_text="did not accept these settings").wait_for()
        assert "language: Invalid value: 'tlh'" in await visitor["problem-text"].inner_text()


async def test_a_restarted_server_receives_what_was_said_meanwhile(browser: Browser) -> None:
    """The connection breaks in the middle of a turn; the microphone goes on."""
    async with running_server() as running:
        port = int(running.address.rpartition(":")[2])
        async with visit(browser, running.address, expected=SOCKETS) as visitor:
            await visitor["start"].click()
            await visitor.page.locator(".firm, .stash", has_text="one").first.wait_for()
            await _stop_listening(running)
            for connection in running.server.realtime.connections:
                connection.abort(1011, "a crash")
            await visitor.notice("The microphone goes on")
            await asyncio.sleep(0.7)
            async with running_server(port=port) as again:
                assert "sound that waited were sent" in await visitor.notice("Connected")
                await visitor.page.locator(".firm", has_text="two three").first.wait_for()
                await visitor["start"].click()
                await visitor.over()
                # nothing is missing: the second session heard the open turn from its beginning
                assert await visitor.page.locator("[data-status=cut]").count() == 0
                assert await visitor.page.locator("[data-status=open]").count() == 0
                times = visitor.page.locator("time")
                assert await times.first.inner_text() == "0:00"
                assert "are lost" not in await visitor["notice"].inner_text()
                await again.assert_nothing_left()


async def _stop_listening(running: RunningServer) -> None:
    """So that another server can have its port."""
    await running.accepting.close()


async def test_a_server_that_shuts_down_finishes_first(browser: Browser) -> None:
    async with running_server() as running:
        port = int(running.address.rpartition(":")[2])
        async with visit(browser, running.address, expected=SOCKETS) as visitor:
            await visitor["start"].click()
            await visitor.page.locator(".firm, .stash", has_text="one").first.wait_for()
            await running.server.realtime.drain(5.0)
            await visitor.page.locator("[data-status=final]").first.wait_for()
            await visitor.notice("Trying again")
            assert await visitor["server"].get_attribute("data-state") != "ready"
            await _stop_listening(running)
            async with running_server(port=port):
                await visitor.notice("Connected")
                await visitor.page.locator(".utterance[data-status=open]").wait_for()


async def test_stopping_while_the_server_is_away(browser: Browser) -> None:
    async with (
        running_server(max_sessions=1) as running,
        visit(browser, running.address, expected=SOCKETS) as visitor,
    ):
        other = await running.connect()
        await visitor.choose("source", "sample")
        await visitor["start"].click()
        await visitor.notice("Trying again|no room")
        await visitor["start"].click()
        await visitor["start"].click()
        await visitor.over()
        assert await visitor["start"].inner_text() == "Play the sample"
        assert await visitor["empty"].is_visible()  # nothing was said
        assert not other.socket.closed


async def test_a_session_that_ends_for_want_of_sound_begins_anew(browser: Browser) -> None:
    async with (
        running_server(idle_timeout_s=1.0, close_after_finish_s=0.1) as running,
        visit(browser, running.address) as visitor,
    ):
        await visitor.choose("turns", "manual")
        await visitor["start"].click()
        await eventually(lambda: any(e["type"] == "session.finished" for e in visitor.received))
        await visitor.page.locator("body[data-session=idle]").wait_for()
        await visitor["talk"].focus()
        await visitor.page.keyboard.down("Space")
        await asyncio.sleep(0.8)
        await visitor.page.keyboard.up("Space")
        await visitor.page.locator("[data-status=final]").first.wait_for()
        assert "one" in await visitor.words()
