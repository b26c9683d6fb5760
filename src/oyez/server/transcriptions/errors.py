"""Every error of `/v1/…`, in the form that OpenAI's clients turn into exceptions."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from oyez.protocol.server_events import about
from oyez.server.access.refusals import Refusal
from oyez.server.operations import json_response

PREFIX = "/v1/"
CODES = {"key": "invalid_api_key", "quota": "insufficient_quota", "rate": "rate_limit_exceeded"}
"""The error code of each reason of a `Refusal`; other reasons are their own code."""
MAX_SHOWN_CHARS = 80
"""A wrong value is cut to this length in a message."""
CLIENT_GONE = 499
"""The status, in usage, log and metrics, of a request whose client did not wait for the answer, as
in nginx."""

log = logging.getLogger(__name__)


class FailureDetail(msgspec.Struct, frozen=True, kw_only=True):
    message: Annotated[str, about("What is wrong and what to do, for people.")]
    type: Annotated[str, about("`invalid_request_error`, `rate_limit_error` or `server_error`.")]
    param: Annotated[str | None, about("The form field that is wrong.")] = None
    code: Annotated[str | None, about("What is wrong, for programs.")] = None


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """Why a request was not answered."""

    error: FailureDetail


class ApiError(Exception):
    """Ends a request with this error as its answer."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        """Take the HTTP status, which decides the error type, and the fields and headers of the
        answer. reason: why the caller was refused, for metrics: one of `refusals.REASONS`."""
        super().__init__(message)
        self.status, self.headers, self.reason = status, headers, reason
        kind = "rate_limit_error" if status == 429 else "invalid_request_error"
        kind = "server_error" if status >= 500 else kind
        self.body = Failure(error=FailureDetail(message=message, type=kind, param=param, code=code))

    @classmethod
    def from_refusal(cls, refusal: Refusal) -> ApiError:
        """Return a refusal that all endpoints share, in the form of this one."""
        return cls(
            refusal.status,
            refusal.message,
            code=CODES.get(refusal.reason, refusal.reason),
            headers=refusal.headers,
            reason=refusal.reason,
        )

    @classmethod
    def of(cls, error: Exception) -> ApiError:
        """Return the error if it is an ApiError; otherwise log it, and return an internal error."""
        if isinstance(error, ApiError):
            return error
        log.error("internal error", exc_info=error)
        message = "Internal server error: see the log of the server."
        return cls(500, message, code="internal_error")

    def response(self) -> web.Response:
        """Return the error as an HTTP answer."""
        return json_response(self.body, self.status, self.headers)


def wrong_field(param: str, message: str) -> ApiError:
    """Return the error of a form field that is wrong in the way that the message describes."""
    return ApiError(400, message, param=param, code="invalid_value")


def invalid_value(param: str, value: object, allowed: str) -> ApiError:
    """Return the error of a form field whose value is not allowed. allowed: the values that are,
    in words."""
    shown = repr(value)
    if len(shown) > MAX_SHOWN_CHARS:
        shown = shown[: MAX_SHOWN_CHARS - 3] + "..."
    message = f"Invalid value for {param}: {shown}. Supported values are: {allowed}."
    return wrong_field(param, message)


def file_too_large(max_bytes: int) -> ApiError:
    message = (
        f"The file is larger than {max_bytes} bytes, the most this server takes: "
        "send a compressed form (Opus, MP3), or parts of it."
    )
    return ApiError(413, message, param="file", code="file_too_large")


def no_room(what: str, code: str = "full") -> ApiError:
    """Return the error of a server that has no room for the file now. what: what takes the room."""
    message = f"{what}; try again later."
    return ApiError(503, message, code=code, headers={"Retry-After": "10"}, reason="full")


def too_many_files(max_files: int, doing: str = "are being transcribed or wait") -> ApiError:
    return no_room(f"{max_files} files, or as many as one key may, {doing} already")


def answer_errors(count_refused: Callable[[str], None]) -> Middleware:
    """Answer every error below `/v1/` in OpenAI's form, also unknown addresses and methods.
    count_refused: takes the reason for each refusal."""

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        if not request.path.startswith(PREFIX):
            return await handler(request)
        try:
            return await handler(request)
        except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as unknown:
            message = (
                f"There is no {request.method} {request.path[:MAX_SHOWN_CHARS]}: this server has "
                "POST /v1/audio/transcriptions and GET /v1/models; live speech goes over its "
                "WebSocket."
            )
            allow = {key: value for key, value in unknown.headers.items() if key == "Allow"}
            error = ApiError(unknown.status, message, code="unknown_url", headers=allow)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as other:  # noqa: BLE001 - it is answered, and logged if it is unexpected
            error = ApiError.of(other)
        if error.reason:
            count_refused(error.reason)
        return error.response()

    return middleware
