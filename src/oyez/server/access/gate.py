"""Who sends a request, and whether a web page may send it: asked first by every endpoint that
does work."""

from __future__ import annotations

import logging

from aiohttp import web

from oyez.logs import RateLimitedLogger
from oyez.server.access.anonymous import Anonymous
from oyez.server.access.callers import ANYONE, Caller, Callers
from oyez.server.access.credentials import has_key_in_url, key_in_headers, key_in_subprotocols
from oyez.server.access.origins import Origins
from oyez.server.access.refusals import KEY_IN_URL, Refusal
from oyez.server.access.refused_keys import RefusedKeys

log = logging.getLogger(__name__)


class Gate:
    """Event loop only; never blocks."""

    def __init__(self, callers: Callers, anonymous: Anonymous, origins: Origins) -> None:
        self._callers = callers
        self._anonymous = anonymous
        self._origins = origins
        self._refused_keys = RefusedKeys()
        self._seldom = RateLimitedLogger(log)

    def identify(self, request: web.Request) -> Caller | Refusal:
        """The caller, or why the request is not answered."""
        if has_key_in_url(request.query_string):
            return KEY_IN_URL
        in_headers = key_in_headers(request.headers)
        offered = in_headers if in_headers is not None else key_in_subprotocols(request.headers)
        caller = self._callers.find(offered)
        if caller is ANYONE:
            caller = self._anonymous.objection(request) or caller
        if isinstance(caller, Refusal):
            self._refused_keys.tell(request.remote, caller)
            return caller
        # who sends a key is no page that abuses its reader: without one it could only guess
        is_proven = in_headers is not None or self._callers.need_keys
        return caller if is_proven else self._of_permitted_page(request, caller)

    def _of_permitted_page(self, request: web.Request, caller: Caller) -> Caller | Refusal:
        origin = request.headers.get("Origin")
        if origin is None or self._origins.permit(origin, request.host):
            return caller
        self._seldom.warning("refused a web page of another origin", origin=origin[:100])
        return foreign_page(origin)


def foreign_page(origin: str) -> Refusal:
    return Refusal(
        403,
        "AccessDenied",
        f"Web pages of {origin[:100]} may not use this server without a key; "
        "its operator can list that origin in the setting allowed_origins.",
        reason="origin",
    )
