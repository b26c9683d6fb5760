"""The key a request offers, wherever a client can put one; never in its URL."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

SUBPROTOCOL = "oyez"
"""What a web page asks for and is answered: a browser closes the socket without an answer."""
KEY_SUBPROTOCOL = "oyez-key."
"""Followed by the key in base64url: a page cannot set headers on a WebSocket."""
URL_NAMES = frozenset({"api_key", "api-key", "apikey", "access_token", "token", "authorization"})


def key_in_headers(headers: Mapping[str, str]) -> str | None:
    """The key of `Authorization: Bearer` (in any case) or `X-API-Key`.

    No web page can send either to another origin without asking that one first.
    """
    scheme, _, key = headers.get("Authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return key.strip()
    return headers.get("X-API-Key")


def key_in_subprotocols(headers: Mapping[str, str]) -> str | None:
    """The key of `Sec-WebSocket-Protocol: oyez, oyez-key.…`."""
    for name in headers.get("Sec-WebSocket-Protocol", "").split(","):
        if name.strip().startswith(KEY_SUBPROTOCOL):
            return _decoded(name.strip().removeprefix(KEY_SUBPROTOCOL))
    return None


def has_key_in_url(query_string: str) -> bool:
    """Whether a parameter is named as one that carries a key."""
    names = (pair.partition("=")[0] for pair in re.split("[?&]", query_string))
    return any(unquote_plus(name).lower() in URL_NAMES for name in names)


def _decoded(text: str) -> str | None:
    try:
        padded = text + "=" * (-len(text) % 4)
        return base64.b64decode(padded, altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return None
