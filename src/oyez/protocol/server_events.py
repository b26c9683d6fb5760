"""Every event the server sends, as frozen types. `docs/protocol.md` describes each field.

`type` is the tag; `event_id` is filled by the session. Encoded with `codec.encode`.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from oyez.engines.base import LANGUAGES, Emotion
from oyez.protocol.codes import ERROR_CODES, ERROR_TYPES

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
    """What was asked for; what was not is left out."""

    model: Annotated[str | None, about("As the client named it; it has no effect.")] = None
    language: Annotated[Language | None, about("Absent: detected.")] = None
    corpus: Annotated[CorpusInfo | None, about("Absent: none.")] = None


class TurnDetectionInfo(msgspec.Struct, frozen=True, kw_only=True):
    """How turns are found."""

    type: Literal["server_vad"] = "server_vad"
    threshold: Annotated[float, about("From -1 to 1; higher hears less.")]
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
        about("null: nothing was asked for; everything is transcribed all the same."),
    ]
    turn_detection: Annotated[TurnDetectionInfo | None, about("null: manual mode.")]


class SessionCreated(ServerEvent, tag="session.created", frozen=True, kw_only=True):
    """The first event of a session, unasked. `session` shows the defaults in force."""

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
    """Comes behind `committed`, in both modes."""

    previous_item_id: Annotated[str | None, about("null for the first item of the session.")]
    item: Item


class InterimText(
    ServerEvent, tag="conversation.item.input_audio_transcription.text", frozen=True, kw_only=True
):
    """A full snapshot of the current hypothesis of one item."""

    item_id: Annotated[str, about("Whose words these are.")]
    content_index: Annotated[int, about("Always 0.")] = 0
    language: Annotated[Language, about("The code most of the turn so far is written in.")]
    emotion: Annotated[Emotion, about("A guess; `neutral` until there is a second of speech.")]
    text: Annotated[str, about("Confirmed beginning: within an item it only ever grows.")]
    stash: Annotated[str, about("Tentative rest: `text + stash` is the whole hypothesis.")]


class TranscriptionCompleted(
    ServerEvent,
    tag="conversation.item.input_audio_transcription.completed",
    frozen=True,
    kw_only=True,
):
    """The final of one item."""

    item_id: Annotated[str, about("Whose words these are.")]
    content_index: Annotated[int, about("Always 0.")] = 0
    language: Annotated[Language, about("The code most of the turn is written in.")]
    emotion: Annotated[
        Emotion, about("What the whole turn sounds like; `neutral` where the evidence is thin.")
    ]
    transcript: Annotated[str, about("Empty where there were no words.")]


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong."""

    type: Annotated[ErrorType, about("Whose fault it is.")]
    code: Annotated[ErrorCode | None, about("What programs go by.")]
    message: Annotated[str, about("For people: names the allowed values.")]
    param: Annotated[str | None, about("Dotted path of the offending field.")] = None
    event_id: Annotated[str | None, about("`event_id` of the client event that caused it.")] = None


class FailureDetail(msgspec.Struct, frozen=True, kw_only=True):
    """Why an item has no text."""

    code: Annotated[ErrorCode, about("What programs go by.")]
    message: Annotated[str, about("For people.")]
    param: Annotated[str | None, about("Always null.")] = None


class TranscriptionFailed(
    ServerEvent, tag="conversation.item.input_audio_transcription.failed", frozen=True, kw_only=True
):
    """This item could not be recognised; the session goes on."""

    item_id: Annotated[str, about("Whose words are missing.")]
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
    """Something is wrong that somebody should look at; never used for warnings."""

    error: ErrorDetail


SERVER_EVENTS: dict[str, type[ServerEvent]] = {
    str(event.__struct_config__.tag): event for event in ServerEvent.__subclasses__()
}
"""By their `type` on the wire."""
