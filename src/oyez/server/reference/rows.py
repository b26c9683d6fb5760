"""JSON Schemas as rows of a table: one for each field, however deep."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Schema = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Row:
    path: str
    """Dotted, as `param` of an `error` names it."""
    kind: str
    """Its type, for people."""
    bounds: tuple[str, ...]
    """What else it must be, and what it is if it is left out."""
    required: bool
    description: str
    allowed: tuple[str, ...]
    """The values it may have, where they are few; empty otherwise."""


def rows(schema: Schema, schemas: Schema, prefix: str = "") -> Iterator[Row]:
    """The fields of an object; of objects in it too. schemas: what references mean, by name."""
    whole = _resolved(schema, schemas)
    for name, field in whole.get("properties", {}).items():
        choices = [_resolved(each, schemas) for each in field.get("anyOf", [field])]
        yield Row(
            path=prefix + name,
            kind=" or ".join(dict.fromkeys(_kind(each, schemas) for each in choices)),
            bounds=tuple(bound for each in choices for bound in _bounds(each)),
            required=name in whole.get("required", ()),
            description=field.get("description") or "",
            allowed=tuple(value for each in choices for value in _values(each)),
        )
        for each in choices:
            inner = _resolved(each.get("items", each), schemas)
            yield from rows(inner, schemas, f"{prefix}{name}{'[]' if 'items' in each else ''}.")


def _resolved(schema: Schema, schemas: Schema) -> Schema:
    if "allOf" in schema:
        (schema,) = schema["allOf"]
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return schema


def _kind(schema: Schema, schemas: Schema) -> str:
    kind: str = schema.get("type", "string" if _values(schema) else "anything")
    if kind == "array" and "items" in schema:
        return f"array of {_kind(_resolved(schema['items'], schemas), schemas)}s"
    return kind


def _bounds(schema: Schema) -> Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f"from {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']:,} characters"
    if isinstance(schema.get("default"), int | float) and len(_values(schema)) != 1:
        yield f"default {schema['default']}"


def _values(schema: Schema) -> list[str]:
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return ['""' if value == "" else str(value) for value in values]
