"""JSON text ↔ events.

`decode` accepts whatever the public clients send: events without `event_id`, unknown extra keys,
JSON in binary frames, base64 with line breaks (the default of Android's encoder).

What a message costs grows with its length alone, a few nanoseconds a byte, whatever is in it:
text is skipped rather than turned into objects, and only what is known and short is read.
"""

from __future__ import annotations

import binascii
import math
from collections.abc import Iterable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec
from msgspec import Raw

from oyez.protocol.client_events import (
    AudioAppend,
    AudioClear,
    AudioCommit,
    ClientEvent,
    SessionFinish,
    SessionUpdate,
    UnsupportedEvent,
)
from oyez.protocol.errors import ClientError, invalid_value, one_of
from oyez.protocol.qwen.schema import Patch
from oyez.protocol.server_events import ServerEvent

T = TypeVar("T")

CLIENT_EVENTS: dict[str, type[ClientEvent]] = {
    "session.update": SessionUpdate,
    "input_audio_buffer.append": AudioAppend,
    "input_audio_buffer.commit": AudioCommit,
    "input_audio_buffer.clear": AudioClear,
    "session.finish": SessionFinish,
}
"""Events that mean something for recognition, by their `type`."""

UNSUPPORTED_EVENT_TYPES = frozenset(
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
"""Events that the official SDKs can send for sibling services."""

MAX_MESSAGE_CHARS = 256 * 1024
"""The longest message, unless it carries audio or is ignored anyway. The longest context fits, with
every character of it escaped."""
MAX_EVENT_ID_CHARS = 200
_MAX_COMMAS = 1000
"""A longer message may have so many. Base64 has none, so a long append has a few."""
_MAX_SHORT_BYTES = 1000
"""The longest JSON of a list or number that is read. No meaningful one is nearly as long."""
_MAX_DEPTH = 4
"""How deep objects inside each other are read: `session.audio.input.format`."""
_TOO_LONG = (
    "The message is too long: only 'audio' of an append may be; everything else may have "
    f"{MAX_MESSAGE_CHARS} characters."
)
_WHITESPACE = b" \t\n\r\v\f"
_LONG_CHARS = 64 * 1024
_LEAST_LINE_CHARS = 16
"""The least average length of lines in long base64. Encoders write 64 or 76 characters, and each
line break costs time."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


class _Envelope(msgspec.Struct):
    type: str
    event_id: str | None = None
    audio: Raw = Raw()
    """JSON text that is decoded once: most of what comes in is audio."""
    session: Raw = Raw()


def _all_raw(name: str, keys: Iterable[str]) -> type[msgspec.Struct]:
    return msgspec.defstruct(name, [(key, Raw, Raw()) for key in keys])


_KEYS = tuple(
    dict.fromkeys(
        ["type"] + [key for cls in Patch.__subclasses__()[::-1] for key in cls.__struct_fields__]
    )
)
"""The keys of all objects in an update, in the order of the reference. Nothing else is read."""

_decoder = msgspec.json.Decoder(_Envelope)
_odd_decoder = msgspec.json.Decoder(_all_raw("_OddEnvelope", _Envelope.__struct_fields__))
_object_decoder = msgspec.json.Decoder(_all_raw("_Object", _KEYS))
_base64_decoder = msgspec.json.Decoder(bytes)
_plain_decoder = msgspec.json.Decoder(float_hook=float)
"""A number too large for a float becomes infinite instead of an error."""
_encoder = msgspec.json.Encoder()


def encode(event: ServerEvent) -> str:
    """Return one event as JSON text."""
    return _encoder.encode(event).decode()


def decode(message: str | bytes, *, max_append_bytes: int) -> ClientEvent:
    """Return one frame as an event.

    Raises ClientError for anything malformed. The error names the field, and has the `event_id` of
    the message if that can be read."""
    is_long = len(message) > MAX_MESSAGE_CHARS
    if is_long and _count(message, ",") > _MAX_COMMAS:
        raise ClientError(_TOO_LONG, code="invalid_value")
    try:
        envelope = _read(_decoder, message)
    except msgspec.ValidationError:
        envelope = _odd_envelope(message)
    event_id = envelope.event_id
    if event_id is not None and len(event_id) > MAX_EVENT_ID_CHARS:
        event_id = None
    try:
        return _event(envelope, event_id, is_long, max_append_bytes)
    except ClientError as error:
        error.event_id = event_id
        raise


def _read(decoder: msgspec.json.Decoder[T], json: str | bytes | Raw) -> T:
    """Decode JSON. Raises ClientError if it is none, and ValidationError if it has another type."""
    try:
        return decoder.decode(json)
    except msgspec.ValidationError:
        raise
    except RecursionError:
        text = "The message has too many objects or lists inside each other."
        raise ClientError(text, code="invalid_json") from None
    except (msgspec.DecodeError, UnicodeError):  # bytes that are no UTF-8
        text = "The message is not valid JSON."
        if not isinstance(json, Raw) and _count(json, "\\u"):
            text = "The message is not valid JSON, or a \\u in it stands for no character."
        raise ClientError(text, code="invalid_json") from None


def _count(message: str | bytes, text: str) -> int:
    return message.count(text) if isinstance(message, str) else message.count(text.encode())


def _odd_envelope(message: str | bytes) -> _Envelope:
    """Return an envelope whose `type` may be anything, without an `event_id` that is not a string.
    Raises ClientError if the message is not an object."""
    try:
        kind, event_id, audio, session = msgspec.structs.astuple(_read(_odd_decoder, message))
    except msgspec.ValidationError:
        text = "The message must be a JSON object with a 'type'."
        raise ClientError(text, code="invalid_json") from None
    event_id = _plain(event_id, 0)
    event_id = event_id if isinstance(event_id, str) else None
    return _Envelope(_plain(kind, 0), event_id, audio, session)


def _event(
    envelope: _Envelope, event_id: str | None, is_long: bool, max_append_bytes: int
) -> ClientEvent:
    kind: Any = envelope.type
    if kind == "input_audio_buffer.append":
        return AudioAppend(event_id, _audio(envelope.audio, max_append_bytes))
    if isinstance(kind, str):
        if kind in UNSUPPORTED_EVENT_TYPES:
            return UnsupportedEvent(event_id, kind)
        if is_long:
            raise ClientError(_TOO_LONG, code="invalid_value")
        if kind == "session.update":
            session = _plain(envelope.session, _MAX_DEPTH)
            if not isinstance(session, dict):
                raise invalid_value("session", session, "an object")
            return SessionUpdate(event_id, session)
        if kind in CLIENT_EVENTS:
            return CLIENT_EVENTS[kind](event_id)
    raise invalid_value("type", kind, one_of(CLIENT_EVENTS))


def _plain(json: Raw, depth: int) -> Any:
    """Return JSON text as a value. Objects keep their known keys, `depth` deep; a long list is
    empty, and a long number infinite. An absent value is None."""
    first = bytes(memoryview(json)[:1])
    if not first:
        return None
    if first == b"{":
        if not depth:
            return {}
        found = _read(_object_decoder, json)
        given = ((key, getattr(found, key)) for key in _KEYS)
        return {key: _plain(member, depth - 1) for key, member in given if member}
    if first == b'"' or len(json) <= _MAX_SHORT_BYTES:
        return _read(_plain_decoder, json)
    return [] if first == b"[" else math.inf


def _audio(json: Raw, max_bytes: int) -> bytes:
    if len(json) > _LONG_CHARS and b"\\" in bytes(json):
        data = _unusual_base64(json)  # it has line breaks: no need to try first without
    else:
        try:
            data = _base64_decoder.decode(json)
        except msgspec.DecodeError:
            data = _unusual_base64(json)
    if len(data) > max_bytes:
        raise _bad_audio(f"is larger than {max_bytes} bytes. Send smaller packets.")
    return data


def _unusual_base64(json: Raw) -> bytes:
    """Decode base64 with line breaks or more padding than needed."""
    if bytes(memoryview(json)[:1]) != b'"':
        raise invalid_value("audio", _plain(json, 0), "a base64 string")
    text = bytes(json)[1:-1]
    if len(text) > _LONG_CHARS and text.count(b"\\") * _LEAST_LINE_CHARS > len(text):
        raise _bad_audio(
            f"has lines of fewer than {_LEAST_LINE_CHARS} characters. "
            "Send base64 in longer lines, or in one."
        )
    if b"\\" in text:
        plain: str = _read(_plain_decoder, json)
        text = plain.encode("utf-8", "replace").replace(b"\n", b"").replace(b"\r", b"")
    try:
        # a quick look: what is no base64 need not be decoded
        if odd := text.translate(None, _BASE64):
            if odd.translate(None, _WHITESPACE):
                raise ValueError("a character that base64 does not have")
            text = text.translate(None, _WHITESPACE)
        with suppress(msgspec.DecodeError):  # more than twice as fast
            return _base64_decoder.decode(b'"' + text + b'"')
        return binascii.a2b_base64(text, strict_mode=True)
    except ValueError:
        raise _bad_audio("is not valid base64.") from None


def _bad_audio(fault: str) -> ClientError:
    return ClientError(f"Invalid value: 'audio' {fault}", code="invalid_value", param="audio")
