"""Every promise of docs/security.md names a test that is there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from support.markdown import tables

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "security.md"
NAMED = re.compile(r"`((?:[a-z_]+/)*test_[a-z_0-9]+\.py)::(test_[a-z_0-9]+)`")


def functions(file: Path) -> set[str]:
    tree = ast.parse(file.read_text())
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return {node.name for node in tree.body if isinstance(node, kinds)}


def test_every_test_that_is_named_is_there() -> None:
    named = NAMED.findall(PAGE.read_text())
    assert len(named) > 60
    missing = [f"{file}::{name}" for file, name in named if name not in functions(TESTS / file)]
    assert missing == []


def test_every_promise_names_its_test() -> None:
    promises = [row for each in tables(PAGE) if each.columns[0] == "Promise" for row in each.rows]
    assert len(promises) > 40
    assert [row for row in promises if not NAMED.search(row[1])] == []
