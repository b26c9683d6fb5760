"""What a request that is not answered is told, over HTTP."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

import msgspec
from aiohttp import web

from oyez.server.operations import json_response

REASONS = {
    "busy": "the open sessions need the engine (`max_load`)",
    "draining": "the server is shutting down",
    "full": "`max_sessions`",
    "key": "an unknown, expired or revoked key, or none",
    "ledger": "usage cannot be recorded",
    "model": "an unknown model",
    "other": "anything else",
    "origin": "a web page that may not use the server",
    "quota": "the key's audio of the day",
    "rate": "new sessions per second",
    "sessions": "sessions of the key",
    "share": "the rest of the room is kept for other keys (`reserved_share`)",
    "url": "a key in the URL",
}
"""Why a caller is turned away, as metrics and logs tell it."""
ROOM = ("busy", "full", "ledger")
"""Reasons that are the server's."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """A request that does not happen, as HTTP tells it."""

    status: int
    code: str
    message: str
    retry_after_s: int | None = None
    reason: str = "other"
    """Why: one of REASONS."""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"{self.reason!r} is none of REASONS")

    @property
    def headers(self) -> dict[str, str]:
        """What goes with it, whatever the form of the body."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class RefusalBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused, in the form of the hosted service."""

    code: str
    """A code for programs."""
    message: str
    """A text for people: what to do."""
    request_id: str
    """A new id for each refusal."""


def refuse(refusal: Refusal, headers: dict[str, str] | None = None) -> web.Response:
    """The body that clients of the hosted service know."""
    body = RefusalBody(code=refusal.code, message=refusal.message, request_id=str(uuid.uuid4()))
    return json_response(body, refusal.status, {**refusal.headers, **(headers or {})})


NO_KEY = Refusal(
    401,
    "InvalidApiKey",
    "No API-key provided: send it in the header 'Authorization: Bearer KEY'.",
    reason="key",
)
NO_KEYS_YET = Refusal(
    401,
    "InvalidApiKey",
    "This server has no API key yet, so that it serves programs on its own machine only, and these "
    "not through a proxy. Its operator makes a key with 'oyez keys create NAME' or sets api_keys_"
    "file; allow_insecure lets in everybody.",
    reason="key",
)
INVALID_KEY = Refusal(401, "InvalidApiKey", "Invalid API-key provided.", reason="key")
REVOKED_KEY = Refusal(
    401, "InvalidApiKey", "This API key was revoked: ask for a new one.", reason="key"
)
EXPIRED_KEY = Refusal(
    401, "InvalidApiKey", "This API key expired: ask for a new one.", reason="key"
)
KEY_IN_URL = Refusal(
    400,
    "InvalidParameter",
    "A key in a URL ends up in logs and histories: send it in the header 'Authorization: Bearer "
    "KEY', or from a web page in the WebSocket subprotocol 'oyez-key.' and the key in base64url.",
    reason="url",
)
BUSY = Refusal(
    503,
    "ServiceUnavailable",
    "The sessions that are open need all of the machine; try again later.",
    5,
    "busy",
)
FULL = Refusal(503, "ServiceUnavailable", "All sessions are taken; try again later.", 1, "full")
SHARE_USED = Refusal(
    429,
    "Throttling.AllocationQuota",
    "The sessions of this API key need their share of the machine, and the rest of it is kept for "
    "other keys (the server's setting reserved_share): finish one first, or try again later.",
    5,
    "share",
)
DRAINING = Refusal(503, "ServiceUnavailable", "The server is shutting down.", 5, "draining")
LEDGER_FULL = Refusal(
    503,
    "ServiceUnavailable",
    "Usage cannot be recorded at the moment; try again later.",
    30,
    "ledger",
)
