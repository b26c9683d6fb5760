"""`/v1/…` in the OpenAPI document: made of the types and tables that the handlers use."""

from __future__ import annotations

from typing import Any

import msgspec

from oyez.engines.base import LANGUAGES
from oyez.protocol.errors import one_of
from oyez.server.access.refusals import INVALID_KEY, used_up
from oyez.server.reference.schemas import REFERENCE, Schema
from oyez.server.reference.security import ANY_OF_THEM
from oyez.server.transcriptions import errors, routes
from oyez.server.transcriptions.bodies import (
    Failure,
    Model,
    ModelList,
    TextDelta,
    TextDone,
    Transcription,
    Usage,
    VerboseTranscription,
)
from oyez.server.transcriptions.parameters import (
    FORMATS,
    GRANULARITIES,
    MAX_MODEL_CHARS,
    MAX_PROMPT_CHARS,
)
from oyez.settings import Settings

OPENAI_BODIES = (
    *(Failure, ModelList, Transcription, VerboseTranscription),
    *(TextDelta, TextDone),
)
FAILURES = {
    400: "A field or the file is wrong: `param` names it.",
    401: "The key is not known, expired, or was revoked.",
    403: "A web page that may not use the server.",
    404: "There is no such thing.",
    408: "The file came too slowly.",
    413: "The file is larger than `max_upload_bytes`.",
    429: "Too many requests, or files at a time, or the key's audio of the day is used up.",
    500: "A fault of the server, or a part of the audio could not be recognised.",
    503: "No more files can wait, or the server shuts down.",
}

SAID = "It was the best of times."
USAGE = Usage(seconds=2.9)
FAILED = {
    error.status: error.body
    for error in (
        errors.bad_value("response_format", "xml", one_of(FORMATS)),
        errors.ApiError.of(INVALID_KEY),
        errors.too_large(200 << 20),
        errors.ApiError.of(used_up(7200, 3600)),
        errors.too_many(8),
    )
}
"""An example of some."""


def openai_paths(settings: Settings) -> dict[str, Any]:
    """Path to what may be asked of it."""
    name = {"name": "name", "in": "path", "required": True, "description": "A model's name."}
    return {
        routes.PATH: {"post": _transcribe(settings)},
        "/v1/models": {
            "get": _operation(
                "listModels",
                "Names that clients may ask for; all are the one model the server runs.",
                {"200": _json("All names.", ModelList)},
                (400, 401, 403),
            )
        },
        "/v1/models/{name}": {
            "get": {
                **_operation(
                    "getModel",
                    "One of these names.",
                    {"200": _json("It is served.", Model)},
                    (400, 401, 403, 404),
                ),
                "parameters": [{**name, "schema": {"type": "string"}}],
            }
        },
    }


def _transcribe(settings: Settings) -> dict[str, Any]:
    operation = _operation(
        "transcribe",
        "Transcribe a file, in the form of OpenAI's audio API.",
        {"200": _answers()},
        tuple(status for status in FAILURES if status != 404),
    )
    form = {"schema": _form(settings), "encoding": {"file": {"contentType": "*/*"}}}
    body = {"required": True, "content": {"multipart/form-data": form}}
    return {
        **operation,
        "description": "Containers and codecs that are read, limits, formats and "
        "differences from OpenAI's: docs/http.md.",
        "requestBody": body,
    }


def _form(settings: Settings) -> Schema:
    megabytes = settings.max_upload_bytes >> 20
    granularity = {"type": "string", "enum": sorted(GRANULARITIES)}
    fields: dict[str, Schema] = {
        "file": {
            "type": "string",
            "format": "binary",
            "description": f"Audio or video, at most {megabytes} MiB and "
            f"{settings.max_file_audio_s:g} s.",
        },
        "model": {
            "type": "string",
            "maxLength": MAX_MODEL_CHARS,
            "description": "Any name: the server runs one model.",
        },
        "language": {
            "type": "string",
            "enum": list(LANGUAGES),
            "description": "Without one, each sentence is in the language it is heard in.",
        },
        "prompt": {
            "type": "string",
            "maxLength": MAX_PROMPT_CHARS,
            "description": "Names and terms that may be said.",
        },
        "response_format": {"type": "string", "enum": list(FORMATS), "default": "json"},
        "timestamp_granularities[]": {
            "type": "array",
            "items": granularity,
            "description": "What `verbose_json` tells the times of; `segment` if nothing is said.",
        },
        "temperature": {
            "type": "number",
            "minimum": 0,
            "maximum": 1,
            "description": "Without effect.",
        },
        "stream": {
            "type": "boolean",
            "default": False,
            "description": "Answer with server-sent events while the file is transcribed; with "
            "`json` and `text`.",
        },
    }
    return {"type": "object", "properties": fields, "required": ["file"]}


def _answers() -> dict[str, Any]:
    either = {"anyOf": [_ref(Transcription), _ref(VerboseTranscription)]}
    event = {"anyOf": [_ref(TextDelta), _ref(TextDone), _ref(Failure)]}
    events = (TextDelta(delta=SAID), TextDone(text=SAID, usage=USAGE))
    streamed = "".join(f"data: {msgspec.json.encode(each).decode()}\n\n" for each in events)
    return {
        "description": "What was said, in the form that was asked for.",
        "content": {
            "application/json": {
                "schema": either,
                "example": msgspec.to_builtins(Transcription(text=SAID, usage=USAGE)),
            },
            "text/plain": _text(f"{SAID}\n"),
            "application/x-subrip": _text(f"1\n00:00:00,320 --> 00:00:02,480\n{SAID}\n\n"),
            "text/vtt": _text(f"WEBVTT\n\n00:00:00.320 --> 00:00:02.480\n{SAID}\n\n"),
            "text/event-stream": {
                "schema": {"type": "string", "x-events": event},
                "example": streamed,
            },
        },
    }


def _text(example: str) -> dict[str, Any]:
    return {"schema": {"type": "string"}, "example": example}


def _operation(
    name: str, summary: str, answers: dict[str, Any], failures: tuple[int, ...]
) -> dict[str, Any]:
    failed = {str(status): _failed(status) for status in failures}
    return {
        "operationId": name,
        "summary": summary,
        "responses": {**answers, **failed},
        "security": ANY_OF_THEM,
    }


def _failed(status: int) -> dict[str, Any]:
    answer = _json(FAILURES[status], Failure)
    if status in FAILED:
        answer["content"]["application/json"]["example"] = msgspec.to_builtins(FAILED[status])
    return answer


def _json(description: str, body: type) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": _ref(body)}}}


def _ref(cls: type) -> Schema:
    return {"$ref": REFERENCE.format(name=cls.__name__)}
