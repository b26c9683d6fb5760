"""What the code says about its types and their fields, for documents made from it."""

from __future__ import annotations

import ast
import inspect
import textwrap
from functools import cache


def text_of(cls: type) -> str:
    """A class's own docstring on one line for each paragraph; "" where it has none."""
    return _paragraphs(inspect.cleandoc(cls.__dict__.get("__doc__") or ""))


@cache
def fields_of(cls: type) -> dict[str, str]:
    """Field to the docstring written under it, inherited fields too. Fields without one are left
    out; without source code (a frozen program) all are."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        try:
            source = textwrap.dedent(inspect.getsource(base))
        except (OSError, TypeError):  # built in
            continue
        found |= _documented(ast.parse(source).body[0])
    return found


def _documented(definition: ast.stmt) -> dict[str, str]:
    assert isinstance(definition, ast.ClassDef)
    found = {}
    for statement, below in zip(definition.body, definition.body[1:], strict=False):
        if not (isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name)):
            continue
        if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
            found[statement.target.id] = _paragraphs(inspect.cleandoc(str(below.value.value)))
    return found


def _paragraphs(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))
