"""The AsyncAPI 3.0 document: every message that is sent over the socket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from oyez import __version__
from oyez.protocol.client_events import ClientEvent
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.codec import CLIENT_EVENTS
from oyez.protocol.server_events import (
    CLOSE_CODES,
    ERROR_CODES,
    ERROR_TYPES,
    SERVER_EVENTS,
    ServerEvent,
)
from oyez.server.access.access import KEY_SUBPROTOCOL, SUBPROTOCOL
from oyez.server.realtime import PATH, session_limits
from oyez.server.reference.examples import CLIENT_EXAMPLES, server_examples
from oyez.server.reference.schemas import (
    API_KEY_HEADER,
    BEARER,
    Schema,
    client_schemas,
    docstring,
    server_schemas,
)
from oyez.settings import MODELS, Settings

CHANNEL = "realtime"
DEFAULT_HOST = "127.0.0.1:8080"
DESCRIPTION = (
    "The wire protocol of Qwen3-ASR-Flash-Realtime as oyez speaks it: audio in, text out while "
    "people speak. One socket is one session. Events are JSON objects in text frames."
)
SECURITY_SCHEMES: dict[str, Schema] = {
    "bearer": BEARER,
    "apiKey": {"type": "httpApiKey", **API_KEY_HEADER},
    "subprotocol": {
        "type": "httpApiKey",
        "name": "Sec-WebSocket-Protocol",
        "in": "header",
        "description": f"From a web page, which can set no other header: the subprotocols "
        f"`{SUBPROTOCOL}` and `{KEY_SUBPROTOCOL}` followed by the key in base64url without "
        f"padding. The answer is `{SUBPROTOCOL}`.",
    },
}
REPLIES = {
    "session.update": ("session.updated", "error"),
    "input_audio_buffer.commit": ("input_audio_buffer.committed", "error"),
    "input_audio_buffer.clear": ("input_audio_buffer.cleared",),
    "session.finish": ("session.finished",),
}
"""The server events that answer a client event. An append has no such answer: what comes depends
on the audio."""
LIMITS = (
    "max_sessions",
    "sessions_per_second",
    "max_append_bytes",
    "ws_max_message_bytes",
    "max_backlog_s",
    "manual_max_s",
    "idle_timeout_s",
    "max_session_s",
    "close_after_finish_s",
    "slow_reader_timeout_s",
    "ping_interval_s",
    "ping_timeout_s",
)
"""The settings that limit what a client can do."""

_TEXT = "conversation.item.input_audio_transcription.text"
_BEGIN = ("session.created", "session.update", "session.updated", "input_audio_buffer.append")
_END = (
    "input_audio_buffer.committed",
    "conversation.item.created",
    _TEXT,
    "conversation.item.input_audio_transcription.completed",
    "session.finish",
    "session.finished",
)
COURSES: dict[str, tuple[str, ...]] = {
    "VAD mode": (
        *_BEGIN,
        "input_audio_buffer.speech_started",
        _TEXT,
        "input_audio_buffer.speech_stopped",
        *_END,
    ),
    "Manual mode": (*_BEGIN, _TEXT, "input_audio_buffer.commit", *_END),
}
"""The usual order of events in a session with one turn, by mode. Appends and interim text come many
times; a short turn may have no interim text."""


def asyncapi(
    settings: Settings,
    *,
    host: str | None = None,
    secure: bool = False,
    client_events: Mapping[str, type[ClientEvent]] = CLIENT_EVENTS,
    server_events: Mapping[str, type[ServerEvent]] = SERVER_EVENTS,
) -> dict[str, Any]:
    """Make the document for a server with these settings, as plain values.

    `host` is the name and port at which clients reach the server, and `secure` tells whether they
    use TLS. Without `host` the document has a variable that the reader fills.
    """
    client = _messages(client_events, CLIENT_EXAMPLES)
    server = _messages(
        server_events, (json.loads(codec.encode(each)) for each in server_examples())
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "oyez",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"this": _server(host, secure or bool(settings.tls_cert and not host))},
        "channels": {CHANNEL: _channel(settings, [*client, *server])},
        "operations": {
            **{f"receive.{name}": _operation("receive", name) for name in client},
            **{f"send.{name}": _operation("send", name) for name in server},
        },
        "components": {
            "messages": {**client, **server},
            "schemas": {
                **client_schemas(client_events, session_limits(settings)),
                **server_schemas(server_events.values()),
            },
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


def _server(host: str | None, secure: bool) -> dict[str, Any]:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY_SCHEMES]
    server = {"protocol": "wss" if secure else "ws", "security": security}
    if host is not None:
        return {"host": host, **server}
    description = "The name and port at which this document was read."
    variable = {"default": DEFAULT_HOST, "description": description}
    return {"host": "{host}", **server, "variables": {"host": variable}}


def _channel(settings: Settings, messages: Iterable[str]) -> dict[str, Any]:
    model = {
        "type": "string",
        "description": f"Any of these, and any other name that begins with `{MODELS[0]}`.",
        "examples": list(settings.models),
    }
    query = {"type": "object", "properties": {"model": model}, "required": ["model"]}
    fields = Settings.model_fields
    return {
        "address": PATH,
        "title": "One session",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {"ws": {"method": "GET", "query": query, "bindingVersion": "0.1.0"}},
        "x-courses": COURSES,
        "x-error-types": ERROR_TYPES,
        "x-error-codes": ERROR_CODES,
        "x-close-codes": {str(code): meaning for code, meaning in CLOSE_CODES.items()},
        "x-ignored-events": sorted(codec.UNSUPPORTED_EVENT_TYPES),
        "x-limits": {
            name: {"value": getattr(settings, name), "description": fields[name].description}
            for name in LIMITS
        },
    }


def _messages(
    events: Mapping[str, type[Any]], examples: Iterable[dict[str, Any]]
) -> dict[str, Schema]:
    messages: dict[str, Schema] = {}
    for name, cls in events.items():
        summary, _, rest = docstring(cls).partition(". ")
        messages[name] = {
            "name": name,
            "summary": summary.rstrip(".") + ".",
            "payload": {"$ref": f"#/components/schemas/{cls.__name__}"},
        }
        if rest:
            messages[name]["description"] = rest
    for example in examples:
        messages[example["type"]].setdefault("examples", []).append({"payload": example})
    return messages


def _operation(action: str, name: str) -> dict[str, Any]:
    """Describe one direction of one event. AsyncAPI takes the view of the server: it receives what
    clients send."""
    channel = f"#/channels/{CHANNEL}"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"}],
    }
    if action == "receive" and name in REPLIES:
        replies = [{"$ref": f"{channel}/messages/{reply}"} for reply in REPLIES[name]]
        operation["reply"] = {"channel": {"$ref": channel}, "messages": replies}
    return operation
