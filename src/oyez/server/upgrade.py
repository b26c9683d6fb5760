"""The description of the upgrade that opens a socket, with every refusal that may answer it."""

from __future__ import annotations

from typing import Any

from oyez.server.access.admission import too_fast, too_many_sessions
from oyez.server.access.gate import foreign_page
from oyez.server.access.quotas import used_up
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
    RefusalBody,
)
from oyez.server.operations import API_KEY, JSON, Description, Operation
from oyez.server.realtime import NO_UPGRADE, PATH
from oyez.settings import MODELS, Settings

REFUSALS = (
    INVALID_KEY,
    REVOKED_KEY,
    EXPIRED_KEY,
    NO_KEYS_YET,
    KEY_IN_URL,
    foreign_page("https://a.example"),
    NO_UPGRADE,
    too_fast(20, 1.0),
    too_many_sessions(2),
    used_up(7200, 3600),
    FULL,
    BUSY,
    LEDGER_FULL,
    DRAINING,
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
    common: dict[str, Any] = {
        "summary": "Open a session: a WebSocket upgrade.",
        "answers": {
            101: {"description": "The socket is open; see `/docs/asyncapi.json`."},
            **{status: _refusal_answer(status) for status in statuses},
        },
        "parameters": (model,),
        "security": API_KEY,
    }
    return (
        Operation(path=PATH, name="openSession", **common),
        Operation(path=f"{PATH}/", name="openSessionWithSlash", is_on_page=False, **common),
    )


def _refusal_answer(status: int) -> Description:
    refusals = [refusal for refusal in REFUSALS if refusal.status == status]
    examples = {
        f"{refusal.code}{number}": {
            "value": RefusalBody(
                code=refusal.code, message=refusal.message, request_id=EXAMPLE_REQUEST_ID
            )
        }
        for number, refusal in enumerate(refusals, start=1)
    }
    answer: Description = {
        "description": " ".join(refusal.message for refusal in refusals),
        "content": {JSON: {"schema": RefusalBody, "examples": examples}},
    }
    if any(refusal.retry_after_s is not None for refusal in refusals):
        retry = {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}}
        answer["headers"] = {"Retry-After": retry}
    return answer
