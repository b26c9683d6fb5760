"""The way of one message, as ARCHITECTURE.md lists it: every function in the list exists."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "oyez"
MAX_STATIONS = 35

STATION = re.compile(r"^\| (\d+) \| `([\w/]+)` \| ([^|]+) \|[^|]+\|$", re.MULTILINE)


def read_stations(page: str) -> list[tuple[str, list[str]]]:
    """Files and the functions in them, in order; their numbers must count from 1."""
    part = page.partition("### The way of one message")[2].partition("\n#")[0]
    rows = STATION.findall(part)
    assert [int(number) for number, _, _ in rows] == list(range(1, len(rows) + 1))
    return [(file, re.findall(r"`([\w.]+)`", names)) for _, file, names in rows]


STATIONS = read_stations((ROOT / "ARCHITECTURE.md").read_text())


def functions_of(code: str) -> set[str]:
    """Names of functions, and of methods as `Class.method`."""
    found = set()
    for node in ast.parse(code).body:
        match node:
            case ast.FunctionDef(name=name):
                found.add(name)
            case ast.ClassDef(name=name, body=body):
                methods = [n for n in body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]
                found |= {f"{name}.{method.name}" for method in methods}
    return found


@pytest.mark.parametrize(("file", "names"), STATIONS, ids=lambda value: str(value))
def test_each_function_on_the_way_exists(file: str, names: list[str]) -> None:
    assert names
    assert set(names) <= functions_of((SOURCE / f"{file}.py").read_text())


def test_the_way_is_short() -> None:
    assert 25 <= len(STATIONS) <= MAX_STATIONS


def test_a_function_that_is_gone_is_noticed() -> None:
    code = "class A:\n    async def run(self): ...\ndef b(): ..."
    assert functions_of(code) == {"A.run", "b"}
