from __future__ import annotations

import threading
from html.parser import HTMLParser
from typing import Any

import pytest

from oyez.engines.base import LANGUAGES
from oyez.protocol.qwen.codec import CLIENT_EVENTS
from oyez.protocol.server_events import CLOSE_CODES, ERROR_CODES, SERVER_EVENTS
from oyez.server.reference.asyncapi import asyncapi
from oyez.server.reference.openapi import openapi
from oyez.server.reference.page import FILES, breakable, prose, reference_files, render
from oyez.settings import Settings
from support.server import running_server

LOOKED_UP = ("$ref", "action", "type")
VOID = {"meta", "link", "br", "hr", "img", "wbr"}


class Page(HTMLParser):
    """The links, the ids and the fetched files of a page. Fails if an element is not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.ids: list[str] = []
        self.fetched: list[str] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert "style" not in given and not any(name.startswith("on") for name in given)
        if tag not in VOID:
            self._open.append(tag)
        if tag == "a":
            self.links.append(given["href"] or "")
        elif given.get("src") or given.get("href"):
            self.fetched.append(given.get("src") or given.get("href") or "")
        if given.get("id"):
            self.ids.append(given["id"] or "")

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page() -> Page:
    return Page(reference_files(Settings())["/docs"].body.decode())


def test_every_event_has_its_place(page: Page) -> None:
    assert {*CLIENT_EVENTS, *SERVER_EVENTS} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_every_link_leads_somewhere(page: Page) -> None:
    elsewhere = {link for link in page.links if link.removeprefix("#") not in page.ids}
    assert elsewhere == {"./", "docs/asyncapi.json", "docs/openapi.json"}


def test_nothing_comes_from_elsewhere(page: Page) -> None:
    assert set(page.fetched) == {f"docs/{name}" for name in FILES}
    for name in FILES:
        text = reference_files(Settings())[f"/docs/{name}"].body.decode()
        text = text.replace("http://www.w3.org/2000/", "")
        assert "//" not in text.replace("// ", "") and "url(" not in text and "@import" not in text


def test_codes_limits_and_languages_are_named(page: Page) -> None:
    words = page.text.split()
    assert {*ERROR_CODES, *LANGUAGES} <= set(words) | set(page.text.replace(".", " ").split())
    for code, meaning in CLOSE_CODES.items():
        assert str(code) in page.text and meaning.replace("`", "") in page.text
    assert "idle_timeout_s = 300.0" in page.text


def test_what_is_text_stays_text() -> None:
    assert prose("see `a<b` & c") == "see <code>a&lt;b</code> &amp; c"
    assert breakable("a.b_<") == "a.<wbr>b_<wbr>&lt;<wbr>"


def test_text_of_the_documents_is_no_markup_wherever_it_stands() -> None:
    """Every text of both documents ends with characters that would begin an element."""
    evil = '<em title="x">&amp;\'`'
    plain = Page(render(asyncapi(Settings()), openapi(Settings())))
    marked = render(_with(evil, asyncapi(Settings())), _with(evil, openapi(Settings())))
    assert "<em" not in marked
    shown = Page(marked)
    assert len(shown.ids) == len(plain.ids)
    assert shown.text.count(evil.removesuffix("`")) > 500


def _with(mark: str, value: Any, key: str = "") -> Any:
    """A copy of a document with `mark` behind every text, except those that the page looks up."""
    if isinstance(value, dict):
        return {name: _with(mark, each, name) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_with(mark, each, key) for each in value]
    return value + mark if isinstance(value, str) and key not in LOOKED_UP else value


async def test_it_is_served_with_a_strict_policy_and_once() -> None:
    async with running_server() as running:
        status, body, response = await running.get("/docs")
        assert status == 200 and "session.update" in body
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        again, body, _ = await running.get("/docs", **{"If-None-Match": response.headers["ETag"]})
        assert (again, body) == (304, "")


@pytest.mark.parametrize("path", ["/docs", "/docs/asyncapi.json", "/docs/openapi.json"])
async def test_headers_of_a_request_change_nothing_in_the_answer(path: str) -> None:
    """No thread is started either: many requests would multiply the work of each."""
    async with running_server() as running:
        threads = threading.active_count()
        _, usual, _ = await running.get(path)
        for number in range(3):
            host = {"Host": f"{number}.example", "X-Forwarded-Proto": "https"}
            assert (await running.get(path, **host))[1] == usual
        assert threading.active_count() == threads
