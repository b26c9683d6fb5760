"""The tables of rooms in ARCHITECTURE.md, held against every import of `src/oyez`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "oyez"
MAX_LINES = 400

ROOMS_TABLE = re.compile(r"^\| (`[^|]+) \| (\w+) \|[^|]*\| ([^|]+) \|$", re.MULTILINE)
SERVER_TABLE = re.compile(r"^\| (`[^|]+) \|()[^|]*\| ([^|]+) \|$", re.MULTILINE)


@dataclass(frozen=True)
class Row:
    """One row of ARCHITECTURE.md's table: rooms that may import the same."""

    rooms: tuple[str, ...]
    """Folders and files below `src/oyez`, as `engines.vad` and `metrics`."""
    kind: str
    may_import: frozenset[str]
    each_other: bool


def read_rows(page: str, heading: str, row: re.Pattern[str]) -> list[Row]:
    """The table under this heading, from the lowest room to the highest."""
    table = page.partition(f"## {heading}")[2].partition("\n## ")[0]
    rows: list[Row] = []
    for names, kind, may in row.findall(table):
        allowed = set(quoted(may))
        if "contracts" in may:
            allowed |= set(CONTRACTS)
        if "all above" in may:
            allowed |= {name for row in rows for name in row.rooms}
        rows.append(Row(tuple(quoted(names)), kind, frozenset(allowed), "each other" in may))
    return rows


def quoted(cell: str) -> list[str]:
    """The rooms in a cell: `engines/vad/` as engines.vad, `logs.py` as logs."""
    names = re.findall(r"`([\w/.]+)`", cell)
    return [name.removesuffix(".py").strip("/").replace("/", ".") for name in names]


CONTRACTS = ("engines.base", "engines.language_prior")
PAGE = (ROOT / "ARCHITECTURE.md").read_text()
ROWS = read_rows(PAGE, "Rooms", ROOMS_TABLE)
ROOMS = {name: row for row in ROWS for name in row.rooms}
SERVER_ROWS = read_rows(PAGE, "Inside the server", SERVER_TABLE)
SERVER_ROOMS = {name: row for row in SERVER_ROWS for name in row.rooms}
PURE = {name for name, row in ROOMS.items() if row.kind == "pure"}
IMPURE = {
    *("asyncio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing"),
    *("concurrent", "queue", "subprocess", "signal", "os", "sys", "pathlib", "shutil", "tempfile"),
    *("time", "datetime", "random", "secrets", "uuid", "logging", "http", "urllib"),
    *("aiohttp", "click", "pydantic_settings", "platformdirs", "onnxruntime", "ctranslate2"),
}
IMPURE_CALLS = {"open", "print", "input"}
REGISTERED = re.compile(r"oyez(\.\w+)+(:\w+)?")


def room(module: str, rooms: dict[str, Row] = ROOMS) -> str:
    """Which room a module (named without `oyez.`) lives in: the innermost that the table has."""
    parts = module.split(".")
    names = [".".join(parts[:length]) for length in range(len(parts), 0, -1)]
    return next((name for name in names if name in rooms), parts[0])


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module imported, also lazily or by name in a registry ("oyez.room.module:thing")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and REGISTERED.fullmatch(text := str(node.value)):
            yield text.partition(":")[0]


def complaints(module: str, code: str) -> list[str]:
    """What a module (named without `oyez.`) does that its room may not."""
    found = []
    tree = ast.parse(code)
    here = room(module)
    for name in imports(tree):
        package, _, inner = name.partition(".")
        if package == "oyez":
            found += complaints_about_import(here, inner, ROOMS)
            if here == "server" and room(inner, SERVER_ROOMS) in SERVER_ROOMS:  # no logger's name
                found += complaints_about_import(room(module, SERVER_ROOMS), inner, SERVER_ROOMS)
        elif here in PURE and (package in IMPURE or name.startswith("numpy.random")):
            found.append(f"{here} is pure and may not import {name}")
        if name in ("os.environ", "os.getenv") and room(module) != "settings":
            found.append("only settings reads the environment")
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            found.append("imports are absolute")
        if isinstance(node, ast.Attribute):
            attribute = ast.unparse(node)
            if attribute in ("os.environ", "os.getenv") and room(module) != "settings":
                found.append("only settings reads the environment")
            if here in PURE and attribute in ("np.random", "numpy.random"):
                found.append(f"{here} is pure and may not use {attribute}")
        if here in PURE and isinstance(node, ast.Call) and ast.unparse(node.func) in IMPURE_CALLS:
            found.append(f"{here} is pure and may not call {ast.unparse(node.func)}")
    if code.count("\n") > MAX_LINES:
        found.append(f"longer than {MAX_LINES} lines")
    return found


def complaints_about_import(here: str, inner: str, rooms: dict[str, Row]) -> list[str]:
    there, row = room(inner, rooms), rooms[here]
    if there in (here, "__version__") or there in row.may_import:
        return []
    if row.each_other and there in row.rooms:
        return []
    return [f"{here} may not import {there} (oyez.{inner})"]


def circles(code: dict[str, str]) -> list[str]:
    """Files (module names with their code) that import each other, however far round."""
    edges: dict[str, set[str]] = {}
    for module, text in code.items():
        for name in imports(ast.parse(text)):
            target = name.removeprefix("oyez.")
            while target and target not in code:
                target = target.rpartition(".")[0]
            if target and target != module:
                edges.setdefault(module, set()).add(target)
    try:
        tuple(TopologicalSorter(edges).static_order())
    except CycleError as error:
        return [" > ".join(error.args[1])]
    return []


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts)


FILES = sorted(file for file in SOURCE.rglob("*.py") if file != SOURCE / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_every_module_keeps_to_its_room(file: Path) -> None:
    assert complaints(module_name(file), file.read_text()) == []


@pytest.mark.parametrize(
    ("module", "code", "complaint"),
    [
        ("engines.base", "from oyez.turns.turn import Turn", "engines.base may not"),
        ("audio.pcm", "import oyez.protocol.session", "audio may not import protocol"),
        ("audio.pcm", "from oyez import settings", "audio may not import settings"),
        ("turns.turn", "import asyncio", "pure"),
        ("audio.pcm", "def f():\n    from time import monotonic", "pure"),
        ("audio.pcm", "import numpy as np\nnp.random.rand()", "pure"),
        ("protocol.session", "open('x')", "pure"),
        (
            "protocol.session",
            "from oyez.engines.vad.silero import Silero",
            "protocol may not import engines.vad",
        ),
        ("protocol.session", "from ..vad import base", "absolute"),
        ("engines.vad.silero", "from oyez.engines.whisper import mel", "engines.vad may not"),
        (
            "engines.whisper_ct2.engine",
            "from oyez.engines.whisper_onnx.graph import encoder",
            "engines.whisper_ct2 may not import engines.whisper_onnx",
        ),
        ("engines.fake", "from oyez.turns.turn import Turn", "may not import turns"),
        ("engines.registry", "E = {'x': 'oyez.server.app:Server'}", "engines may not"),
        ("runtime.scheduler", "from oyez.files.results import Word", "runtime may not"),
        ("runtime.scheduler", "from oyez.server import jobs", "runtime may not import server"),
        ("runtime.vad_batcher", "from oyez.protocol.qwen import codec", "runtime may not"),
        ("protocol.session", "from oyez.protocol.qwen.codec import decode", "protocol may not"),
        ("server.app", "from oyez.cli import main", "server may not import cli"),
        ("server.web.page", "from oyez.server.app import Server", "may not import server.app"),
        ("server.process.tls", "from oyez.server.web import page", "may not import server.web"),
        ("server.app", "import os\nos.environ['HOME']", "environment"),
        ("server.app", "from os import environ", "environment"),
        ("server.app", "\n" * (MAX_LINES + 1), "longer"),
    ],
)
def test_the_rules_can_fail(module: str, code: str, complaint: str) -> None:
    assert complaint in " ".join(complaints(module, code))


def test_the_rules_let_good_modules_pass() -> None:
    assert not complaints("protocol.session", "from oyez import __version__\nimport msgspec")
    assert not complaints(
        "engines.vad.silero", "from oyez.engines.base import VoiceDetector\nimport os"
    )
    assert not complaints("settings.sources", "import os\nos.environ['HOME']")


def test_no_files_import_each_other_in_a_circle() -> None:
    assert circles({module_name(file): file.read_text() for file in FILES}) == []


def test_a_circle_of_files_is_seen_also_a_late_one() -> None:
    code = {
        "audio.a": "from oyez.audio.b import B",
        "audio.b": "import oyez.audio.c",
        "audio.c": "def f():\n    from oyez.audio import a",
    }
    assert circles(code)
    assert not circles({**code, "audio.c": ""})


@pytest.mark.parametrize("rows", [ROWS, SERVER_ROWS], ids=["rooms", "server"])
def test_every_room_names_only_rooms_that_have_their_row_higher_up(rows: list[Row]) -> None:
    above: set[str] = set()
    for row in rows:
        assert row.may_import <= above | set(CONTRACTS), row.rooms
        above |= set(row.rooms)


def test_the_page_names_every_folder_and_file_and_no_other() -> None:
    top = {file.stem for file in SOURCE.glob("*.py")} - {"__init__"}
    folders = {file.parent.name for file in SOURCE.glob("*/__init__.py")}
    assert {name for name in ROOMS if "." not in name} == top | folders
    server = SOURCE / "server"
    files = {f"server.{file.stem}" for file in server.glob("*.py")} - {"server.__init__"}
    assert set(SERVER_ROOMS) == files | {
        f"server.{file.parent.name}" for file in server.glob("*/__init__.py")
    }
    for name in ROOMS:
        path = SOURCE / name.replace(".", "/")
        assert path.is_dir() or path.with_suffix(".py").is_file(), name


@pytest.mark.parametrize("page", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_every_path_that_a_page_names_exists(page: str) -> None:
    named = re.findall(r"`(\w[\w/]*/[\w.]*)`", (ROOT / page).read_text())
    candidates = {name: [SOURCE / name, SOURCE / f"{name}.py", ROOT / name] for name in named}
    assert candidates
    assert [n for n, paths in candidates.items() if not any(p.exists() for p in paths)] == []


@pytest.mark.parametrize("module", ["oyez.cli.main", "oyez.protocol.session"])
def test_importing_is_light(module: str) -> None:
    """Engines are imported when chosen, servers when started."""
    heavy = ["onnxruntime", "ctranslate2", "faster_whisper", "onnx", "aiohttp", "pydantic"]
    code = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
