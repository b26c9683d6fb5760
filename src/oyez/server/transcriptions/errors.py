"""Every error of `/v1/…`, in the form that OpenAI's clients turn into exceptions."""

from __future__ import annotations

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from oyez.server.access.refusals import Refusal
from oyez.server.operations import json_response

PREFIX = "/v1/"
INVALID = "invalid_request_error"
SERVER = "server_error"
TYPES = {401: INVALID, 403: INVALID, 429: "rate_limit_error", 503: SERVER}
"""The error type of each HTTP status of a `Refusal`."""
CODES = {"key": "invalid_api_key", "quota": "insufficient_quota", "rate": "rate_limit_exceeded"}
"""The error code of each reason of a `Refusal`; other reasons are their own code."""
MAX_SHOWN_CHARS = 80
"""A wrong value is cut to this length in a message."""
CLIENT_GONE = 499
"""The status, in usage and log, of a request whose client did not wait for the answer."""


class FailureDetail(msgspec.Struct, frozen=True, kw_only=True):
    message: str
    """What is wrong and what to do, for people."""
    type: str
    """`invalid_request_error`, `rate_limit_error` or `server_error`."""
    param: str | None = None
    """The form field that is wrong."""
    code: str | None = None
    """What is wrong, for programs."""


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
        type: str = INVALID,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
        reason: str | None = None,
    ) -> None:
        """Make an error.

        Args:
            status: The HTTP status.
            message: What is wrong and what to do, for people.
            type: The error type, as OpenAI names it.
            param: The form field that is wrong.
            code: What is wrong, for programs.
            headers: Headers of the answer.
            reason: Why the caller was refused, for metrics: one of `refusals.REASONS`.
        """
        super().__init__(message)
        self.status = status
        self.body = Failure(error=FailureDetail(message=message, type=type, param=param, code=code))
        self.headers = headers or {}
        self.reason = reason

    @classmethod
    def from_refusal(cls, refusal: Refusal) -> ApiError:
        """Return a refusal that all endpoints share, in the form of this one."""
        return cls(
            refusal.status,
            refusal.message,
            type=TYPES.get(refusal.status, INVALID),
            code=CODES.get(refusal.reason, refusal.reason),
            headers=refusal.headers,
            reason=refusal.reason,
        )

    def response(self) -> web.Response:
        """Return the error as an HTTP answer."""
        return json_response(self.body, self.status, self.headers)


def internal_error() -> ApiError:
    message = "Internal server error: see the log of the server."
    return ApiError(500, message, type=SERVER, code="internal_error")


def invalid_value(param: str, value: object, allowed: str) -> ApiError:
    """Return the error of a form field whose value is not allowed. allowed: the values that are,
    in words."""
    shown = repr(value)
    if len(shown) > MAX_SHOWN_CHARS:
        shown = shown[: MAX_SHOWN_CHARS - 3] + "..."
    message = f"Invalid value for {param}: {shown}. Supported values are: {allowed}."
    return ApiError(400, message, param=param, code="invalid_value")


def invalid_file(reason: str) -> ApiError:
    message = f"The file cannot be transcribed: {reason}."
    return ApiError(400, message, param="file", code="invalid_file")


def file_too_large(max_bytes: int) -> ApiError:
    message = (
        f"The file is larger than {max_bytes} bytes, the most this server takes: "
        "send a compressed form (Opus, MP3), or parts of it."
    )
    return ApiError(413, message, param="file", code="file_too_large")


def audio_too_long(max_s: float) -> ApiError:
    message = f"The audio is longer than {max_s:g} s, the most this server takes: send parts of it."
    return ApiError(400, message, param="file", code="audio_too_long")


def too_many_files(max_files: int) -> ApiError:
    return _full(f"{max_files} files, or as many as one key may, are being transcribed or wait")


def too_many_uploads(max_files: int) -> ApiError:
    return _full(f"{max_files} files, or as many as one key may, are being sent")


def _full(what: str) -> ApiError:
    message = f"{what} already; try again later."
    headers = {"Retry-After": "10"}
    return ApiError(503, message, type=SERVER, code="full", headers=headers, reason="full")


def disk_full() -> ApiError:
    message = "Files that are being transcribed or wait take all the room; try again later."
    headers = {"Retry-After": "10"}
    return ApiError(503, message, type=SERVER, code="storage", headers=headers, reason="full")


def no_decoder() -> ApiError:
    message = "The server cannot decode files at the moment: see its log; try again later."
    return ApiError(503, message, type=SERVER, code="decoder")


@web.middleware
async def answer_unknown_urls(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer unknown addresses and methods below `/v1/` in OpenAI's form too."""
    try:
        return await handler(request)
    except (web.HTTPNotFound, web.HTTPMethodNotAllowed) as error:
        if not request.path.startswith(PREFIX):
            raise
        message = (
            f"There is no {request.method} {request.path[:MAX_SHOWN_CHARS]}: this server has POST "
            "/v1/audio/transcriptions and GET /v1/models; live speech goes over its WebSocket."
        )
        headers = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else {}
        return ApiError(error.status, message, code="unknown_url", headers=headers).response()
