"""`/docs`: the reference as a page and as documents for programs. None of it needs a key."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import msgspec
from aiohttp import web

from oyez.server.describe.asyncapi import asyncapi
from oyez.server.describe.openapi import openapi
from oyez.server.describe.page import page
from oyez.settings import Settings

PREFIX = "/docs"
STATIC = Path(__file__).parent / "static"
SHARED = files("oyez.web") / "static"
"""What looks the same on every page this server shows."""
FILES = {
    "docs.css": STATIC,
    "docs.js": STATIC,
    "theme.css": SHARED,
    "theme.js": SHARED,
    "icon.svg": SHARED,
}
HOST = re.compile(r"([A-Za-z0-9._\-]{1,253}|\[[0-9A-Fa-f:.]{2,45}\])(:\d{1,5})?")
HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TYPES = {
    "html": "text/html",
    "css": "text/css",
    "js": "text/javascript",
    "svg": "image/svg+xml",
    "json": "application/json",
}
PLACES_KEPT = 16
"""For so many names under which the server is reached, what was made is kept."""

Place = tuple[str, bool]
"""Host with port, and whether over TLS."""


def reference_routes(settings: Settings) -> list[web.RouteDef]:
    """All of `/docs`. What is shown is made once, in a thread, when it is first asked for."""

    @lru_cache(maxsize=PLACES_KEPT)
    def made(name: str, place: Place) -> bytes:
        return make(name, settings, place)

    def handler(name: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return _answer(request, name, await asyncio.to_thread(made, name, _place(request)))

        return handle

    return [
        web.get(PREFIX, handler("docs.html")),
        *(
            web.get(f"{PREFIX}/{name}", handler(name))
            for name in (*FILES, "openapi.json", "asyncapi.json")
        ),
    ]


def make(name: str, settings: Settings, place: Place) -> bytes:
    """One of the files of `/docs`. Reads source files: not for the event loop."""
    host, secure = place
    match name:
        case "asyncapi.json":
            return _json(asyncapi(settings, host=host, secure=secure))
        case "openapi.json":
            return _json(openapi(settings))
        case "docs.html":
            return page(asyncapi(settings, host=host, secure=secure), openapi(settings)).encode()
        case _:
            return (FILES[name] / name).read_bytes()


def _json(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _place(request: web.Request) -> Place:
    """As the client sees us; a name that is none is not repeated."""
    host = request.host if HOST.fullmatch(request.host) else "127.0.0.1:8080"
    return host, request.secure or request.headers.get("X-Forwarded-Proto") == "https"


def _answer(request: web.Request, name: str, body: bytes) -> web.Response:
    tag = hashlib.sha256(body).hexdigest()[:20]
    if any(each.value in (tag, "*") for each in request.if_none_match or ()):
        answer = web.Response(status=304, headers=HEADERS)
    else:
        kind = TYPES[name.rpartition(".")[2]]
        charset = "utf-8" if kind.startswith("text/") else None
        answer = web.Response(body=body, headers=HEADERS, content_type=kind, charset=charset)
    answer.etag = tag
    return answer
