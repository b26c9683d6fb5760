"""JSON text ↔ events, and nothing else.

`decode` accepts whatever the public clients send: events without `event_id`, unknown extra keys,
JSON in binary frames, base64 with line breaks (the default of Android's encoder).
"""

from __future__ import annotations

import binascii
from typing import Any

import msgspec

from oyez.protocol.client_events import (
    CLIENT_EVENTS,
    AudioAppend,
    AudioClear,
    AudioCommit,
    ClientEvent,
    Foreign,
    SessionFinish,
    SessionUpdate,
)
from oyez.protocol.errors import ClientError, invalid_value, one_of
from oyez.protocol.server_events import ServerEvent

FOREIGN_EVENT_TYPES = frozenset(
    {
        "response.create",
        "response.cancel",
        "conversation.item.create",
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "input_image_buffer.append",
        "input_video_buffer.append",
        "output_audio_buffer.clear",
    }
)
"""Events the official SDKs can emit for the sibling services."""


class _Envelope(msgspec.Struct):
    type: Any = None
    event_id: Any = None
    audio: msgspec.Raw = msgspec.Raw()
    """JSON text that is decoded once: most of what comes in is audio."""
    session: Any = None


_decoder = msgspec.json.Decoder(_Envelope)
_base64_decoder = msgspec.json.Decoder(bytes)
_encoder = msgspec.json.Encoder()


def encode(event: ServerEvent) -> str:
    """One event as JSON text."""
    return _encoder.encode(event).decode()


def event_id_of(message: str | bytes) -> str | None:
    """The `event_id` of a message that failed to decode, if it has one that can be read."""
    try:
        return _event_id(_decoder.decode(message))
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        return None


def decode(message: str | bytes, *, max_append_bytes: int) -> ClientEvent:
    """One frame as an event. Raises ClientError, naming the field, for anything malformed."""
    try:
        envelope = _decoder.decode(message)
    except msgspec.ValidationError:
        raise ClientError(
            "The message must be a JSON object with a 'type'.", code="invalid_json"
        ) from None
    except (msgspec.DecodeError, RecursionError, UnicodeError):
        raise ClientError("The message is not valid JSON.", code="invalid_json") from None
    return _event(envelope, max_append_bytes)


def _event(envelope: _Envelope, max_append_bytes: int) -> ClientEvent:
    event_id = _event_id(envelope)
    match envelope.type:
        case "input_audio_buffer.append":
            return AudioAppend(event_id, _audio(envelope.audio, max_append_bytes))
        case "session.update":
            if not isinstance(envelope.session, dict):
                raise invalid_value("session", envelope.session, "an object")
            return SessionUpdate(event_id, envelope.session)
        case "input_audio_buffer.commit":
            return AudioCommit(event_id)
        case "input_audio_buffer.clear":
            return AudioClear(event_id)
        case "session.finish":
            return SessionFinish(event_id)
        case str(name) if name in FOREIGN_EVENT_TYPES:
            return Foreign(event_id, name)
        case other:
            raise invalid_value("type", other, one_of(CLIENT_EVENTS))


def _event_id(envelope: _Envelope) -> str | None:
    return envelope.event_id if isinstance(envelope.event_id, str) else None


def _audio(json: msgspec.Raw, max_bytes: int) -> bytes:
    try:
        data = _base64_decoder.decode(json)
    except msgspec.DecodeError:
        data = _unusual_base64(json)
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _unusual_base64(json: msgspec.Raw) -> bytes:
    """With line breaks or more padding than needed."""
    try:
        value = msgspec.json.decode(json) if json else None
        if not isinstance(value, str):
            raise invalid_value("audio", value, "a base64 string")
        return binascii.a2b_base64("".join(value.split()), strict_mode=True)
    except (msgspec.DecodeError, ValueError):
        raise ClientError(
            "Invalid value: 'audio' is not valid base64.", code="invalid_value", param="audio"
        ) from None


def _too_large(max_bytes: int) -> ClientError:
    return ClientError(
        f"Invalid value: 'audio' is larger than {max_bytes} bytes. Send smaller packets.",
        code="invalid_value",
        param="audio",
    )
