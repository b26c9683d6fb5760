"""The OpenAPI 3.1 document: every HTTP operation, and the upgrade that opens a socket."""

from __future__ import annotations

from typing import Any

import msgspec

from oyez import __version__
from oyez.server.operations import JSON, Operation, json_answer, text_answer
from oyez.server.reference.schemas import API_KEY_HEADER, BEARER, reference_to, schemas_of
from oyez.server.transcriptions.operations import GET_MODEL, LIST_MODELS, transcribe
from oyez.server.upgrade import upgrade_operations
from oyez.server.web.pages import HEALTH, PAGE, PAGE_CONFIG, PAGE_FILE, READINESS, metrics_operation
from oyez.settings import Settings


def openapi(settings: Settings) -> dict[str, Any]:
    """Make the document for a server with these settings, as plain values."""
    paths: dict[str, Any] = {}
    types: set[type] = set()
    for operation in _operations(settings):
        paths.setdefault(operation.path, {})[operation.method] = _as_openapi(operation, types)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "oyez over HTTP",
            "version": __version__,
            "description": "The plain HTTP requests that oyez answers. The messages on the "
            "socket are in `/docs/asyncapi.json`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {
            "schemas": schemas_of(sorted(types, key=lambda each: each.__name__)),
            "securitySchemes": {"bearer": BEARER, "apiKey": {"type": "apiKey", **API_KEY_HEADER}},
        },
    }


def _operations(settings: Settings) -> list[Operation]:
    """Every operation that a server with these settings has, in the order of the document."""
    return [
        *upgrade_operations(settings),
        HEALTH,
        READINESS,
        *([metrics_operation(settings)] if settings.metrics else []),
        transcribe(settings),
        LIST_MODELS,
        GET_MODEL,
        *(DOCUMENTS if settings.docs else ()),
        *((PAGE, PAGE_CONFIG, PAGE_FILE) if settings.web_page else ()),
    ]


def _as_openapi(operation: Operation, types: set[type]) -> dict[str, Any]:
    """The operation as an OpenAPI document has it. Types that it refers to are added to `types`."""
    optional = {
        "description": operation.description,
        "parameters": operation.parameters,
        "requestBody": operation.request_body,
        "x-page": None if operation.is_on_page else False,
    }
    whole = {
        "operationId": operation.name,
        "summary": operation.summary,
        "responses": {str(status): answer for status, answer in operation.answers.items()},
        "security": operation.security,
        **{key: value for key, value in optional.items() if value or value is False},
    }
    described: dict[str, Any] = _resolved(whole, types)
    return described


def _resolved(value: Any, types: set[type]) -> Any:
    """A copy of `value` in which references stand for types, and JSON for objects."""
    match value:
        case type():
            types.add(value)
            return reference_to(value)
        case msgspec.Struct():
            return msgspec.to_builtins(value)
        case dict():
            return {key: _resolved(each, types) for key, each in value.items()}
        case list() | tuple():
            return [_resolved(each, types) for each in value]
        case _:
            return value


def _document(file: str, name: str, summary: str, media_type: str) -> Operation:
    is_text = media_type.startswith("text/")
    answer = (
        json_answer(summary, None)
        if media_type == JSON
        else text_answer(summary, media_type + ("; charset=utf-8" if is_text else ""))
    )
    return Operation(
        path=f"/docs/{file}".rstrip("/"),
        name=name,
        summary=summary,
        answers={200: answer, 304: {"description": "It has not changed."}},
        is_on_page=media_type in ("text/html", JSON),
    )


DOCUMENTS = (
    _document("", "reference", "The reference as a page.", "text/html"),
    _document("openapi.json", "openapi", "The OpenAPI document: the requests.", JSON),
    _document("asyncapi.json", "asyncapi", "The AsyncAPI document: the messages.", JSON),
    _document("docs.css", "referenceStyle", "Part of the page.", "text/css"),
    _document("docs.js", "referenceScript", "Part of the page.", "text/javascript"),
    _document("theme.css", "themeStyle", "Part of the page.", "text/css"),
    _document("theme.js", "themeScript", "Part of the page.", "text/javascript"),
    _document("icon.svg", "icon", "Part of the page.", "image/svg+xml"),
)
"""What `reference/page.py` serves below `/docs`."""
