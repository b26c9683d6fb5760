"""The OpenAPI 3.1 document: every HTTP operation, and the upgrade that opens a socket."""

from __future__ import annotations

from typing import Any

import msgspec

from oyez import __version__
from oyez.server.access import refusals
from oyez.server.access.refusals import RefusalBody
from oyez.server.operations import (
    API_KEY,
    API_KEY_HEADER,
    BEARER,
    JSON,
    Description,
    Operation,
    json_answer,
    reference_to,
    schemas_of,
    text_answer,
)
from oyez.server.realtime import NO_UPGRADE, PATH
from oyez.server.transcriptions.answers import GET_MODEL, LIST_MODELS, transcribe_operation
from oyez.server.web import pages
from oyez.settings import MODELS, Settings

REFUSALS = (
    refusals.INVALID_KEY,
    refusals.REVOKED_KEY,
    refusals.EXPIRED_KEY,
    refusals.NO_KEYS_YET,
    refusals.KEY_IN_URL,
    refusals.foreign_page("https://a.example"),
    NO_UPGRADE,
    refusals.too_fast(20, 1.0),
    refusals.too_many_sessions(2),
    refusals.used_up(7200, 3600),
    refusals.FULL,
    refusals.BUSY,
    refusals.LEDGER_FULL,
    refusals.DRAINING,
)
"""Every way in which an upgrade is refused. Those that are made from values stand as examples."""
EXAMPLE_REQUEST_ID = "6f1c1f0e-4f43-4b5a-9e55-1d0f4a3b7c11"


def upgrade_operations(settings: Settings) -> tuple[Operation, Operation]:
    """Describe the upgrade at its path, and at the same path with a slash at its end."""
    model: Description = {
        "name": "model",
        "in": "query",
        "description": f"One of {', '.join(settings.models)}, or any other name that begins with "
        f"`{MODELS[0]}`. Without a model that is known the socket opens and closes at once with "
        "1007.",
        "schema": {"type": "string", "examples": list(settings.models)},
    }
    statuses = sorted({refusal.status for refusal in REFUSALS})
    upgrade = Operation(
        path=PATH,
        name="openSession",
        summary="Open a session: a WebSocket upgrade.",
        answers={
            101: {"description": "The socket is open; see `/docs/asyncapi.json`."},
            **{status: _refusal_answer(status) for status in statuses},
        },
        parameters=(model,),
        security=API_KEY,
    )
    other = msgspec.structs.replace(
        upgrade, path=f"{PATH}/", name="openSessionWithSlash", is_on_page=False
    )
    return upgrade, other


def _refusal_answer(status: int) -> Description:
    found = [refusal for refusal in REFUSALS if refusal.status == status]
    bodies = [
        RefusalBody(code=each.code, message=each.message, request_id=EXAMPLE_REQUEST_ID)
        for each in found
    ]
    examples = {f"{each.code}{n}": {"value": each} for n, each in enumerate(bodies, start=1)}
    answer: Description = {
        "description": " ".join(refusal.message for refusal in found),
        "content": {JSON: {"schema": RefusalBody, "examples": examples}},
    }
    if any(refusal.retry_after_s is not None for refusal in found):
        retry = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        answer["headers"] = {"Retry-After": retry}
    return answer


def _document(path: str, name: str, summary: str = "Part of the page.") -> Operation:
    ending = path.partition(".")[2] or "html"
    is_json = ending == "json"
    answer = (
        json_answer(summary, None) if is_json else text_answer(summary, pages.PAGE_TYPES[ending])
    )
    return Operation(
        path=path,
        name=name,
        summary=summary,
        answers={200: answer, 304: {"description": "It has not changed."}},
        is_on_page=ending in ("html", "json"),
    )


DOCUMENTS = (
    _document("/docs", "reference", "The reference as a page."),
    _document("/docs/openapi.json", "openapi", "The OpenAPI document: the requests."),
    _document("/docs/asyncapi.json", "asyncapi", "The AsyncAPI document: the messages."),
    _document("/docs/docs.css", "referenceStyle"),
    _document("/docs/docs.js", "referenceScript"),
    _document("/docs/theme.css", "themeStyle"),
    _document("/docs/theme.js", "themeScript"),
    _document("/docs/icon.svg", "icon"),
)
"""What `reference/page.py` serves below `/docs`."""


def openapi(settings: Settings) -> dict[str, Any]:
    """Make the document for a server with these settings, as plain values."""
    types: set[type] = set()

    def refer(cls: object) -> object:
        """Put a reference to its schema in the place of a type."""
        if not isinstance(cls, type):
            raise NotImplementedError(cls)
        types.add(cls)
        return reference_to(cls)

    paths: dict[str, Any] = {}
    for operation in _operations(settings):
        described = msgspec.json.decode(msgspec.json.encode(operation, enc_hook=refer))
        methods = paths.setdefault(described.pop("path"), {})
        methods[described.pop("method", "get")] = described
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
        pages.HEALTH,
        pages.READINESS,
        *([pages.metrics_operation(settings)] if settings.metrics else []),
        transcribe_operation(settings),
        LIST_MODELS,
        GET_MODEL,
        *(DOCUMENTS if settings.docs else ()),
        *((pages.PAGE, pages.PAGE_CONFIG, pages.PAGE_FILE) if settings.web_page else ()),
    ]
