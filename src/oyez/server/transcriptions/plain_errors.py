"""Unknown addresses and methods below `/v1/` are answered in OpenAI's form too."""

from __future__ import annotations

from aiohttp import web
from aiohttp.typedefs import Handler

from oyez.server.transcriptions.errors import ApiError

PREFIX = "/v1/"


@web.middleware
async def plain_errors(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if not request.path.startswith(PREFIX):
            raise
        message = (
            f"There is no {request.method} {request.path[:80]}: this server has POST "
            "/v1/audio/transcriptions and GET /v1/models; live speech goes over its WebSocket."
        )
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return ApiError(error.status, message, code="unknown_url", headers=headers).response()
