"""Every event that the server sends, with the codes of errors and of closing. `docs/protocol.md`
describes each field. `type` is the tag, and the session fills in `event_id`."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from oyez.engines.base import LANGUAGES, Emotion

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"

ERROR_TYPES = {
    INVALID_REQUEST: "Something in what the client sent, or something that it may not do. Nothing "
    "has changed. The session goes on, unless its key ends it.",
    SERVER_ERROR: "A fault of the server: the session ends.",
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
    "a session may be.",
    1001: "The server is shutting down. All speech so far has been answered.",
    1002: "The client broke the WebSocket protocol (RFC 6455), for example with a frame without a "
    "mask.",
    1007: "The model is not known or was not named, or text was not UTF-8.",
    1008: "The key was revoked, has expired, or its audio of the day is used up: an `error` came "
    "before, and all speech so far has been answered. Or more than 100 pings and pongs came in a "
    "second.",
    1009: "The message is larger than the limit, or cannot be completed because too much waits.",
    1011: "A fault of the server; an `error` event came before.",
}

Language = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(LANGUAGES)})]
ErrorType = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(ERROR_TYPES)})]
ErrorCode = Annotated[str, msgspec.Meta(extra_json_schema={"enum": list(ERROR_CODES)})]


def about(description: str) -> msgspec.Meta:
    """Describe a field of a type, for the reference at `/docs`."""
    return msgspec.Meta(description=description)


class ServerEvent(msgspec.Struct, frozen=True, tag_field="type", kw_only=True):
    event_id: Annotated[str, about("`event_` and 21 letters and digits.")]


class CorpusInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The context in force."""

    text: Annotated[str, about("As sent.")]


class TranscriptionInfo(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was requested; keys that were not requested are left out."""

    model: Annotated[str | None, about("As the client named it; it has no effect.")] = None
    language: Annotated[Language | None, about("Absent: detected.")] = None
    corpus: Annotated[CorpusInfo | None, about("Absent: none.")] = None


class TurnDetectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How turns are found."""

    type: Literal["server_vad"] = "server_vad"
    threshold: Annotated[float, about("From -1 to 1; a higher one finds less speech.")]
    prefix_padding_ms: Annotated[
        int, about("Audio before the first speech that belongs to the turn.")
    ]
    silence_duration_ms: Annotated[int, about("Silence that ends a turn.")]


class SessionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """The whole effective configuration of a session."""

    id: Annotated[str, about("`sess_` and 21 letters and digits.")]
    object: Literal["realtime.session"] = "realtime.session"
    model: Annotated[str, about("The model the client asked for.")]
    modalities: Annotated[tuple[Literal["text"], ...], about('Always `["text"]`.')] = ("text",)
    input_audio_format: Annotated[str, about("As the client named it.")]
    sample_rate: Annotated[int, about("Of PCM that comes in, in Hz.")]
    input_audio_transcription: Annotated[
        TranscriptionInfo | None,
        about("null: nothing was requested; all speech is transcribed nevertheless."),
    ]
    turn_detection: Annotated[TurnDetectionInfo | None, about("null: manual mode.")]


class SessionCreated(ServerEvent, tag="session.created", frozen=True, kw_only=True):
    """The first event of a session. `session` shows the defaults in force."""

    session: SessionInfo


class SessionUpdated(ServerEvent, tag="session.updated", frozen=True, kw_only=True):
    """Answer to an accepted `session.update`. `session` is the whole effective configuration."""

    session: SessionInfo


class SpeechStarted(
    ServerEvent, tag="input_audio_buffer.speech_started", frozen=True, kw_only=True
):
    """VAD mode: a turn has begun."""

    audio_start_ms: Annotated[
        int, about("Audio time since the first sample of the session; includes the prefix padding.")
    ]
    item_id: Annotated[str, about("The item to come.")]


class SpeechStopped(
    ServerEvent, tag="input_audio_buffer.speech_stopped", frozen=True, kw_only=True
):
    """VAD mode: the turn is over."""

    audio_end_ms: Annotated[int, about("Audio time; includes the silence that closed the turn.")]
    item_id: Annotated[str, about("As in `speech_started`.")]


class BufferCommitted(ServerEvent, tag="input_audio_buffer.committed", frozen=True, kw_only=True):
    """A turn will be answered: by VAD, by a commit, or because manual audio grew too long."""

    previous_item_id: Annotated[str | None, about("null for the first item of the session.")]
    item_id: Annotated[str, about("As in every other event of this turn.")]


class InputAudioContent(msgspec.Struct, frozen=True, kw_only=True):
    """What an item consists of."""

    type: Literal["input_audio"] = "input_audio"
    transcript: Annotated[str | None, about("Always null: the text comes in `…completed`.")] = None


class Item(msgspec.Struct, frozen=True, kw_only=True):
    """One turn."""

    id: Annotated[str, about("`item_` and 21 letters and digits.")]
    object: Literal["realtime.item"] = "realtime.item"
    type: Literal["message"] = "message"
    status: Literal["completed"] = "completed"
    role: Literal["user"] = "user"
    content: Annotated[
        tuple[InputAudioContent, ...], about("One entry: the audio of the turn.")
    ] = (InputAudioContent(),)


class ItemCreated(ServerEvent, tag="conversation.item.created", frozen=True, kw_only=True):
    """Follows `committed`, in both modes."""

    previous_item_id: Annotated[str | None, about("null for the first item of the session.")]
    item: Item


class InterimText(
    ServerEvent, tag="conversation.item.input_audio_transcription.text", frozen=True, kw_only=True
):
    """A full snapshot of the current hypothesis of one item."""

    item_id: Annotated[str, about("The item of these words.")]
    content_index: Annotated[int, about("Always 0.")] = 0
    language: Annotated[
        Language, about("The code of the language in which most of the turn so far is written.")
    ]
    emotion: Annotated[Emotion, about("A guess; `neutral` until there is a second of speech.")]
    text: Annotated[str, about("Confirmed beginning: within an item it only grows.")]
    stash: Annotated[str, about("Tentative rest: `text + stash` is the whole hypothesis.")]


class TranscriptionCompleted(
    ServerEvent,
    tag="conversation.item.input_audio_transcription.completed",
    frozen=True,
    kw_only=True,
):
    """The final of one item."""

    item_id: Annotated[str, about("The item of these words.")]
    content_index: Annotated[int, about("Always 0.")] = 0
    language: Annotated[
        Language, about("The code of the language in which most of the turn is written.")
    ]
    emotion: Annotated[
        Emotion, about("That of the whole turn; `neutral` if there is too little evidence.")
    ]
    transcript: Annotated[str, about("Empty if there were no words.")]


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong."""

    type: Annotated[ErrorType, about("Whether the cause is in the client or in the server.")]
    code: Annotated[ErrorCode | None, about("Identifies the error for programs.")]
    message: Annotated[str, about("Describes the error for people; names the allowed values.")]
    param: Annotated[str | None, about("Dotted path of the field with the error.")] = None
    event_id: Annotated[str | None, about("`event_id` of the client event that caused it.")] = None


class FailureDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item has no text."""

    code: Annotated[ErrorCode, about("Identifies the error for programs.")]
    message: Annotated[str, about("Describes the error for people.")]
    param: Annotated[str | None, about("Always null.")] = None


class TranscriptionFailed(
    ServerEvent, tag="conversation.item.input_audio_transcription.failed", frozen=True, kw_only=True
):
    """This item could not be recognised; the session goes on."""

    item_id: Annotated[str, about("The item whose words are missing.")]
    content_index: Annotated[int, about("Always 0.")] = 0
    error: FailureDetail


class BufferCleared(ServerEvent, tag="input_audio_buffer.cleared", frozen=True, kw_only=True):
    """Answer to `input_audio_buffer.clear`."""


class SessionFinished(ServerEvent, tag="session.finished", frozen=True, kw_only=True):
    """Everything has been answered; the client may close."""

    transcript: Annotated[
        str, about("All finals of the session, joined; at most the newest million characters.")
    ]


class ErrorEvent(ServerEvent, tag="error", frozen=True, kw_only=True):
    """Something is wrong; never used for warnings."""

    error: ErrorDetail


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    str(event.__struct_config__.tag): event for event in ServerEvent.__subclasses__()
}
"""By their `type` on the wire."""
