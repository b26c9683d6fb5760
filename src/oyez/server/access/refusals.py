"""The refusals: why a request is not served, as it is answered over HTTP."""

from __future__ import annotations

import math
import uuid
from dataclasses import dataclass
from typing import Annotated

import msgspec
from aiohttp import web

from oyez.protocol.server_events import about
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
"""The reasons for refusals, as metrics and logs name them, and what each means."""
SERVER_REASONS = ("busy", "full", "ledger")
"""The reasons that lie with the server, not with the caller."""

SESSION_RETRY_S = 5
"""When to try again if all sessions of a key are open. When one of them ends is unknown."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not served. Raises ValueError for a reason that is not in REASONS."""

    status: int
    """The status of the HTTP response."""
    code: str
    """A name of the kind of refusal, for programs."""
    message: str
    """What is wrong and what to do, for people."""
    retry_after_s: int | None = None
    """When to try again; None if the same request is always refused."""
    reason: str = "other"
    """One of REASONS."""

    def __post_init__(self) -> None:
        if self.reason not in REASONS:
            raise ValueError(f"{self.reason!r} is none of REASONS")

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the response, whatever the form of its body is."""
        headers = {"WWW-Authenticate": "Bearer"} if self.status == 401 else {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(self.retry_after_s)
        return headers


class RefusalBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused, in the form of the hosted service."""

    code: Annotated[str, about("A code for programs.")]
    message: Annotated[str, about("A text for people: what to do.")]
    request_id: Annotated[str, about("A new id for each refusal.")]


def refuse(refusal: Refusal, headers: dict[str, str] | None = None) -> web.Response:
    """The response, with a body in the form of the hosted service."""
    body = RefusalBody(code=refusal.code, message=refusal.message, request_id=str(uuid.uuid4()))
    return json_response(body, refusal.status, {**refusal.headers, **(headers or {})})


def _bad_key(message: str) -> Refusal:
    return Refusal(401, "InvalidApiKey", message, reason="key")


def _unavailable(message: str, retry_after_s: int, reason: str) -> Refusal:
    return Refusal(503, "ServiceUnavailable", message, retry_after_s, reason)


def _over_quota(message: str, retry_after_s: int, reason: str) -> Refusal:
    return Refusal(429, "Throttling.AllocationQuota", message, retry_after_s, reason)


NO_KEY = _bad_key("No API-key provided: send it in the header 'Authorization: Bearer KEY'.")
NO_KEYS_YET = _bad_key(
    "This server has no API key yet, so that it serves programs on its own machine only, and these "
    "not through a proxy. Its operator makes a key with 'oyez keys create NAME' or sets api_keys_"
    "file; allow_insecure lets in everybody."
)
INVALID_KEY = _bad_key("Invalid API-key provided.")
REVOKED_KEY = _bad_key("This API key was revoked: ask for a new one.")
EXPIRED_KEY = _bad_key("This API key expired: ask for a new one.")
KEY_IN_URL = Refusal(
    400,
    "InvalidParameter",
    "A key in a URL ends up in logs and histories: send it in the header 'Authorization: Bearer "
    "KEY', or from a web page in the WebSocket subprotocol 'oyez-key.' and the key in base64url.",
    reason="url",
)
BUSY = _unavailable(
    "The sessions that are open need all of the machine; try again later.", 5, "busy"
)
FULL = _unavailable("All sessions are taken; try again later.", 1, "full")
DRAINING = _unavailable("The server is shutting down.", 5, "draining")
LEDGER_FULL = _unavailable("Usage cannot be recorded at the moment; try again later.", 30, "ledger")
SHARE_USED = _over_quota(
    "The sessions of this API key need their share of the machine, and the rest of it is kept for "
    "other keys (the server's setting reserved_share): finish one first, or try again later.",
    5,
    "share",
)


def foreign_page(origin: str) -> Refusal:
    """The refusal of a web page of another origin."""
    message = (
        f"Web pages of {origin[:100]} may not use this server without a key; "
        "its operator can list that origin in the setting allowed_origins."
    )
    return Refusal(403, "AccessDenied", message, reason="origin")


def too_many_sessions(max_sessions: int) -> Refusal:
    """The refusal of a key that has as many sessions open as it may have."""
    message = f"This API key may have {max_sessions} sessions open at a time: finish one first."
    return _over_quota(message, SESSION_RETRY_S, "sessions")


def too_fast(max_per_second: int, wait_s: float) -> Refusal:
    """The refusal of a key that opens sessions faster than it may."""
    message = f"Requests rate limit exceeded: {max_per_second} per second."
    return Refusal(429, "Throttling.RateQuota", message, math.ceil(wait_s), "rate")


def used_up(max_audio_s: float, wait_s: int) -> Refusal:
    """The refusal of a key that has used its audio of the day."""
    message = f"This API key may send {max_audio_s:g} s of audio a day; it may again at 00:00 UTC."
    return _over_quota(message, wait_s, "quota")
