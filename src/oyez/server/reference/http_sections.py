"""What the page says of HTTP: one section for each path."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from oyez.server.reference.html import Html, join, prose, tag
from oyez.server.reference.rows import Row, rows
from oyez.server.reference.socket_sections import Document, code, fields_list, section


def http_sections(openapi: Document) -> Iterable[Html]:
    """In the order of the document."""
    for path in shown_paths(openapi):
        for method, operation in openapi["paths"][path].items():
            yield section(
                route_anchor(path),
                tag("code", f"{method.upper()} {path}"),
                prose(operation["summary"]),
                tag("p", prose(operation["description"])) if "description" in operation else None,
                fields_list(_parameters(openapi, operation)),
                *_responses(openapi, operation["responses"]),
            )


def shown_paths(openapi: Document) -> list[str]:
    """Those that people want to read about."""
    return [
        path
        for path, methods in openapi["paths"].items()
        if any(operation.get("x-page", True) for operation in methods.values())
    ]


def route_anchor(path: str) -> str:
    """Where the page tells of a path."""
    return "http" + re.sub("[^a-z0-9]+", "-", path.lower()).rstrip("-")


def _parameters(openapi: Document, operation: Document) -> Iterable[Row]:
    schemas = openapi["components"]["schemas"]
    for parameter in operation.get("parameters", ()):
        described = {"description": parameter.get("description", ""), **parameter["schema"]}
        properties = {parameter["name"]: described}
        yield from rows({"properties": properties}, schemas)
    for content in operation.get("requestBody", {}).get("content", {}).values():
        yield from rows(content["schema"], schemas)


def _responses(openapi: Document, responses: Mapping[str, Any]) -> Iterable[Html]:
    for status, response in responses.items():
        yield tag("h4", f"{status} ", tag("span", prose(response["description"]), class_="soft"))
        headers = response.get("headers", {})
        if headers:
            shown = (
                join(tag("code", name), " ", prose(each["description"]))
                for name, each in headers.items()
            )
            yield tag("p", "With ", *shown)
        for kind, content in response.get("content", {}).items():
            yield tag("p", tag("code", kind), class_="soft")
            if status == "200":
                yield from _fields(openapi, content["schema"])
            if "example" in content:
                yield code(_shown(content["example"]), f"Example of {status}")
            for name, example in content.get("examples", {}).items():
                yield code(_shown(example["value"]), f"Example of {name}")


def _fields(openapi: Document, schema: Document) -> Iterable[Html]:
    for each in schema.get("anyOf", [schema]):
        if "$ref" in each:
            schemas = openapi["components"]["schemas"]
            yield tag("p", prose(schemas[each["$ref"].rpartition("/")[2]]["description"]))
            yield fields_list(rows(each, schemas)) or Html("")


def _shown(example: object) -> str:
    return (
        example if isinstance(example, str) else json.dumps(example, indent=2, ensure_ascii=False)
    )
