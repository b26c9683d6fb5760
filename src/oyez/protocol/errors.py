"""Errors by their cause; each kind has one answer to the client.

    ProtocolError
    ├── ClientError      the client sent something wrong → `error` of type
    │                    `invalid_request_error`; nothing changes, the session goes on
    ├── ServerFault      a bug of the server → `error` of type `server_error`, close 1011
    └── Overload         no room for one more answer → `…transcription.failed` for that item

Any other exception out of the protocol room is a bug. The codes are listed in `codes.py`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from oyez.protocol.codes import INVALID_REQUEST, SERVER_ERROR
from oyez.protocol.server_events import ErrorDetail

_MAX_SHOWN_CHARS = 80


class ProtocolError(Exception):
    """The base of all errors that are answered to the client."""

    type = SERVER_ERROR

    def __init__(self, message: str, *, code: str | None = None, param: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.param = param
        self.event_id: str | None = None
        """Names the client event that caused it, where that is known."""

    def detail(self, event_id: str | None = None) -> ErrorDetail:
        """Return the error as it is sent. event_id: names the client event that caused it, where
        the error does not name one itself."""
        return ErrorDetail(
            type=self.type,
            code=self.code,
            message=self.message,
            param=self.param,
            event_id=self.event_id or event_id,
        )


class ClientError(ProtocolError):
    """A mistake of the client. The message names the field and what is allowed there."""

    type = INVALID_REQUEST


class ServerFault(ProtocolError):
    """A bug of the server: the client can do nothing about it."""

    def __init__(self, message: str = "Internal service error.") -> None:
        super().__init__(message, code="InternalError")


class Overload(ProtocolError):
    """The server cannot take one more request now."""

    def __init__(self, message: str = "The server is overloaded; try again later.") -> None:
        super().__init__(message, code="ServerOverloaded")


def invalid_value(param: str, value: object, allowed: str) -> ClientError:
    """Return the documented error for a bad value, which names the allowed values."""
    message = f"Invalid value: {_shown(value)}. Supported values are: {allowed}."
    return ClientError(message, code="invalid_value", param=param)


def one_of(values: Iterable[object]) -> str:
    """Return allowed values as error messages list them: `'a', 'b', 'c'`."""
    return ", ".join(repr(value) for value in values)


def _shown(value: object) -> str:
    """Return a client's value as an error shows it: in the words of JSON, short, and at a cost that
    does not grow with the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            shown = repr(value[: _MAX_SHOWN_CHARS + 1])
        case float() if math.isinf(value):
            shown = "a number out of range"
        case int() | float():
            shown = str(value)
        case list():
            return "a list"
        case _:
            return "an object"
    return shown if len(shown) <= _MAX_SHOWN_CHARS else shown[: _MAX_SHOWN_CHARS - 3] + "..."
