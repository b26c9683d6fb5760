"""Requests that are being answered; a session is one too, until its socket is closed."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware


class InFlight:
    """Event loop only."""

    def __init__(self) -> None:
        self._count = 0
        self._none = asyncio.Event()
        self._none.set()

    @property
    def middleware(self) -> Middleware:
        @web.middleware
        async def count(request: web.Request, handler: Handler) -> web.StreamResponse:
            self._count += 1
            self._none.clear()
            try:
                return await handler(request)
            finally:
                self._count -= 1
                if not self._count:
                    self._none.set()

        return count

    async def none(self, timeout_s: float) -> None:
        """Wait until there is none, at most for so long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._none.wait(), timeout_s)
