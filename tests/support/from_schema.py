"""Hypothesis strategies made of JSON Schemas: values that fit, and values that nearly do."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 50_000) | st.floats(-2, 2) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=3,
)


def fitting(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that the schema allows. schemas: what references mean, by name."""
    if "anyOf" in schema:
        return st.one_of([fitting(each, schemas) for each in schema["anyOf"]])
    if "allOf" in schema:
        return fitting(schema["allOf"][0], schemas)
    if "$ref" in schema:
        return st.deferred(lambda: fitting(schemas[schema["$ref"].rpartition("/")[2]], schemas))
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    return _of_type(schema, schemas)


def nearly(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values of which any part may be something else."""
    if "properties" in schema:
        fields = {key: nearly(each, schemas) for key, each in schema["properties"].items()}
        return st.fixed_dictionaries({}, optional=fields)
    if "$ref" in schema:
        return st.deferred(lambda: nearly(schemas[schema["$ref"].rpartition("/")[2]], schemas))
    if "allOf" in schema:
        return nearly(schema["allOf"][0], schemas)
    if "anyOf" in schema:
        return st.one_of(*(nearly(each, schemas) for each in schema["anyOf"]), ANYTHING)
    return fitting(schema, schemas) | ANYTHING


def _of_type(schema: dict[str, Any], schemas: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"):
        case "object":
            fields = {key: fitting(each, schemas) for key, each in schema["properties"].items()}
            needed = {key: fields.pop(key) for key in schema.get("required", ())}
            return st.fixed_dictionaries(needed, optional=fields)
        case "array":
            contained = schema.get("contains", {}).get("const")
            return st.lists(ANYTHING, max_size=2).map(lambda values: [*values, contained])
        case "string" if "pattern" in schema:
            return st.from_regex(schema["pattern"], fullmatch=True).filter(
                lambda text: len(text) <= schema["maxLength"]
            )
        case "string":
            return st.text(max_size=min(schema.get("maxLength", 20), 20))
        case "integer":
            return st.integers(schema["minimum"], schema["maximum"])
        case "number":
            return st.floats(schema["minimum"], schema["maximum"])
        case "null":
            return st.none()
        case _:
            return ANYTHING
