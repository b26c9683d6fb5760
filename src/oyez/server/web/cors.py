"""Which web pages' programs may call `/v1/…` and read the answers: those of `allowed_origins`.

A browser asks first (a preflight, without the key), and shows a page of another origin no answer
that does not name it. Cookies play no part here, so credentials are never allowed.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from aiohttp import hdrs, web
from aiohttp.typedefs import Handler

from oyez.server.access.auth import ANY_ORIGIN
from oyez.server.transcriptions.plain_errors import PREFIX

METHODS = "GET, POST"
HEADERS = ("Authorization", "X-API-Key", "Content-Type")
OF_SDKS = re.compile(r"user-agent|x-stainless-[a-z-]{1,40}")
"""What OpenAI's library for browsers sends besides."""
MOST_OF_SDKS = 20
EXPOSED = "Retry-After"
MAX_AGE_S = 600


class Cors:
    """allowed: origins (`https://host:port`), or `*` for all."""

    def __init__(self, allowed: Collection[str]) -> None:
        self._allowed = frozenset(origin.lower() for origin in allowed)

    def join(self, app: web.Application) -> None:
        """Have answers told who may read them, streams too, which are begun by their handlers."""
        if self._allowed:
            app.on_response_prepare.append(self._mark)

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers preflights of pages that may ask; nothing else."""
        asked = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_METHOD)
        if not (request.method == hdrs.METH_OPTIONS and asked and self._named(request)):
            return await handler(request)
        wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "").lower().split(",")
        of_sdks = [name.strip() for name in wanted if OF_SDKS.fullmatch(name.strip())]
        return web.Response(
            status=204,
            headers={
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: METHODS,
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join((*HEADERS, *of_sdks[:MOST_OF_SDKS])),
                hdrs.ACCESS_CONTROL_MAX_AGE: str(MAX_AGE_S),
            },
        )

    async def _mark(self, request: web.Request, response: web.StreamResponse) -> None:
        if not request.path.startswith(PREFIX):
            return
        if ANY_ORIGIN not in self._allowed:
            response.headers.add(hdrs.VARY, hdrs.ORIGIN)  # whoever is asking, for caches
        if named := self._named(request):
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = named
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = EXPOSED

    def _named(self, request: web.Request) -> str | None:
        """How the answer names the page that asks; None: it may not read it."""
        origin = request.headers.get(hdrs.ORIGIN)
        if origin is None or not request.path.startswith(PREFIX):
            return None
        if ANY_ORIGIN in self._allowed:
            return ANY_ORIGIN
        return origin if origin.lower() in self._allowed else None
