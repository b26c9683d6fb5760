"""The descriptions of `/v1/…`, made from the types and tables that its handlers use."""

from __future__ import annotations

import msgspec

from oyez.engines.base import LANGUAGES
from oyez.protocol.errors import one_of
from oyez.server.access.quotas import used_up
from oyez.server.access.refusals import INVALID_KEY
from oyez.server.operations import API_KEY, JSON, NAME_IN_PATH, Description, Operation, json_answer
from oyez.server.transcriptions import errors
from oyez.server.transcriptions.answers import (
    Model,
    ModelList,
    TextDelta,
    TextDone,
    Transcription,
    Usage,
    VerboseTranscription,
)
from oyez.server.transcriptions.errors import Failure
from oyez.server.transcriptions.form import (
    FORMATS,
    GRANULARITIES,
    MAX_MODEL_CHARS,
    MAX_PROMPT_CHARS,
)
from oyez.settings import Settings

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
EXAMPLE_TEXT = "It was the best of times."
EXAMPLE_USAGE = Usage(seconds=2.9)


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


def transcribe(settings: Settings) -> Operation:
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
    megabytes = settings.max_upload_bytes >> 20
    fields: dict[str, Description] = {
        "file": {
            "type": "string",
            "format": "binary",
            "description": f"Audio or video, at most {megabytes} MiB and "
            f"{settings.max_file_audio_s:g} s.",
        },
        "model": {
            "type": "string",
            "maxLength": MAX_MODEL_CHARS,
            "description": "Any name, because the server runs one model.",
        },
        "language": {
            "type": "string",
            "enum": LANGUAGES,
            "description": "Without it, the language of each sentence is detected.",
        },
        "prompt": {
            "type": "string",
            "maxLength": MAX_PROMPT_CHARS,
            "description": "Names and terms that may occur in the audio.",
        },
        "response_format": {"type": "string", "enum": FORMATS, "default": "json"},
        "timestamp_granularities[]": {
            "type": "array",
            "items": {"type": "string", "enum": sorted(GRANULARITIES)},
            "description": "The parts for which `verbose_json` has times; `segment` by default.",
        },
        "temperature": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "It has no effect.",
        },
        "stream": {
            "type": "boolean",
            "default": False,
            "description": "Answer with server-sent events while the file is transcribed. The "
            "`response_format` must be `json` or `text`.",
        },
    }
    return {"type": "object", "properties": fields, "required": ["file"]}


def _transcripts() -> Description:
    """The answer with a transcript, in each of its forms."""
    events = (TextDelta(delta=EXAMPLE_TEXT), TextDone(text=EXAMPLE_TEXT, usage=EXAMPLE_USAGE))
    text = {"type": "string"}
    return {
        "description": "The transcript, in the requested form.",
        "content": {
            JSON: {
                "schema": {"anyOf": [Transcription, VerboseTranscription]},
                "example": Transcription(text=EXAMPLE_TEXT, usage=EXAMPLE_USAGE),
            },
            "text/plain": {"schema": text, "example": f"{EXAMPLE_TEXT}\n"},
            "application/x-subrip": {
                "schema": text,
                "example": f"1\n00:00:00,320 --> 00:00:02,480\n{EXAMPLE_TEXT}\n\n",
            },
            "text/vtt": {
                "schema": text,
                "example": f"WEBVTT\n\n00:00:00.320 --> 00:00:02.480\n{EXAMPLE_TEXT}\n\n",
            },
            "text/event-stream": {
                "schema": {**text, "x-events": {"anyOf": [TextDelta, TextDone, Failure]}},
                "example": "".join(
                    f"data: {msgspec.json.encode(event).decode()}\n\n" for event in events
                ),
            },
        },
    }
