"""The AsyncAPI 3.0 document: everything that is said on the socket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from oyez import __version__
from oyez.protocol.client_events import ClientEvent
from oyez.protocol.codes import CLOSE_CODES, ERROR_CODES, ERROR_TYPES
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.codec import CLIENT_EVENTS
from oyez.protocol.server_events import SERVER_EVENTS, ServerEvent
from oyez.server.realtime import PATH, session_limits
from oyez.server.reference.courses import COURSES
from oyez.server.reference.docstrings import text_of
from oyez.server.reference.examples import CLIENT_EXAMPLES, server_examples
from oyez.server.reference.schemas import Schema, client_schemas, server_schemas
from oyez.server.reference.security import FOR_SOCKETS
from oyez.settings import MODELS, Settings

CHANNEL = "realtime"
ANY_HOST = "127.0.0.1:8080"
ANSWERS = {
    "session.update": ("session.updated", "error"),
    "input_audio_buffer.commit": ("input_audio_buffer.committed", "error"),
    "input_audio_buffer.clear": ("input_audio_buffer.cleared",),
    "session.finish": ("session.finished",),
}
"""What a client may wait for. An append is answered by whatever is said in it."""
LIMITS = (
    *("max_sessions", "sessions_per_second", "max_append_bytes", "ws_max_message_bytes"),
    *("max_backlog_s", "manual_max_s", "idle_timeout_s", "max_session_s", "close_after_finish_s"),
    *("slow_reader_timeout_s", "ping_interval_s", "ping_timeout_s"),
)
"""Settings that a client can run into."""
ABOUT = (
    "The wire protocol of Qwen3-ASR-Flash-Realtime as oyez speaks it: audio in, text out while "
    "people speak. One socket is one session. Events are JSON objects in text frames."
)


def asyncapi(
    settings: Settings,
    *,
    host: str | None = None,
    secure: bool = False,
    client_events: Mapping[str, type[ClientEvent]] = CLIENT_EVENTS,
    server_events: Mapping[str, type[ServerEvent]] = SERVER_EVENTS,
) -> dict[str, Any]:
    """The document, as plain values. host: where this server is reached, with its port; secure:
    over TLS. Without a host that is left to the reader, as a variable."""
    limits = session_limits(settings)
    client = _messages(client_events, CLIENT_EXAMPLES)
    server = _messages(server_events, map(_as_sent, server_examples()))
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "oyez",
            "version": __version__,
            "description": ABOUT,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {"this": _server(host, secure or bool(settings.tls_cert and not host))},
        "channels": {CHANNEL: _channel(settings, [*client, *server])},
        "operations": {
            **{_name("receive", name): _operation("receive", name) for name in client},
            **{_name("send", name): _operation("send", name) for name in server},
        },
        "components": {
            "messages": {**client, **server},
            "schemas": {
                **client_schemas(client_events, limits),
                **server_schemas(server_events.values()),
            },
            "securitySchemes": FOR_SOCKETS,
        },
    }


def limits_of(settings: Settings) -> dict[str, Any]:
    """What a client can run into on this server, and what happens then."""
    fields = Settings.model_fields
    return {
        name: {"value": getattr(settings, name), "description": fields[name].description}
        for name in LIMITS
    }


def _server(host: str | None, secure: bool) -> dict[str, Any]:
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in FOR_SOCKETS]
    server = {"protocol": "wss" if secure else "ws", "security": security}
    if host is not None:
        return {"host": host, **server}
    what = "Name and port under which this document was read."
    variable = {"default": ANY_HOST, "description": what}
    return {"host": "{host}", **server, "variables": {"host": variable}}


def _channel(settings: Settings, messages: Iterable[str]) -> dict[str, Any]:
    model = {
        "type": "string",
        "description": f"Any of these, and any other name that begins with `{MODELS[0]}`.",
        "examples": list(settings.models),
    }
    query = {"type": "object", "properties": {"model": model}, "required": ["model"]}
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
        "x-limits": limits_of(settings),
    }


def _messages(
    events: Mapping[str, type[Any]], examples: Iterable[dict[str, Any]]
) -> dict[str, Schema]:
    messages: dict[str, Schema] = {}
    for name, cls in events.items():
        summary, _, rest = text_of(cls).partition(". ")
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
    """Seen from the server, as AsyncAPI has it: it receives what clients send."""
    channel = f"#/channels/{CHANNEL}"
    operation: dict[str, Any] = {
        "action": action,
        "channel": {"$ref": channel},
        "messages": [{"$ref": f"{channel}/messages/{name}"}],
    }
    if action == "receive" and name in ANSWERS:
        replies = [{"$ref": f"{channel}/messages/{answer}"} for answer in ANSWERS[name]]
        operation["reply"] = {"channel": {"$ref": channel}, "messages": replies}
    return operation


def _name(action: str, event: str) -> str:
    return f"{action}.{event}"


def _as_sent(event: ServerEvent) -> dict[str, Any]:
    sent: dict[str, Any] = json.loads(codec.encode(event))
    return sent
