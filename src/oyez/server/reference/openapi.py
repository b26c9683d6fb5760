"""The OpenAPI 3.1 document: every HTTP route, and the upgrade that opens a socket."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from oyez import __version__
from oyez.metrics import CONTENT_TYPE
from oyez.server import realtime
from oyez.server.access.refusals import (
    BUSY,
    DRAINING,
    EXPIRED_KEY,
    FULL,
    INVALID_KEY,
    KEY_IN_URL,
    LEDGER_FULL,
    NO_KEYS_YET,
    REVOKED_KEY,
    Refusal,
    foreign_page,
    too_fast,
    too_many_sessions,
    used_up,
)
from oyez.server.bodies import Health, Readiness, RefusalBody
from oyez.server.reference.openai_paths import OPENAI_BODIES, openai_paths
from oyez.server.reference.schemas import REFERENCE, Schema, schemas_of
from oyez.server.reference.security import ANY_OF_THEM, FOR_HTTP
from oyez.settings import MODELS, Settings

BODIES = (Health, Readiness, RefusalBody)
REFUSALS = (
    *(INVALID_KEY, REVOKED_KEY, EXPIRED_KEY, NO_KEYS_YET, KEY_IN_URL),
    foreign_page("https://a.example"),
    *(realtime.NO_UPGRADE, too_fast(20, 1.0), too_many_sessions(2), used_up(7200, 3600)),
    *(FULL, BUSY, LEDGER_FULL, DRAINING),
)
"""How an upgrade may be refused."""


def openapi(settings: Settings) -> dict[str, Any]:
    """The document, as plain values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "oyez over HTTP",
            "version": __version__,
            "description": "What oyez answers over plain HTTP. What is said on the socket is in "
            "`/docs/asyncapi.json`.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "paths": paths(settings),
        "components": {
            "schemas": {
                cls.__name__: schema
                for cls, schema in schemas_of((*BODIES, *OPENAI_BODIES)).items()
            },
            "securitySchemes": FOR_HTTP,
        },
    }


def paths(settings: Settings) -> dict[str, Any]:
    """Path to what may be asked of it."""
    return {
        realtime.PATH: {"get": _upgrade(settings, "openSession")},
        realtime.PATH + "/": {
            "get": {**_upgrade(settings, "openSessionWithSlash"), "x-page": False}
        },
        "/healthz": {
            "get": _operation(
                "health",
                "Whether the process lives.",
                {
                    200: _json("It does.", Health(version=__version__)),
                    503: _json(
                        "The engine hangs, and nothing is recognised.",
                        Health(status="engine_stuck", version=__version__),
                    ),
                },
            )
        },
        "/readyz": {
            "get": _operation(
                "readiness",
                "Whether sessions are let in. The socket listens only once the model is warm.",
                {
                    200: _json("They are.", Readiness(status="ready", room=24)),
                    503: _json(
                        "The server shuts down, or the engine does not work now.",
                        Readiness(status="draining"),
                    ),
                },
            )
        },
        **(_metrics(settings) if settings.metrics else {}),
        **openai_paths(settings),
        **(_documents() if settings.docs else {}),
        **(_web_page() if settings.web_page else {}),
    }


def _metrics(settings: Settings) -> dict[str, Any]:
    answers = {200: _whole("Text format.", CONTENT_TYPE)}
    if settings.metrics_key:
        answers[401] = _whole("The server's `metrics_key` is missing or wrong.", "text/plain")
    operation = _operation("metrics", "Figures for Prometheus.", answers)
    if settings.metrics_key:
        operation["security"] = [{"bearer": []}]
    return {"/metrics": {"get": operation}}


def _web_page() -> dict[str, Any]:
    html, anything = "text/html; charset=utf-8", "*/*"
    part = _document("webPagePart", "A file that the page loads.", anything)
    part["responses"]["404"] = _whole("No such file belongs to the page.", "text/plain")
    name = {"name": "name", "in": "path", "required": True, "schema": {"type": "string"}}
    config = _whole("What the page must know of the server.", "application/json")
    described = {
        "/": _operation("webPage", "The web page.", {200: _whole("HTML.", html)}),
        "/page/config.json": _operation("webPageConfig", "For the page.", {200: config}),
        "/page/{name}": {**part, "parameters": [name]},
    }
    return {path: {"get": {**operation, "x-page": False}} for path, operation in described.items()}


def _documents() -> dict[str, Any]:
    html, css, script = "text/html", "text/css", "text/javascript"
    part = "Part of the page."
    documents = {
        "/docs": ("reference", "The reference as a page.", html),
        "/docs/openapi.json": ("openapi", "This document.", "application/json"),
        "/docs/asyncapi.json": ("asyncapi", "What is said on the socket.", "application/json"),
        "/docs/docs.css": ("referenceStyle", part, css),
        "/docs/docs.js": ("referenceScript", part, script),
        "/docs/theme.css": ("themeStyle", part, css),
        "/docs/theme.js": ("themeScript", part, script),
        "/docs/icon.svg": ("icon", part, "image/svg+xml"),
    }
    return {path: {"get": _document(*what)} for path, what in documents.items()}


def _document(name: str, summary: str, kind: str) -> dict[str, Any]:
    charset = "; charset=utf-8" if kind.startswith("text/") else ""
    responses = {200: _whole(summary, kind + charset), 304: {"description": "It has not changed."}}
    operation = _operation(name, summary, responses)
    is_for_people = kind in ("text/html", "application/json")
    return operation if is_for_people else {**operation, "x-page": False}


def _upgrade(settings: Settings, name: str) -> dict[str, Any]:
    model = {
        "name": "model",
        "in": "query",
        "description": f"One of {', '.join(settings.models)}, or any other name that begins with "
        f"`{MODELS[0]}`. Without a model that is known the socket opens and closes at once with "
        "1007.",
        "schema": {"type": "string", "examples": list(settings.models)},
    }
    responses = {101: {"description": "The socket is open; see `/docs/asyncapi.json`."}}
    for status in sorted({refusal.status for refusal in REFUSALS}):
        responses[status] = _refused([each for each in REFUSALS if each.status == status])
    operation = _operation(name, "Open a session: a WebSocket upgrade.", responses)
    return {**operation, "parameters": [model], "security": ANY_OF_THEM}


def _operation(name: str, summary: str, responses: dict[int, Any]) -> dict[str, Any]:
    return {
        "operationId": name,
        "summary": summary,
        "responses": {str(status): response for status, response in responses.items()},
        "security": [],
    }


def _refused(refusals: Iterable[Refusal]) -> dict[str, Any]:
    refusals = list(refusals)
    examples = {
        f"{refusal.code}{number}": {"value": msgspec.to_builtins(_refusal_body(refusal))}
        for number, refusal in enumerate(refusals, start=1)
    }
    response = _json(" ".join(refusal.message for refusal in refusals))
    response["content"]["application/json"] = {"schema": _ref(RefusalBody), "examples": examples}
    if any(refusal.retry_after_s is not None for refusal in refusals):
        retry = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        response["headers"] = {"Retry-After": retry}
    return response


def _refusal_body(refusal: Refusal) -> RefusalBody:
    request_id = "6f1c1f0e-4f43-4b5a-9e55-1d0f4a3b7c11"
    return RefusalBody(code=refusal.code, message=refusal.message, request_id=request_id)


def _json(description: str, example: msgspec.Struct | None = None) -> dict[str, Any]:
    content: dict[str, Any] = {}
    if example is not None:
        content = {"schema": _ref(type(example)), "example": msgspec.to_builtins(example)}
    return {"description": description, "content": {"application/json": content}}


def _whole(description: str, content_type: str) -> dict[str, Any]:
    kind = "object" if content_type == "application/json" else "string"
    return {"description": description, "content": {content_type: {"schema": {"type": kind}}}}


def _ref(cls: type) -> Schema:
    return {"$ref": REFERENCE.format(name=cls.__name__)}
