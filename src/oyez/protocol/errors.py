"""Errors by their cause; each kind has one answer to the client.

    ProtocolError        a fault of the server → `error` of type `server_error`, close 1011
    ├── ClientError      the client sent something wrong → `error` of type
    │                    `invalid_request_error`; nothing changes, the session goes on
    └── Overload         no room for one more answer → `…transcription.failed` for that item

Any other exception out of the protocol room is a bug. `server_events` has the codes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cache
from typing import Any

import msgspec
from msgspec import inspect

from oyez.protocol.dialect import SessionLimits
from oyez.protocol.server_events import INVALID_REQUEST, SERVER_ERROR, ErrorDetail

_MAX_SHOWN_CHARS = 80


class ProtocolError(Exception):
    """An error that is answered to the client."""

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


class Overload(ProtocolError):
    """The server cannot take one more request now."""

    def __init__(self, message: str = "The server is overloaded; try again later.") -> None:
        super().__init__(message, code="ServerOverloaded")


def unfit_value(
    error: msgspec.ValidationError,
    cls: type[msgspec.Struct],
    given: dict[str, Any],
    path: str,
    limits: SessionLimits,
) -> ClientError:
    """Return the error for an object of a client that does not fit its type. path: its place in the
    message.

    The allowed values come from the type of the field, or from `supported` in `Meta.extra` of its
    annotation, which is a text, or a function that makes one of the limits."""
    place = str(error).rpartition("`$.")[2].rstrip("`").partition("[")[0]  # `$.turn_detection.type`
    keys = place.split(".")
    value: Any = given
    kind = _type_info(cls)
    extra: dict[str, Any] = {}
    for key in keys:
        value = value[key]
        kind, extra = _bare(next(each.type for each in kind.fields if each.name == key))
    supported = extra.get("supported") or _allowed(kind)
    text = supported if isinstance(supported, str) else supported(limits)
    return invalid_value(".".join([path, *keys]), value, text)


def _bare(kind: Any) -> tuple[Any, dict[str, Any]]:
    """Return a type without its annotations and without null, and what they have as `extra`."""
    extra: dict[str, Any] = {}
    while isinstance(kind, inspect.Metadata | inspect.UnionType):
        if isinstance(kind, inspect.Metadata):
            extra |= kind.extra or {}
            kind = kind.type
        else:
            kind = next(each for each in kind.types if not isinstance(each, inspect.NoneType))
    return kind, extra


@cache
def _type_info(cls: type[msgspec.Struct]) -> Any:
    return inspect.type_info(cls)


def _allowed(kind: inspect.Type) -> str:
    match kind:
        case inspect.LiteralType():
            return one_of(kind.values)
        case inspect.FloatType():
            return f"a number from {kind.ge} to {kind.le}"
        case inspect.IntType():
            return f"a whole number from {kind.ge} to {kind.le}"
        case inspect.StrType():
            return "a string"
        case _:
            return "an object"


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
