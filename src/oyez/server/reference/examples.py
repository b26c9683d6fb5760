"""At least one example of every event: a short session in VAD mode, a failure, and two errors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from oyez.protocol.dialect import SessionLimits
from oyez.protocol.errors import ClientError, Overload, invalid_value
from oyez.protocol.qwen.dialect import DEFAULTS, merge
from oyez.protocol.server_events import (
    BufferCleared,
    BufferCommitted,
    ErrorEvent,
    FailureDetail,
    InterimText,
    Item,
    ItemCreated,
    ServerEvent,
    SessionCreated,
    SessionFinished,
    SessionUpdated,
    SpeechStarted,
    SpeechStopped,
    TranscriptionCompleted,
    TranscriptionFailed,
)

MODEL = "qwen3-asr-flash-realtime"
SESSION_ID = "sess_7Qm2xV9bKc4TzR1hLw8Ny"
ITEM_ID = "item_p3Jf6sHq0Ua5DgYe2XoWk"
UPDATE: dict[str, Any] = {
    "input_audio_format": "pcm",
    "sample_rate": 16000,
    "input_audio_transcription": {"language": "en", "corpus": {"text": "Dickens, Defarge"}},
    "turn_detection": {"type": "server_vad", "threshold": 0.0, "silence_duration_ms": 400},
}
CLIENT_EXAMPLES: tuple[dict[str, Any], ...] = (
    {"type": "session.update", "event_id": "event_1", "session": UPDATE},
    {"type": "session.update", "event_id": "event_1", "session": {"turn_detection": None}},
    {"type": "input_audio_buffer.append", "event_id": "event_2", "audio": "AAABAAIAAwACAAEA"},
    {"type": "input_audio_buffer.commit", "event_id": "event_3"},
    {"type": "input_audio_buffer.clear", "event_id": "event_4"},
    {"type": "session.finish", "event_id": "event_5"},
)
_CREATED = msgspec.structs.replace(DEFAULTS, id=SESSION_ID, model=MODEL)
_UPDATED = merge(_CREATED, UPDATE, SessionLimits())
_RESULT = {"item_id": ITEM_ID, "language": "en", "emotion": "neutral"}
_BAD_RATE = invalid_value("session.sample_rate", 44100, "8000, 16000")
_OVERLOAD = Overload()
_SERVER_EVENTS: tuple[tuple[type[ServerEvent], dict[str, Any]], ...] = (
    (SessionCreated, {"session": _CREATED}),
    (SessionUpdated, {"session": _UPDATED}),
    (SpeechStarted, {"audio_start_ms": 320, "item_id": ITEM_ID}),
    (InterimText, {**_RESULT, "text": "It was the", "stash": " best of time"}),
    (SpeechStopped, {"audio_end_ms": 2912, "item_id": ITEM_ID}),
    (BufferCommitted, {"previous_item_id": None, "item_id": ITEM_ID}),
    (ItemCreated, {"previous_item_id": None, "item": Item(id=ITEM_ID)}),
    (TranscriptionCompleted, {**_RESULT, "transcript": "It was the best of times."}),
    (
        TranscriptionFailed,
        {
            "item_id": ITEM_ID,
            "error": FailureDetail(code=str(_OVERLOAD.code), message=_OVERLOAD.message),
        },
    ),
    (BufferCleared, {}),
    (SessionFinished, {"transcript": "It was the best of times."}),
    (ErrorEvent, {"error": _BAD_RATE.detail("event_1")}),
    (
        ErrorEvent,
        {"error": ClientError("The message is not valid JSON.", code="invalid_json").detail()},
    ),
)


def server_examples() -> Iterable[ServerEvent]:
    """Yield the examples in an order in which a server might send them."""
    for number, (event, fields) in enumerate(_SERVER_EVENTS, start=1):
        yield event(event_id=f"event_8sVt3mZk1RcQpX6uEyB{number:02}", **fields)
