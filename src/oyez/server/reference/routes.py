"""`/docs`: the reference as a page and as documents for programs. None of it needs a key."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path

import msgspec
from aiohttp import web

from oyez.server.reference.asyncapi import asyncapi
from oyez.server.reference.openapi import openapi
from oyez.server.reference.page import page
from oyez.server.web.ready import ReadyFile
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
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
TYPES = {
    "html": "text/html; charset=utf-8",
    "css": "text/css; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
    "json": "application/json",
}


def reference_routes(settings: Settings) -> list[web.RouteDef]:
    """All of `/docs`. Makes the documents: call it before the server listens."""

    def handler(ready: ReadyFile) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            return ready.answer(request)

        return handle

    return [
        web.get(PREFIX if name == "docs.html" else f"{PREFIX}/{name}", handler(ready))
        for name, ready in _all_ready(settings).items()
    ]


@lru_cache(maxsize=4)
def _all_ready(settings: Settings) -> Mapping[str, ReadyFile]:
    return {
        name: ReadyFile.of(body, TYPES[name.rpartition(".")[2]], HEADERS)
        for name, body in make(settings).items()
    }


def make(settings: Settings) -> Mapping[str, bytes]:
    """Every file of `/docs` by its name. They are the same wherever the server is reached, so that
    a request costs no work. Reads source files and takes some 0.1 s: not while sessions run."""
    socket, http = asyncapi(settings), openapi(settings)
    return {
        "docs.html": page(socket, http).encode(),
        "openapi.json": _json(http),
        "asyncapi.json": _json(socket),
        **{name: (folder / name).read_bytes() for name, folder in FILES.items()},
    }


def _json(document: object) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"
