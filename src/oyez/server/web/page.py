"""The web page over HTTP: the file at `/`, everything it loads below `/page/`.

None of it needs a key: the files are the same for everybody and hold nothing of anybody.
"""

from __future__ import annotations

from aiohttp import web

from oyez import __version__
from oyez.engines.base import LANGUAGES
from oyez.server.web.ready import ReadyFile
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


def page_routes() -> list[web.RouteDef]:
    """`/`, `/page/NAME`, and `/page/config.json`: what the page must know of this server.

    Reads the files; call it before the server listens.
    """
    served = {name: _ready(file) for name, file in read_files().items()}
    config = {"version": __version__, "model": MODELS[0], "languages": list(LANGUAGES)}

    async def index(request: web.Request) -> web.Response:
        return served[INDEX].answer(request)

    async def part(request: web.Request) -> web.Response:
        found = served.get(request.match_info["name"])
        if found is None:
            raise web.HTTPNotFound(text="No such file belongs to the page.")
        return found.answer(request)

    async def config_json(request: web.Request) -> web.Response:
        return web.json_response(config, headers={**SECURITY_HEADERS, "Cache-Control": "no-cache"})

    return [
        web.get("/", index),
        web.get(f"{FOLDER}/config.json", config_json),
        web.get(FOLDER + "/{name}", part),
    ]


def _ready(file: File) -> ReadyFile:
    charset = "" if file.content_type == "audio/wav" else "; charset=utf-8"
    return ReadyFile.of(file.body, file.content_type + charset, SECURITY_HEADERS)
