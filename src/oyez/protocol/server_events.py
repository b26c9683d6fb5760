"""Every event the server sends, as frozen types. `docs/protocol.md` describes each field.

`type` is the tag; `event_id` is filled by the session. Encoded with `codec.encode`.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec


class ServerEvent(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    event_id: str
    """`event_` and 21 letters and digits."""


class SessionCreated(ServerEvent, tag="session.created", frozen=True, kw_only=True):
    """The first event of a session, unasked. `session` shows the defaults in force."""

    session: dict[str, Any]


class SessionUpdated(ServerEvent, tag="session.updated", frozen=True, kw_only=True):
    """Answer to an accepted `session.update`. `session` is the whole effective configuration."""

    session: dict[str, Any]


class SessionFinished(ServerEvent, tag="session.finished", frozen=True, kw_only=True):
    """Everything has been answered; the client may close."""

    transcript: str
    """All finals of the session, joined."""


class SpeechStarted(
    ServerEvent, tag="input_audio_buffer.speech_started", frozen=True, kw_only=True
):
    audio_start_ms: int
    """Audio time since the first sample of the session; includes the prefix padding."""
    item_id: str


class SpeechStopped(
    ServerEvent, tag="input_audio_buffer.speech_stopped", frozen=True, kw_only=True
):
    audio_end_ms: int
    """Audio time; includes the silence that closed the turn."""
    item_id: str


class BufferCommitted(ServerEvent, tag="input_audio_buffer.committed", frozen=True, kw_only=True):
    previous_item_id: str | None
    item_id: str


class BufferCleared(ServerEvent, tag="input_audio_buffer.cleared", frozen=True, kw_only=True):
    """Answer to `input_audio_buffer.clear`."""


class InputAudioContent(msgspec.Struct, frozen=True, kw_only=True):
    type: Literal["input_audio"] = "input_audio"
    transcript: str | None = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: tuple[InputAudioContent, ...] = (InputAudioContent(),)


class ItemCreated(ServerEvent, tag="conversation.item.created", frozen=True, kw_only=True):
    previous_item_id: str | None
    item: Item


class InterimText(
    ServerEvent, tag="conversation.item.input_audio_transcription.text", frozen=True, kw_only=True
):
    """A full snapshot of the current hypothesis of one item."""

    item_id: str
    content_index: int = 0
    language: str
    emotion: str
    text: str
    """Confirmed beginning: within an item it only ever grows."""
    stash: str
    """Tentative rest: `text + stash` is the whole hypothesis."""


class TranscriptionCompleted(
    ServerEvent,
    tag="conversation.item.input_audio_transcription.completed",
    frozen=True,
    kw_only=True,
):
    item_id: str
    content_index: int = 0
    language: str
    emotion: str
    transcript: str


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    type: str
    """`invalid_request_error` (the client's fault; the session goes on) or `server_error`."""
    code: str | None
    message: str
    param: str | None = None
    """Dotted path of the offending field."""
    event_id: str | None = None
    """`event_id` of the client event that caused it."""


class FailureDetail(msgspec.Struct, frozen=True, kw_only=True):
    code: str
    message: str
    param: str | None = None


class TranscriptionFailed(
    ServerEvent, tag="conversation.item.input_audio_transcription.failed", frozen=True, kw_only=True
):
    """This item could not be recognised; the session goes on."""

    item_id: str
    content_index: int = 0
    error: FailureDetail


class ErrorEvent(ServerEvent, tag="error", frozen=True, kw_only=True):
    error: ErrorDetail
