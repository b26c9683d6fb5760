"""What both documents are made of: JSON Schemas of types, ways to send a key, and the fields of a
schema as rows of a table."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

import msgspec

Schema = dict[str, Any]
REFERENCE = "#/components/schemas/{name}"

BEARER: Schema = {
    "type": "http",
    "scheme": "bearer",
    "description": "`Authorization: Bearer KEY`; the scheme in any case. A server that needs no "
    "keys accepts requests without one, except those of web pages of other origins.",
}
API_KEY_HEADER: Schema = {
    "name": "X-API-Key",
    "in": "header",
    "description": "`X-API-Key: KEY` does the same.",
}
"""The second way to send a key. The two documents give it types with different names."""


def reference_to(cls: type) -> Schema:
    """Return the reference by which documents refer to the schema of `cls`."""
    return {"$ref": REFERENCE.format(name=cls.__name__)}


def schemas_of(types: Iterable[type]) -> dict[str, Schema]:
    """Make the schemas of these types and of all types in them, by class name, with docstrings."""
    types = list(types)
    _, schemas = msgspec.json.schema_components(types, ref_template=REFERENCE)
    for name, cls in _types_in(types).items():
        schema = schemas[name]
        del schema["title"]  # it repeats the name
        schema["description"] = " ".join(schema.get("description", "").split())
        texts = field_docstrings(cls)
        for key, field in schema["properties"].items():
            if key in texts:
                field["description"] = texts[key]
    return schemas


def _types_in(types: Iterable[type]) -> dict[str, Any]:
    """Every struct and dataclass among these types and in their fields, by name."""
    found: dict[str, Any] = {}
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType | msgspec.inspect.DataclassType):
            if info.cls.__name__ not in found:
                found[info.cls.__name__] = info.cls
                waiting += [field.type for field in info.fields]
        elif isinstance(info, msgspec.inspect.Metadata):
            waiting.append(info.type)
        else:
            waiting += [*getattr(info, "types", ()), *filter(None, [getattr(info, "item_type", 0)])]
    return found


@cache
def field_docstrings(cls: type) -> dict[str, str]:
    """Return the docstrings below the fields of `cls` and of its base classes, by field.

    They are read from the source code: Python does not keep them. A program without its source
    code (a frozen one) gets none.
    """
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # a built-in class
            continue
        (definition,) = ast.parse(source).body
        assert isinstance(definition, ast.ClassDef)
        for field, below in zip(definition.body, definition.body[1:], strict=False):
            match field, below:
                case (
                    ast.AnnAssign(target=ast.Name(id=name)),
                    ast.Expr(value=ast.Constant(value=str(text))),
                ):
                    found[name] = " ".join(text.split())
    return found


class Row(NamedTuple):
    """One field of a schema, for a table that people read."""

    path: str
    """The dotted path, as `param` of an `error` has it."""
    kind: str
    """The type, in words."""
    bounds: tuple[str, ...]
    """The other conditions of the value, and its default."""
    required: bool
    description: str
    allowed: tuple[str, ...]
    """The values that are allowed; empty if they are not listed."""


def rows(schema: Mapping[str, Any], schemas: Mapping[str, Any], prefix: str = "") -> Iterator[Row]:
    """Yield the fields of an object, and after each field those of the objects in it.

    `schemas` holds the schemas that references name.
    """
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
            inner = each.get("items", each)
            yield from rows(inner, schemas, f"{prefix}{name}{'[]' if 'items' in each else ''}.")


def _resolved(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Mapping[str, Any]:
    if "allOf" in schema:
        (schema,) = schema["allOf"]
    if "$ref" in schema:
        return _resolved(schemas[schema["$ref"].rpartition("/")[2]], schemas)
    return schema


def _kind(schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> str:
    kind: str = schema.get("type", "string" if _values(schema) else "anything")
    if kind == "array" and "items" in schema:
        return f"array of {_kind(_resolved(schema['items'], schemas), schemas)}s"
    return kind


def _bounds(schema: Mapping[str, Any]) -> Iterator[str]:
    if "minimum" in schema and "maximum" in schema:
        yield f"from {schema['minimum']} to {schema['maximum']}"
    if "maxLength" in schema:
        yield f"at most {schema['maxLength']:,} characters"
    if isinstance(schema.get("default"), int | float) and len(_values(schema)) != 1:
        yield f"default {schema['default']}"


def _values(schema: Mapping[str, Any]) -> list[str]:
    values = [schema["const"]] if "const" in schema else schema.get("enum", ())
    return ['""' if value == "" else str(value) for value in values]
