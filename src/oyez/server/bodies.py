"""What the server answers over plain HTTP, as types: handlers fill them, the reference shows
them.
"""

from __future__ import annotations

import json
from typing import Literal

import msgspec
from aiohttp import web

DatabaseState = Literal["ok", "behind"]
EngineState = Literal["ok", "engine_restarting", "engine_stuck"]


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """How the process is."""

    status: EngineState = "ok"
    """`engine_restarting`: the engine ended and is being started again; jobs wait, sessions go
    on. `engine_stuck`: a call of the engine does not return."""
    version: str
    """Of oyez."""


class Readiness(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whether sessions are let in."""

    status: Literal["ready", "draining", "engine_restarting", "engine_stuck"]
    """`draining`: the server shuts down and takes no more sessions. The others: as of `/healthz`;
    sessions are let in, but nothing is recognised now."""
    room: int | None = None
    """How many more sessions would be let in now; only when `ready`."""
    database: DatabaseState | None = None
    """Where usage goes. `behind`: it does not answer, what is to be written waits; sessions go
    on. Only when `ready`, and with a database."""


class RefusalBody(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was refused, in the form of the hosted service."""

    code: str
    """What programs go by."""
    message: str
    """For people: what to do."""
    request_id: str
    """A new one for each refusal."""


def json_response(
    body: msgspec.Struct, status: int = 200, headers: dict[str, str] | None = None
) -> web.Response:
    """One of these as an HTTP answer."""
    return web.Response(
        body=_encoded(body),
        status=status,
        headers=headers,
        content_type="application/json",
        charset="utf-8",
    )


def _encoded(body: msgspec.Struct) -> bytes:
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # it repeats what a client sent, and that was no text
        return json.dumps(msgspec.to_builtins(body), ensure_ascii=False).encode("utf-8", "replace")
