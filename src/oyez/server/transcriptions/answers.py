"""What `/v1/…` answers: the bodies as types, how a transcript becomes one of them, and the
descriptions of the routes, made from these types and from the tables that the handlers use.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Sequence
from statistics import fmean
from typing import Annotated, Literal

import msgspec
from aiohttp import web

from oyez.files.results import Segment, main_language, plain_text, sentences
from oyez.files.subtitles import srt, vtt
from oyez.protocol.errors import one_of
from oyez.protocol.server_events import about
from oyez.server.access.refusals import INVALID_KEY, used_up
from oyez.server.operations import (
    API_KEY,
    JSON,
    NAME_IN_PATH,
    Description,
    Operation,
    json_answer,
    json_response,
    schemas_of,
)
from oyez.server.transcriptions import errors
from oyez.server.transcriptions.errors import Failure
from oyez.server.transcriptions.form import FORMATS, Parameters
from oyez.settings import Settings

LANGUAGE_NAMES = {
    "zh": "chinese", "yue": "cantonese", "en": "english", "ja": "japanese", "de": "german",
    "ko": "korean", "ru": "russian", "fr": "french", "pt": "portuguese", "ar": "arabic",
    "it": "italian", "es": "spanish", "hi": "hindi", "id": "indonesian", "th": "thai",
    "tr": "turkish", "uk": "ukrainian", "vi": "vietnamese", "cs": "czech", "da": "danish",
    "fil": "tagalog", "fi": "finnish", "is": "icelandic", "ms": "malay", "no": "norwegian",
    "pl": "polish", "sv": "swedish",
}  # fmt: skip
"""The names of languages, as Whisper has them."""
MIN_PROBABILITY = 1e-6
"""A lower probability of a word counts as this one, so that its logarithm is finite."""

FAILURES = {
    400: "A field or the file is wrong: `param` names it.",
    401: "The key is unknown, has expired, or was revoked.",
    403: "The request comes from a web page that may not use the server.",
    404: "There is no model of this name.",
    408: "The file arrived too slowly.",
    413: "The file is larger than `max_upload_bytes`.",
    429: "Too many requests, too many files at a time, or the key's audio of the day is used up.",
    500: "The server failed, or a part of the audio could not be recognised.",
    503: "No more files can wait, or the server is shutting down.",
}
FAILURE_EXAMPLES = {
    error.status: error.body
    for error in (
        errors.invalid_value("response_format", "xml", one_of(FORMATS)),
        errors.ApiError.from_refusal(INVALID_KEY),
        errors.file_too_large(200 << 20),
        errors.ApiError.from_refusal(used_up(7200, 3600)),
        errors.too_many_files(8),
    )
}
"""Examples of some of these failures, by their status."""

Seconds = Annotated[float, about("Seconds from the beginning of the file.")]


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A name that clients may ask for. All names mean the one model that the server runs."""

    id: str
    object: Literal["model"] = "model"
    created: int = 0
    owned_by: Literal["oyez"] = "oyez"


class ModelList(msgspec.Struct, frozen=True, kw_only=True):
    """All names that clients may ask for."""

    object: Literal["list"] = "list"
    data: list[Model]


class Usage(msgspec.Struct, frozen=True):
    seconds: Annotated[float, about("Length of the audio, silence included.")]
    type: Literal["duration"] = "duration"


class Transcription(msgspec.Struct, frozen=True, kw_only=True):
    """The answer for `response_format=json`."""

    text: str
    usage: Usage


class VerboseWord(msgspec.Struct, frozen=True, kw_only=True):
    word: Annotated[str, about("The word with the punctuation that follows it.")]
    start: Seconds
    end: Seconds


class VerboseSegment(msgspec.Struct, frozen=True, kw_only=True):
    """A sentence."""

    id: int
    start: Seconds
    end: Seconds
    text: str
    language: Annotated[
        str, about("Code of the language that was recognised (not in OpenAI's form).")
    ]
    emotion: Annotated[str, about("Emotion of the speaker (not in OpenAI's form).")]
    avg_logprob: Annotated[float, about("Mean logarithm of the probabilities of its words.")]
    compression_ratio: Annotated[
        float,
        about("How much zlib compresses the text; text that repeats itself has a high ratio."),
    ]
    no_speech_prob: Annotated[
        float, about("Always 0: there is no segment where there is no speech.")
    ] = 0.0
    seek: int = 0
    temperature: float = 0.0
    tokens: list[int] = []


class VerboseTranscription(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer for `response_format=verbose_json`."""

    task: Literal["transcribe"]
    language: Annotated[
        str | None,
        about("English name of the main language, in small letters; null if there is no speech."),
    ]
    duration: Annotated[float, about("Length of the audio in seconds.")]
    text: str
    usage: Usage
    words: list[VerboseWord] | None = None
    segments: list[VerboseSegment] | None = None


class TextDelta(msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.delta"):
    """An event of `stream=true`: text that follows what was sent before, and does not change."""

    delta: str


class TextDone(msgspec.Struct, frozen=True, tag_field="type", tag="transcript.text.done"):
    """The last event of `stream=true`, with the whole text."""

    text: str
    usage: Usage


def answer(parameters: Parameters, segments: Sequence[Segment], usage: Usage) -> web.Response:
    """Return the whole answer in the format that was asked for."""
    match parameters.response_format:
        case "text":
            text, media_type = plain_text(segments) + "\n", "text/plain"
        case "srt":
            text, media_type = "".join(srt(segments)), "application/x-subrip"
        case "vtt":
            text, media_type = "".join(vtt(segments)), "text/vtt"
        case "verbose_json":
            return json_response(_verbose(parameters.granularities, segments, usage))
        case _:
            return json_response(Transcription(text=plain_text(segments), usage=usage))
    return web.Response(text=text, content_type=media_type, charset="utf-8")


def _verbose(
    granularities: Sequence[str], segments: Sequence[Segment], usage: Usage
) -> VerboseTranscription:
    language = main_language(segments)
    words = [
        VerboseWord(word=word.text.strip(), start=round(word.start_s, 3), end=round(word.end_s, 3))
        for segment in segments
        for word in segment.words
    ]
    parts = [part for segment in segments for part in sentences(segment)]
    return VerboseTranscription(
        task="transcribe",
        language=LANGUAGE_NAMES[language] if language else None,
        duration=usage.seconds,
        text=plain_text(segments),
        usage=usage,
        words=words if "word" in granularities else None,
        segments=[*map(_segment, range(len(parts)), parts)] if "segment" in granularities else None,
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


def _failures(*statuses: int) -> dict[int, Description]:
    return {
        status: json_answer(FAILURES[status], FAILURE_EXAMPLES.get(status, Failure))
        for status in statuses
    }


LIST_MODELS = Operation(
    path="/v1/models",
    name="listModels",
    summary="List the names of models. All are names of the one model that the server runs.",
    answers={200: json_answer("All names of the model.", ModelList), **_failures(400, 401, 403)},
    security=API_KEY,
)
GET_MODEL = Operation(
    path="/v1/models/{name}",
    name="getModel",
    summary="Get one of these names.",
    answers={200: json_answer("The server has this name.", Model), **_failures(400, 401, 403, 404)},
    parameters=({**NAME_IN_PATH, "description": "The name of a model."},),
    security=API_KEY,
)


def transcribe_operation(settings: Settings) -> Operation:
    """Describe the transcription of a file, with the limits of these settings."""
    form = {"schema": _form(settings), "encoding": {"file": {"contentType": "*/*"}}}
    return Operation(
        method="post",
        path="/v1/audio/transcriptions",
        name="transcribe",
        summary="Transcribe a file, in the form of OpenAI's audio API.",
        description="docs/http.md has the containers and codecs, the limits, the formats and the "
        "differences from OpenAI's API.",
        request_body={"required": True, "content": {"multipart/form-data": form}},
        answers={200: _transcripts(), **_failures(*(each for each in FAILURES if each != 404))},
        security=API_KEY,
    )


def _form(settings: Settings) -> Description:
    size = f"{settings.max_upload_bytes >> 20} MiB and {settings.max_file_audio_s:g} s"
    description = f"Audio or video, at most {size}."
    file = {"type": "string", "format": "binary", "description": description}
    fields = schemas_of([Parameters])["Parameters"]["properties"]
    return {"type": "object", "properties": {"file": file, **fields}, "required": ["file"]}


def _transcripts() -> Description:
    """The answer with a transcript, in each of its forms."""
    text, used = "It was the best of times.", Usage(2.9)
    events = (TextDelta(text), TextDone(text, used))
    stream = "".join(f"data: {msgspec.json.encode(event).decode()}\n\n" for event in events)
    texts = {
        "text/plain": f"{text}\n",
        "application/x-subrip": f"1\n00:00:00,320 --> 00:00:02,480\n{text}\n\n",
        "text/vtt": f"WEBVTT\n\n00:00:00.320 --> 00:00:02.480\n{text}\n\n",
        "text/event-stream": stream,
    }
    content: dict[str, Description] = {
        JSON: {
            "schema": {"anyOf": [Transcription, VerboseTranscription]},
            "example": Transcription(text=text, usage=used),
        },
        **{kind: {"schema": {"type": "string"}, "example": each} for kind, each in texts.items()},
    }
    content["text/event-stream"]["schema"]["x-events"] = {"anyOf": [TextDelta, TextDone, Failure]}
    return {"description": "The transcript, in the requested form.", "content": content}
