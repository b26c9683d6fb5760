"""Every error of `/v1/…`, in the form that OpenAI's clients turn into exceptions."""

from __future__ import annotations

from aiohttp import web

from oyez.server.access.refusals import Refusal
from oyez.server.operations import json_response
from oyez.server.transcriptions.bodies import Failure, FailureDetail

INVALID = "invalid_request_error"
SERVER = "server_error"
TYPES = {401: INVALID, 403: INVALID, 429: "rate_limit_error", 503: SERVER}
CODES = {"key": "invalid_api_key", "quota": "insufficient_quota", "rate": "rate_limit_exceeded"}


class ApiError(Exception):
    """Ends a request with this answer."""

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
        """param: the field that is wrong. reason: why a caller was turned away, for metrics."""
        super().__init__(message)
        self.status = status
        self.body = Failure(error=FailureDetail(message=message, type=type, param=param, code=code))
        self.headers = headers or {}
        self.reason = reason

    @classmethod
    def of(cls, refusal: Refusal) -> ApiError:
        """What every endpoint refuses, in the form of this one."""
        return cls(
            refusal.status,
            refusal.message,
            type=TYPES.get(refusal.status, INVALID),
            code=CODES.get(refusal.reason, refusal.reason),
            headers=refusal.headers,
            reason=refusal.reason,
        )

    def response(self) -> web.Response:
        return json_response(self.body, self.status, self.headers)


def internal_error() -> ApiError:
    message = "Internal server error: see the log of the server."
    return ApiError(500, message, type=SERVER, code="internal_error")


def bad_value(param: str, value: object, allowed: str) -> ApiError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    message = f"Invalid value for {param}: {shown}. Supported values are: {allowed}."
    return ApiError(400, message, param=param, code="invalid_value")


def bad_file(reason: str) -> ApiError:
    message = f"The file cannot be transcribed: {reason}."
    return ApiError(400, message, param="file", code="invalid_file")


def too_large(max_bytes: int) -> ApiError:
    message = (
        f"The file is larger than {max_bytes} bytes, the most this server takes: "
        "send a compressed form (Opus, MP3), or parts of it."
    )
    return ApiError(413, message, param="file", code="file_too_large")


def too_long(max_s: float) -> ApiError:
    message = f"The audio is longer than {max_s:g} s, the most this server takes: send parts of it."
    return ApiError(400, message, param="file", code="audio_too_long")


def too_many(max_files: int) -> ApiError:
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
