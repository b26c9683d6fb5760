"""How a client says who it is, as both documents have it."""

from __future__ import annotations

from typing import Any

from oyez.server.access.auth import KEY_SUBPROTOCOL, SUBPROTOCOL

Scheme = dict[str, Any]

BEARER: Scheme = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer KEY`; the scheme in any case. A server without keys "
    "lets in everybody but web pages of other origins.",
}
_API_KEY = {"name": "X-API-Key", "in": "header", "description": "`X-API-Key: KEY` does the same."}
_SUBPROTOCOL = {
    "name": "Sec-WebSocket-Protocol",
    "in": "header",
    "description": f"From a web page, which can set no other header: the subprotocols "
    f"`{SUBPROTOCOL}` and `{KEY_SUBPROTOCOL}` followed by the key in base64url without padding. "
    f"The answer is `{SUBPROTOCOL}`.",
}

FOR_HTTP: dict[str, Scheme] = {"bearer": BEARER, "apiKey": {"type": "apiKey", **_API_KEY}}
FOR_SOCKETS: dict[str, Scheme] = {
    "bearer": BEARER,
    "apiKey": {"type": "httpApiKey", **_API_KEY},
    "subprotocol": {"type": "httpApiKey", **_SUBPROTOCOL},
}
ANY_OF_THEM: list[dict[str, list[str]]] = [{}, *({name: list[str]()} for name in FOR_HTTP)]
"""Or none, where no key is needed: what OpenAPI says of an operation."""
