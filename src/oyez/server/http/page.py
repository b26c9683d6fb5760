"""The web page over HTTP: the file at `/`, everything it loads below `/page/`.

None of it needs a key: the files are the same for everybody and hold nothing of anybody.
"""

from __future__ import annotations

import gzip
import hashlib
from dataclasses import dataclass

from aiohttp import web

from oyez import __version__
from oyez.recognisers.base import LANGUAGES
from oyez.settings import MODELS
from oyez.web import INDEX, File, read_files

FOLDER = "/page"
SECURITY_HEADERS = {
    # everything from here; 'self' of connect-src covers the WebSocket of the same host
    "Content-Security-Policy": "default-src 'self'; connect-src 'self'; object-src 'none'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
REVALIDATE = "no-cache"
"""Kept by the browser, asked about each time: an answer of 304 costs nothing, and after an upgrade
of the server nobody runs a mixture of two pages."""


@dataclass(frozen=True, slots=True)
class _Ready:
    """A file as it goes out: nothing is computed per request."""

    file: File
    etag: str
    gzipped: bytes | None


def page_routes() -> list[web.RouteDef]:
    """`/`, `/page/NAME`, and `/page/config.json`: what the page must know of this server.

    Reads the files; call it before the server listens.
    """
    served = {name: _prepare(file) for name, file in read_files().items()}
    config = {"version": __version__, "model": MODELS[0], "languages": list(LANGUAGES)}

    async def index(request: web.Request) -> web.Response:
        return _answer(request, served[INDEX])

    async def part(request: web.Request) -> web.Response:
        found = served.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound(text="No such file belongs to the page.")
        return _answer(request, found)

    async def config_json(request: web.Request) -> web.Response:
        return web.json_response(config, headers={**SECURITY_HEADERS, "Cache-Control": REVALIDATE})

    return [
        web.get("/", index),
        web.get(f"{FOLDER}/config.json", config_json),
        web.get(FOLDER + "/{name}", part),
    ]


def _prepare(file: File) -> _Ready:
    etag = hashlib.sha256(file.body).hexdigest()[:32]
    gzipped = gzip.compress(file.body, mtime=0)
    return _Ready(file, etag, gzipped if len(gzipped) < len(file.body) * 0.8 else None)


def _answer(request: web.Request, ready: _Ready) -> web.Response:
    headers = {
        **SECURITY_HEADERS,
        "Cache-Control": REVALIDATE,
        "ETag": f'W/"{ready.etag}"',  # weak: the same file, packed or not
        "Vary": "Accept-Encoding",
    }
    if any(known.value in (ready.etag, "*") for known in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    body = ready.file.body
    if ready.gzipped is not None and "gzip" in request.headers.get("Accept-Encoding", ""):
        body = ready.gzipped
        headers["Content-Encoding"] = "gzip"
    charset = None if ready.file.content_type == "audio/wav" else "utf-8"
    return web.Response(
        body=body, content_type=ready.file.content_type, charset=charset, headers=headers
    )
