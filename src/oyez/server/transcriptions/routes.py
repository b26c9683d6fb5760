"""`/v1/…`: what clients of OpenAI's API ask for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from aiohttp import web

from oyez.server.access.access import Access
from oyez.server.access.refusals import Refusal
from oyez.server.bodies import json_response
from oyez.server.session.session_metrics import ServerMetrics
from oyez.server.transcriptions.bodies import Model, ModelList
from oyez.server.transcriptions.errors import ApiError, internal_error
from oyez.server.transcriptions.transcriptions import Transcriptions

PATH = "/v1/audio/transcriptions"
ALIASES = ("whisper-1", "gpt-4o-transcribe", "gpt-4o-mini-transcribe")
"""Names that programs written for OpenAI ask for."""

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger(__name__)


def openai_routes(
    transcriptions: Transcriptions, access: Access, watch: ServerMetrics, models: tuple[str, ...]
) -> list[web.RouteDef]:
    """models: names the server goes by, besides ALIASES."""
    known = {name: Model(id=name) for name in (*models, *ALIASES)}

    async def all_models(request: web.Request) -> web.Response:
        _check(access, request)
        return json_response(ModelList(data=list(known.values())))

    async def one_model(request: web.Request) -> web.Response:
        _check(access, request)
        name = request.match_info["name"]
        if name not in known:
            message = f"The model {name[:80]!r} does not exist; see /v1/models."
            raise ApiError(404, message, param="model", code="model_not_found")
        return json_response(known[name])

    def answering(handler: Handler) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except ApiError as error:
                if error.reason:
                    watch.refused(error.reason)
                return error.response()
            except (web.HTTPException, ConnectionError):
                raise
            except Exception:
                log.exception("internal error")
                return internal_error().response()

        return handle

    return [
        web.post(PATH, answering(transcriptions.handle)),
        web.get("/v1/models", answering(all_models)),
        web.get("/v1/models/{name}", answering(one_model)),
    ]


def _check(access: Access, request: web.Request) -> None:
    caller = access.gate.identify(request)
    if isinstance(caller, Refusal):
        raise ApiError.of(caller)
