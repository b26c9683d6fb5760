"""What is wrong with a value, in words an operator understands: never the value itself, which may
be a key."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Literal, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from oyez.settings.fields import Settings

OWN_ERRORS = ("value_error", "assertion_error")
"""Of pydantic: those whose message is ours."""
BOUNDS = {"ge": "at least {}", "gt": "more than {}", "le": "at most {}", "lt": "less than {}"}


def describe(error: ValidationError, origin: Callable[[str], str]) -> str:
    """A line for each fault. origin: a setting's name to where its value came from."""
    lines = []
    for fault in error.errors(include_url=False, include_input=False):
        if fault["loc"]:
            name = str(fault["loc"][0])
            lines.append(f"{origin(name)}: {_complaint(fault, Settings.model_fields[name])}")
        else:
            lines.append(_own(fault))
    return "\n".join(lines)


def _complaint(fault: ErrorDetails, field: FieldInfo) -> str:
    if fault["type"] in OWN_ERRORS:
        return _own(fault)
    if fault["type"] == "string_too_short":
        return "must not be empty"
    kind = field.annotation
    if kind is bool:
        return "must be true or false"
    if get_origin(kind) is Literal:
        return f"must be one of {', '.join(map(str, get_args(kind)))}"
    if kind is int:
        return f"must be a whole number{_bounds(field)}"
    if kind in (float, Decimal | None):
        return f"must be a number{_bounds(field)}"
    return f"is not a value of this setting ({field.description}): {fault['msg']}"


def _own(fault: ErrorDetails) -> str:
    return fault["msg"].removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _bounds(field: FieldInfo) -> str:
    """` of at least 0 and at most 65535`; empty if any will do."""
    said = [
        words.format(bound)
        for name, words in BOUNDS.items()
        for constraint in field.metadata
        if (bound := getattr(constraint, name, None)) is not None
    ]
    return f" of {' and '.join(said)}" if said else ""
