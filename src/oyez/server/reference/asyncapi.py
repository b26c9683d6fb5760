"""The AsyncAPI 3.0 document: every message that is sent over the socket."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from oyez import __version__
from oyez.protocol import server_events as sent
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.errors import ClientError, Overload, invalid_value
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.codec import CLIENT_EVENTS
from oyez.protocol.qwen.dialect import DEFAULTS, merge
from oyez.protocol.qwen.schema import SessionPatch
from oyez.protocol.server_events import (
    CLOSE_CODES,
    ERROR_CODES,
    ERROR_TYPES,
    SERVER_EVENTS,
    ServerEvent,
)
from oyez.server.access.access import KEY_SUBPROTOCOL, SUBPROTOCOL
from oyez.server.operations import API_KEY_HEADER, BEARER, Description, reference_to, schemas_of
from oyez.server.realtime import PATH
from oyez.settings import MODELS, Settings

CHANNEL = "#/channels/realtime"
DESCRIPTION = (
    "The wire protocol of Qwen3-ASR-Flash-Realtime as oyez speaks it: audio in, text out while "
    "people speak. One socket is one session. Events are JSON objects in text frames."
)
HOST_VARIABLE = {
    "default": "127.0.0.1:8080",
    "description": "The name and port at which this document was read.",
}
BASE64 = "^([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$"
SECURITY_SCHEMES: dict[str, Description] = {
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
    "max_sessions", "sessions_per_second", "max_append_bytes", "ws_max_message_bytes",
    "max_backlog_s", "manual_max_s", "idle_timeout_s", "max_session_s", "close_after_finish_s",
    "slow_reader_timeout_s", "ping_interval_s", "ping_timeout_s",
)  # fmt: skip
"""The settings that limit what a client can do."""

_TEXT = "conversation.item.input_audio_transcription.text"
_BEGIN = ("session.created", "session.update", "session.updated", "input_audio_buffer.append")
_VAD = ("input_audio_buffer.speech_started", _TEXT, "input_audio_buffer.speech_stopped")
_END = (
    "input_audio_buffer.committed",
    "conversation.item.created",
    _TEXT,
    "conversation.item.input_audio_transcription.completed",
    "session.finish",
    "session.finished",
)
COURSES = {
    "VAD mode": (*_BEGIN, *_VAD, *_END),
    "Manual mode": (*_BEGIN, _TEXT, "input_audio_buffer.commit", *_END),
}
"""The usual order of events in a session with one turn, by mode. Appends and interim text come many
times; a short turn may have no interim text."""

_UPDATE: dict[str, Any] = {
    "input_audio_format": "pcm",
    "sample_rate": 16000,
    "input_audio_transcription": {"language": "en", "corpus": {"text": "Dickens, Defarge"}},
    "turn_detection": {"type": "server_vad", "threshold": 0.0, "silence_duration_ms": 400},
}
CLIENT_EXAMPLES: tuple[dict[str, Any], ...] = (
    {"type": "session.update", "event_id": "event_1", "session": _UPDATE},
    {"type": "session.update", "event_id": "event_1", "session": {"turn_detection": None}},
    {"type": "input_audio_buffer.append", "event_id": "event_2", "audio": "AAABAAIAAwACAAEA"},
    {"type": "input_audio_buffer.commit", "event_id": "event_3"},
    {"type": "input_audio_buffer.clear", "event_id": "event_4"},
    {"type": "session.finish", "event_id": "event_5"},
)
_CREATED = msgspec.structs.replace(DEFAULTS, id="sess_7Qm2xV9bKc4TzR1hLw8Ny", model=MODELS[0])
_UPDATED = merge(_CREATED, _UPDATE, SessionLimits())
_ID = "item_p3Jf6sHq0Ua5DgYe2XoWk"
_RESULT = {"item_id": _ID, "language": "en", "emotion": "neutral"}
_WORDS = "It was the best of times."
_BAD_RATE = invalid_value("session.sample_rate", 44100, "8000, 16000")
_NOT_JSON = ClientError("The message is not valid JSON.", code="invalid_json")
_LOST = sent.FailureDetail(code=str(Overload().code), message=Overload().message)
_SERVER_EXAMPLES: tuple[tuple[type[ServerEvent], dict[str, Any]], ...] = (
    (sent.SessionCreated, {"session": _CREATED}),
    (sent.SessionUpdated, {"session": _UPDATED}),
    (sent.SpeechStarted, {"audio_start_ms": 320, "item_id": _ID}),
    (sent.InterimText, {**_RESULT, "text": "It was the", "stash": " best of time"}),
    (sent.SpeechStopped, {"audio_end_ms": 2912, "item_id": _ID}),
    (sent.BufferCommitted, {"previous_item_id": None, "item_id": _ID}),
    (sent.ItemCreated, {"previous_item_id": None, "item": sent.Item(id=_ID)}),
    (sent.TranscriptionCompleted, {**_RESULT, "transcript": _WORDS}),
    (sent.TranscriptionFailed, {"item_id": _ID, "error": _LOST}),
    (sent.BufferCleared, {}),
    (sent.SessionFinished, {"transcript": _WORDS}),
    (sent.ErrorEvent, {"error": _BAD_RATE.detail("event_1")}),
    (sent.ErrorEvent, {"error": _NOT_JSON.detail()}),
)
"""A short session in VAD mode, a failure, and two errors: at least one example of every event."""


def asyncapi(
    settings: Settings, *, host: str | None = None, secure: bool = False
) -> dict[str, Any]:
    """Make the document for a server with these settings, as plain values.

    `host` is the name and port at which clients reach the server, and `secure` tells whether they
    use TLS. Without `host` the document has a variable that the reader fills.
    """
    client_schemas = _client_schemas(settings.max_append_bytes)
    schemas = {**client_schemas, **server_schemas(SERVER_EVENTS.values())}
    client = _messages(CLIENT_EVENTS, schemas, CLIENT_EXAMPLES)
    server = _messages(SERVER_EVENTS, schemas, _server_examples())
    is_secure = secure or bool(settings.tls_cert and not host)
    security = [{"$ref": f"#/components/securitySchemes/{name}"} for name in SECURITY_SCHEMES]
    address = {"host": host} if host else {"host": "{host}", "variables": {"host": HOST_VARIABLE}}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "oyez",
            "version": __version__,
            "description": DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "this": {**address, "protocol": "wss" if is_secure else "ws", "security": security}
        },
        "channels": {"realtime": _channel(settings, [*client, *server])},
        "operations": {
            **{f"receive.{name}": _operation("receive", name) for name in client},
            **{f"send.{name}": _operation("send", name) for name in server},
        },
        "components": {
            "messages": {**client, **server},
            "schemas": schemas,
            "securitySchemes": SECURITY_SCHEMES,
        },
    }


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
    events: Mapping[str, type],
    schemas: Mapping[str, Description],
    examples: Iterable[dict[str, Any]],
) -> dict[str, Description]:
    messages: dict[str, Description] = {}
    for name, cls in events.items():
        summary, _, rest = schemas[cls.__name__]["description"].partition(". ")
        messages[name] = {
            "name": name,
            "summary": summary.rstrip(".") + ".",
            **({"description": rest} if rest else {}),
            "payload": reference_to(cls),
            "examples": [],
        }
    for example in examples:
        messages[example["type"]]["examples"].append({"payload": example})
    return messages


def _server_examples() -> Iterator[dict[str, Any]]:
    for number, (event, fields) in enumerate(_SERVER_EXAMPLES, start=1):
        made = event(event_id=f"event_8sVt3mZk1RcQpX6uEyB{number:02}", **fields)
        yield json.loads(codec.encode(made))


def _operation(action: str, name: str) -> dict[str, Any]:
    """Describe one direction of one event. AsyncAPI takes the view of the server: it receives what
    clients send."""
    channel = {"channel": {"$ref": CHANNEL}}
    operation: dict[str, Any] = {"action": action, **channel, "messages": _in_channel(name)}
    if name in REPLIES:
        operation["reply"] = {**channel, "messages": _in_channel(*REPLIES[name])}
    return operation


def _in_channel(*messages: str) -> list[Description]:
    return [{"$ref": f"{CHANNEL}/messages/{name}"} for name in messages]


def server_schemas(events: Iterable[type[ServerEvent]]) -> dict[str, Description]:
    """Make the schemas of server events and of the types in them, by class name.

    The server always sends every field, except in `TranscriptionInfo`, which omits defaults.
    """
    schemas = schemas_of(events)
    for name, schema in schemas.items():
        for field in schema["properties"].values():
            field.pop("default", None)
        if name != sent.TranscriptionInfo.__name__:
            schema["required"] = list(schema["properties"])
    return schemas


def _client_schemas(max_append_bytes: int) -> dict[str, Description]:
    """Make the schemas of client events and of the types in them, by class name.

    They describe what a client should send. The server accepts a little more: see
    `protocol/qwen/schema`.
    """
    schemas = schemas_of([*CLIENT_EVENTS.values(), SessionPatch])
    event_id = {
        "type": "string",
        "description": "The server repeats it in the `error` that the event causes.",
    }
    for name, cls in CLIENT_EVENTS.items():
        schema = schemas[cls.__name__]
        fields = {**schema["properties"], "event_id": event_id}
        schema["properties"] = {"type": {"const": name}, **fields}
        schema["required"] = ["type", *(key for key in fields if key != "event_id")]
    schemas["SessionUpdate"]["properties"]["session"] = {
        "description": "The changes.",
        "allOf": [reference_to(SessionPatch)],
    }
    audio = schemas["AudioAppend"]["properties"]["audio"]
    audio |= {"pattern": BASE64, "maxLength": -(-max_append_bytes // 3) * 4}
    return schemas
