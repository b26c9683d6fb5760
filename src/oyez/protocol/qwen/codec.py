"""JSON text ↔ events.

`decode` accepts whatever the public clients send: events without `event_id`, unknown extra keys,
JSON in binary frames, base64 with line breaks (the default of Android's encoder).

What a message costs grows with its length alone, a few nanoseconds a byte, whatever is in it:
text is skipped rather than turned into objects, and only what is known and short is read.
"""

from __future__ import annotations

import binascii
import math
from contextlib import suppress
from typing import Any

import msgspec

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
from oyez.protocol.qwen.schema import KNOWN_KEYS
from oyez.protocol.server_events import ServerEvent

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
_NOT_JSON = "The message is not valid JSON."
_TOO_DEEP = "The message has too many objects or lists inside each other."
_WHITESPACE = b" \t\n\r\v\f"
_LONG_CHARS = 64 * 1024
_LEAST_LINE_CHARS = 16
"""The least average length of lines in long base64. Encoders write 64 or 76 characters, and each
line break costs time."""
_BASE64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="


class _Envelope(msgspec.Struct):
    type: str
    event_id: str | None = None
    audio: msgspec.Raw = msgspec.Raw()
    """JSON text that is decoded once: most of what comes in is audio."""
    session: msgspec.Raw = msgspec.Raw()


class _OddEnvelope(msgspec.Struct):
    """The fields of an object that does not fit `_Envelope`."""

    type: msgspec.Raw = msgspec.Raw()
    event_id: msgspec.Raw = msgspec.Raw()
    audio: msgspec.Raw = msgspec.Raw()
    session: msgspec.Raw = msgspec.Raw()


_Object = msgspec.defstruct("_Object", [(key, msgspec.Raw, msgspec.Raw()) for key in KNOWN_KEYS])
"""Any object inside an update. Keys that are not known are skipped."""

_decoder = msgspec.json.Decoder(_Envelope)
_odd_decoder = msgspec.json.Decoder(_OddEnvelope)
_object_decoder = msgspec.json.Decoder(_Object)
_base64_decoder = msgspec.json.Decoder(bytes)
_text_decoder = msgspec.json.Decoder(str)
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
    if is_long and _commas(message) > _MAX_COMMAS:
        raise _too_long()
    envelope = _envelope(message)
    event_id = envelope.event_id
    if event_id is not None and len(event_id) > MAX_EVENT_ID_CHARS:
        event_id = None
    try:
        if is_long and not _may_be_long(envelope.type):
            raise _too_long()
        return _event(envelope, event_id, max_append_bytes)
    except ClientError as error:
        error.event_id = event_id
        raise


def _commas(message: str | bytes) -> int:
    return message.count(",") if isinstance(message, str) else message.count(b",")


def _may_be_long(event_type: str) -> bool:
    return event_type == "input_audio_buffer.append" or event_type in UNSUPPORTED_EVENT_TYPES


def _envelope(message: str | bytes) -> _Envelope:
    try:
        return _decoder.decode(message)
    except msgspec.ValidationError:
        return _odd_envelope(message)
    except RecursionError:
        raise _not_json(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeError):
        raise _not_json(_why_not_json(message)) from None


def _odd_envelope(message: str | bytes) -> _Envelope:
    """Return the envelope without an `event_id` that is not a string. Raises ClientError if `type`
    is not a string, or if the message is not an object."""
    try:
        odd = _odd_decoder.decode(message)
    except msgspec.ValidationError:
        raise _not_json("The message must be a JSON object with a 'type'.") from None
    except RecursionError:
        raise _not_json(_TOO_DEEP) from None
    except (msgspec.DecodeError, UnicodeError):
        raise _not_json(_why_not_json(message)) from None
    event_type, event_id = _plain(odd.type, 0), _plain(odd.event_id, 0)
    if not isinstance(event_type, str):
        raise _bad_type(event_type, event_id)
    return _Envelope(event_type, None, odd.audio, odd.session)


def _bad_type(event_type: object, event_id: object) -> ClientError:
    error = invalid_value("type", event_type, one_of(CLIENT_EVENTS))
    if isinstance(event_id, str) and len(event_id) <= MAX_EVENT_ID_CHARS:
        error.event_id = event_id
    return error


def _why_not_json(message: str | bytes) -> str:
    if "\\u" in message if isinstance(message, str) else b"\\u" in message:
        return "The message is not valid JSON, or a \\u in it stands for no character."
    return _NOT_JSON


def _not_json(message: str) -> ClientError:
    return ClientError(message, code="invalid_json")


def _event(envelope: _Envelope, event_id: str | None, max_append_bytes: int) -> ClientEvent:
    match envelope.type:
        case "input_audio_buffer.append":
            return AudioAppend(event_id, _audio(envelope.audio, max_append_bytes))
        case "session.update":
            session = _plain(envelope.session, _MAX_DEPTH)
            if not isinstance(session, dict):
                raise invalid_value("session", session, "an object")
            return SessionUpdate(event_id, session)
        case "input_audio_buffer.commit":
            return AudioCommit(event_id)
        case "input_audio_buffer.clear":
            return AudioClear(event_id)
        case "session.finish":
            return SessionFinish(event_id)
        case name if name in UNSUPPORTED_EVENT_TYPES:
            return UnsupportedEvent(event_id, name)
        case other:
            raise invalid_value("type", other, one_of(CLIENT_EVENTS))


def _plain(json: msgspec.Raw, depth: int) -> Any:
    """Return JSON text as a value. Objects keep their known keys, `depth` deep; a long list is
    empty. An absent value is None."""
    match _first(json):
        case b"":
            return None
        case b"{":
            return _known(json, depth) if depth else {}
        case b"[":
            return _short(json) if len(json) <= _MAX_SHORT_BYTES else []
        case b'"':
            return _text(json)
        case _:
            return _short(json) if len(json) <= _MAX_SHORT_BYTES else math.inf


def _known(json: msgspec.Raw, depth: int) -> dict[str, Any]:
    try:
        found = _object_decoder.decode(json)
    except RecursionError:  # the envelope was read with a little less on the stack
        raise _not_json(_TOO_DEEP) from None
    given = ((key, getattr(found, key)) for key in KNOWN_KEYS)
    return {key: _plain(value, depth - 1) for key, value in given if value}


def _short(json: msgspec.Raw) -> Any:
    try:
        return _plain_decoder.decode(json)
    except (msgspec.DecodeError, UnicodeError):
        raise _not_json(_NOT_JSON) from None


def _text(json: msgspec.Raw) -> str:
    try:
        return _text_decoder.decode(json)
    except (msgspec.DecodeError, UnicodeError):  # bytes that are no UTF-8
        raise _not_json(_NOT_JSON) from None


def _first(json: msgspec.Raw) -> bytes:
    return bytes(memoryview(json)[:1])


def _audio(json: msgspec.Raw, max_bytes: int) -> bytes:
    if len(json) > _LONG_CHARS and b"\\" in bytes(json):
        data = _unusual_base64(json)  # it has line breaks: no need to try first without
    else:
        try:
            data = _base64_decoder.decode(json)
        except msgspec.DecodeError:
            data = _unusual_base64(json)
    if len(data) > max_bytes:
        raise _too_large(max_bytes)
    return data


def _unusual_base64(json: msgspec.Raw) -> bytes:
    """Decode base64 with line breaks or more padding than needed."""
    if _first(json) != b'"':
        raise invalid_value("audio", _plain(json, 0), "a base64 string")
    text = bytes(json)[1:-1]
    if len(text) > _LONG_CHARS and text.count(b"\\") * _LEAST_LINE_CHARS > len(text):
        raise ClientError(
            f"Invalid value: 'audio' has lines of fewer than {_LEAST_LINE_CHARS} characters. "
            "Send base64 in longer lines, or in one.",
            code="invalid_value",
            param="audio",
        )
    if b"\\" in text:
        text = _text(json).encode("utf-8", "replace").replace(b"\n", b"").replace(b"\r", b"")
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
        raise ClientError(
            "Invalid value: 'audio' is not valid base64.", code="invalid_value", param="audio"
        ) from None


def _too_large(max_bytes: int) -> ClientError:
    return ClientError(
        f"Invalid value: 'audio' is larger than {max_bytes} bytes. Send smaller packets.",
        code="invalid_value",
        param="audio",
    )


def _too_long() -> ClientError:
    return ClientError(
        f"The message is too long: only 'audio' of an append may be; everything else may have "
        f"{MAX_MESSAGE_CHARS} characters.",
        code="invalid_value",
    )
