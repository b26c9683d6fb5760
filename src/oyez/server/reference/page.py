"""The page at `/docs`, made from the two documents and nothing else."""

from __future__ import annotations

from collections.abc import Iterable

from oyez.server.reference.html import Html, breakable, join, tag
from oyez.server.reference.http_sections import http_sections, route_anchor, shown_paths
from oyez.server.reference.socket_sections import (
    Document,
    course_section,
    event_names,
    event_sections,
    socket_sections,
    start_section,
)

CLIENT, SERVER = "receive", "send"
"""Whose events: AsyncAPI looks at them from the server."""


def page(asyncapi: Document, openapi: Document) -> str:
    """A whole HTML document. Its links are relative, so that it can be served below any path;
    what its scripts add (its own address, copying, other colours) can be done without."""
    sections = [
        tag("h1", "Reference", class_="hidden"),
        start_section(asyncapi),
        course_section(asyncapi),
        _heading("client-events", "Client events", "What a client may send."),
        *event_sections(asyncapi, CLIENT),
        _heading("server-events", "Server events", "What the server sends, roughly in this order."),
        *event_sections(asyncapi, SERVER),
        *socket_sections(asyncapi),
        _heading("http", "HTTP", "What is answered without a socket."),
        *http_sections(openapi),
    ]
    columns = tag("div", _contents(asyncapi, openapi), tag("main", *sections, id="main"))
    skip = tag("a", "Skip to the reference", class_="skip", href="#main")
    body = tag("body", skip, _header(asyncapi["info"]["version"]), columns)
    return "<!doctype html>\n" + tag("html", _head(), body, lang="en")


def _head() -> Html:
    return tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", "oyez: reference"),
        tag("link", rel="icon", href="docs/icon.svg", type="image/svg+xml"),
        tag("link", rel="stylesheet", href="docs/theme.css"),
        tag("link", rel="stylesheet", href="docs/docs.css"),
        tag("script", src="docs/theme.js"),
        tag("script", src="docs/docs.js", defer=True),
    )


def _header(version: str) -> Html:
    mark = tag("img", src="docs/icon.svg", alt="", width="28", height="28")
    more = tag(
        "nav",
        tag("a", "Contents", class_="narrow", href="#contents"),
        tag("a", "AsyncAPI", href="docs/asyncapi.json"),
        tag("a", "OpenAPI", href="docs/openapi.json"),
        tag("button", type="button", class_="quiet", id="theme"),
        aria_label="More",
    )
    name = tag("a", mark, "oyez", class_="brand", href="./")
    return tag("header", name, tag("span", f"Reference · version {version}", class_="soft"), more)


def _heading(anchor: str, title: str, text: str) -> Html:
    return tag("div", tag("h2", title), tag("p", text), class_="part", id=anchor)


def _contents(asyncapi: Document, openapi: Document) -> Html:
    topics = [
        ("start", "Connect"),
        ("course", "The course of a session"),
        ("codes", "Errors and closing"),
        ("limits", "Limits"),
        ("languages", "Languages"),
    ]
    return tag(
        "nav",
        _group("Session", topics),
        _group("Client events", [(name, name) for name in event_names(asyncapi, CLIENT)]),
        _group("Server events", [(name, name) for name in event_names(asyncapi, SERVER)]),
        _group("HTTP", [(route_anchor(path), path) for path in shown_paths(openapi)]),
        class_="contents",
        id="contents",
        aria_label="Contents",
    )


def _group(title: str, entries: Iterable[tuple[str, str]]) -> Html:
    links = (tag("li", tag("a", breakable(text), href=f"#{anchor}")) for anchor, text in entries)
    return join(tag("h2", title), tag("ul", *links))
