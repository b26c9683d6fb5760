"""Every code a client may be told, and what it means. Whoever sends one takes it from here."""

from __future__ import annotations

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

ERROR_TYPES = {
    INVALID_REQUEST: "What the client sent, or may not do. Nothing has changed, and the session "
    "goes on unless it is its key that ends it.",
    SERVER_ERROR: "The server's fault: the session ends.",
}
ERROR_CODES = {
    "invalid_json": "The message is not a JSON object.",
    "invalid_value": "A field is missing or has a value that is not allowed; `param` names it.",
    "input_audio_buffer_commit_empty": "A commit in manual mode without audio since the last one.",
    "InternalError": "A fault of the server: of one item in `…failed`, of the session in `error`.",
    "InvalidApiKey": "The key was revoked or has expired: the session ends with 1008.",
    "Throttling.AllocationQuota": "The key's audio of the day is used up: the session ends with "
    "1008.",
    "ServerOverloaded": "There was no room to recognise this item; the session goes on.",
}
CLOSE_CODES = {
    1000: "The session is over: it was finished, nothing came for too long, or it was as long as "
    "sessions may be.",
    1001: "The server is shutting down; what was said has been answered.",
    1002: "The client broke the WebSocket protocol (RFC 6455): a frame has no mask, for example.",
    1007: "The model is not known or was not named, or text was not UTF-8.",
    1008: "The key was revoked, has expired, or its audio of the day is used up: an `error` came "
    "before, and what was said has been answered. Or more than 100 pings and pongs came in a "
    "second.",
    1009: "The message is larger than the limit, or cannot be completed because too much waits.",
    1011: "A fault of the server; an `error` event came before.",
}
