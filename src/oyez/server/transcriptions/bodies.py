"""What `/v1/…` answers, as types."""

from __future__ import annotations

from typing import Literal

import msgspec


class FailureDetail(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    """For people: what is wrong and what to do."""
    type: str
    """`invalid_request_error`, `rate_limit_error` or `server_error`."""
    param: str | None = None
    """The form field that is wrong."""
    code: str | None = None
    """What programs go by."""


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not answered."""

    error: FailureDetail


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name that clients may ask for. All are the one model that the server runs."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["oyez"] = "oyez"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Model]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    """Of audio, silence included."""
    type: Literal["duration"] = "duration"


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """`response_format=json`."""

    text: str
    usage: Usage


class VerboseWord(msgspec.Struct, frozen=True, kw_only=True):
    word: str
    """With the marks behind it."""
    start: float
    """Seconds from the beginning of the file."""
    end: float


class VerboseSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence."""

    id: int
    start: float
    end: float
    text: str
    language: str
    """Code of the language it was heard in (not in OpenAI's form)."""
    emotion: str
    """Of the speaker (not in OpenAI's form)."""
    avg_logprob: float
    """Mean logarithm of the probability of its words."""
    compression_ratio: float
    """Of its text by zlib: what repeats itself has a high one."""
    no_speech_prob: float = 0.0
    """Always 0: where nobody speaks there is no segment."""
    seek: int = 0
    temperature: float = 0.0
    tokens: list[int] = []


class VerboseTranscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`response_format=verbose_json`."""

    task: Literal["transcribe"]
    language: str | None
    """English name of the language of most of it, in small letters; null: nothing was said."""
    duration: float
    text: str
    usage: Usage
    words: list[VerboseWord] | None = None
    segments: list[VerboseSegment] | None = None


class TextDelta(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="transcript.text.delta"
):
    """`stream=true`: text that comes next, and stays."""

    delta: str


class TextDone(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="transcript.text.done"
):
    """`stream=true`: the end, with the whole text."""

    text: str
    usage: Usage
