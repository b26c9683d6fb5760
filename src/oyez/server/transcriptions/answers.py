"""What `/v1/…` answers: the bodies as types, and how a transcript becomes one of them."""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from statistics import fmean
from typing import Literal

import msgspec
from aiohttp import web

from oyez.files.results import (
    Partial,
    Result,
    Segment,
    Word,
    join_text,
    main_language,
    plain_text,
    sentences,
)
from oyez.files.subtitles import srt, vtt
from oyez.server.operations import json_response
from oyez.server.transcriptions.form import Parameters

LANGUAGE_NAMES = {
    "zh": "chinese",
    "yue": "cantonese",
    "en": "english",
    "ja": "japanese",
    "de": "german",
    "ko": "korean",
    "ru": "russian",
    "fr": "french",
    "pt": "portuguese",
    "ar": "arabic",
    "it": "italian",
    "es": "spanish",
    "hi": "hindi",
    "id": "indonesian",
    "th": "thai",
    "tr": "turkish",
    "uk": "ukrainian",
    "vi": "vietnamese",
    "cs": "czech",
    "da": "danish",
    "fil": "tagalog",
    "fi": "finnish",
    "is": "icelandic",
    "ms": "malay",
    "no": "norwegian",
    "pl": "polish",
    "sv": "swedish",
}
"""The names of languages, as Whisper has them."""
MIN_PROBABILITY = 1e-6
"""A lower probability of a word counts as this one, so that its logarithm is finite."""


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name that clients may ask for. All names mean the one model that the server runs."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["oyez"] = "oyez"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    object: Literal["list"] = "list"
    data: list[Model]


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    seconds: float
    """Length of the audio, silence included."""
    type: Literal["duration"] = "duration"


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for `response_format=json`."""

    text: str
    usage: Usage


class VerboseWord(msgspec.Struct, frozen=True, kw_only=True):
    word: str
    """The word with the punctuation that follows it."""
    start: float
    """Seconds from the beginning of the file."""
    end: float
    """Seconds from the beginning of the file."""


class VerboseSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence."""

    id: int
    start: float
    """Seconds from the beginning of the file."""
    end: float
    """Seconds from the beginning of the file."""
    text: str
    language: str
    """Code of the language that was recognised (not in OpenAI's form)."""
    emotion: str
    """Emotion of the speaker (not in OpenAI's form)."""
    avg_logprob: float
    """Mean logarithm of the probabilities of its words."""
    compression_ratio: float
    """How much zlib compresses the text; text that repeats itself has a high ratio."""
    no_speech_prob: float = 0.0
    """Always 0: there is no segment where there is no speech."""
    seek: int = 0
    temperature: float = 0.0
    tokens: list[int] = []


class VerboseTranscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer for `response_format=verbose_json`."""

    task: Literal["transcribe"]
    language: str | None
    """English name of the main language, in small letters; null if there is no speech."""
    duration: float
    """Length of the audio in seconds."""
    text: str
    usage: Usage
    words: list[VerboseWord] | None = None
    segments: list[VerboseSegment] | None = None


class TextDelta(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="transcript.text.delta"
):
    """An event of `stream=true`: text that follows what was sent before, and does not change."""

    delta: str


class TextDone(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="transcript.text.done"
):
    """The last event of `stream=true`, with the whole text."""

    text: str
    usage: Usage


def answer(parameters: Parameters, segments: Sequence[Segment], audio_s: float) -> web.Response:
    """Return the whole answer in the format that was asked for. audio_s: length of the audio."""
    match parameters.response_format:
        case "text":
            return _text(plain_text(segments) + "\n", "text/plain")
        case "srt":
            return _text("".join(srt(segments)), "application/x-subrip")
        case "vtt":
            return _text("".join(vtt(segments)), "text/vtt")
        case "verbose_json":
            return json_response(_verbose(parameters, segments, audio_s))
        case _:
            return json_response(Transcription(text=plain_text(segments), usage=usage(audio_s)))


def usage(audio_s: float) -> Usage:
    """Return the usage of this many seconds of audio."""
    return Usage(seconds=round(audio_s, 3))


class StreamedText:
    """The text that has been sent to a client as `TextDelta`."""

    def __init__(self) -> None:
        self._segments: list[Segment] = []
        self._sent = ""

    @property
    def text(self) -> str:
        """All final text."""
        return plain_text(self._segments)

    def delta(self, result: Result) -> str:
        """Return the text to send next; empty if there is nothing new."""
        if not isinstance(result, Partial | Segment):
            return ""
        text = self._extended_by(result)
        if not text.startswith(self._sent):
            return ""
        self._sent, delta = text, text[len(self._sent) :]
        return delta

    def _extended_by(self, result: Partial | Segment) -> str:
        if isinstance(result, Partial):
            return join_text(self.text, result.confirmed)
        self._segments.append(result)
        return self.text


def _text(text: str, content_type: str) -> web.Response:
    return web.Response(text=text, content_type=content_type, charset="utf-8")


def _verbose(
    parameters: Parameters, segments: Sequence[Segment], audio_s: float
) -> VerboseTranscription:
    language = main_language(segments)
    granularities = parameters.granularities
    words = [_word(word) for segment in segments for word in segment.words]
    parts = [part for segment in segments for part in sentences(segment)]
    return VerboseTranscription(
        task="transcribe",
        language=LANGUAGE_NAMES[language] if language else None,
        duration=round(audio_s, 3),
        text=plain_text(segments),
        usage=usage(audio_s),
        words=words if "word" in granularities else None,
        segments=[_segment(*each) for each in enumerate(parts)]
        if "segment" in granularities
        else None,
    )


def _word(word: Word) -> VerboseWord:
    return VerboseWord(
        word=word.text.strip(), start=round(word.start_s, 3), end=round(word.end_s, 3)
    )


def _segment(number: int, segment: Segment) -> VerboseSegment:
    text = segment.text.encode()
    probabilities = [max(word.probability, MIN_PROBABILITY) for word in segment.words]
    return VerboseSegment(
        id=number,
        start=round(segment.start_s, 3),
        end=round(segment.end_s, 3),
        text=segment.text,
        language=segment.language,
        emotion=segment.emotion,
        avg_logprob=round(fmean(map(math.log, probabilities)), 4),
        compression_ratio=round(len(text) / len(zlib.compress(text)), 4),
    )
