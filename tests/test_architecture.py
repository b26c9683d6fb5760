"""ARCHITECTURE.md's table of rooms, held against every import of `src/oyez`."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "oyez"
MAX_LINES = 400

BASES = {"recognisers.base", "vad.base", "emotion.base"}
ENGINES = {"recognisers", "vad", "emotion"}
SERVICES = {"settings", "logs", "metrics"}
UP_TO_INFERENCE = {"contracts", "stages", *ENGINES, "inference", *SERVICES}
MAY_IMPORT = {  # besides itself
    "contracts": set(),
    "stages": {"contracts"},
    "protocol": {"contracts", "stages"},
    "recognisers": {"contracts", "stages"},
    "vad": {"contracts", "stages"},
    "emotion": {"contracts", "stages"},
    "inference": {"contracts", *ENGINES, "metrics", "settings"},
    "accounts": {"settings", "metrics"},
    "web": set(),
    "transcription": {"contracts", *ENGINES, "stages", "protocol", "inference"},
    "server": {*UP_TO_INFERENCE, "protocol", "accounts", "web", "transcription"},
    "client": {"contracts"},
    "training": {*UP_TO_INFERENCE, "transcription"},
    "bench": {
        *UP_TO_INFERENCE,
        "protocol",
        "server",
        "training",
        "testing",
        "cli",
        "transcription",
    },
    "cli": {
        *UP_TO_INFERENCE,
        "protocol",
        "server",
        "training",
        "testing",
        "bench",
        "accounts",
        "client",
        "transcription",
    },
    "settings": set(),
    "logs": set(),
    "metrics": set(),
    "testing": {"contracts", *ENGINES},  # engines for tests: fakes
    "__main__": {"cli"},
}
PURE = {"contracts", "stages", "protocol"}
IMPURE = {
    *("asyncio", "socket", "ssl", "select", "selectors", "threading", "multiprocessing"),
    *("concurrent", "queue", "subprocess", "signal", "os", "sys", "pathlib", "shutil", "tempfile"),
    *("time", "datetime", "random", "secrets", "uuid", "logging", "http", "urllib"),
    *("aiohttp", "click", "pydantic_settings", "platformdirs", "onnxruntime", "ctranslate2"),
}
IMPURE_CALLS = {"open", "print", "input"}
REGISTERED = re.compile(r"oyez(\.\w+)+(:\w+)?")


def room(module: str) -> str:
    """Which room a module (named without `oyez.`) lives in."""
    return "contracts" if module in BASES else module.partition(".")[0]


def imports(tree: ast.AST) -> Iterator[str]:
    """Every module imported, also lazily or by name in a registry ("oyez.room.module:thing")."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Constant) and REGISTERED.fullmatch(str(node.value)):
            yield node.value.partition(":")[0]


def complaints(module: str, code: str) -> list[str]:
    """What a module (named without `oyez.`) does that its room may not."""
    found = []
    tree = ast.parse(code)
    here = room(module)
    for name in imports(tree):
        package, _, inner = name.partition(".")
        if package == "oyez":
            found += complaints_about_import(here, inner)
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


def complaints_about_import(here: str, inner: str) -> list[str]:
    there = room(".".join(inner.split(".")[:2]))
    if there in MAY_IMPORT[here] or there in (here, "__version__"):
        return []
    return [f"{here} may not import {there} (oyez.{inner})"]


def module_name(file: Path) -> str:
    return ".".join(file.relative_to(SOURCE).with_suffix("").parts)


FILES = sorted(file for file in SOURCE.rglob("*.py") if file != SOURCE / "__init__.py")


@pytest.mark.parametrize("file", FILES, ids=module_name)
def test_every_module_keeps_to_its_room(file: Path) -> None:
    assert complaints(module_name(file), file.read_text()) == []


@pytest.mark.parametrize(
    ("module", "code", "complaint"),
    [
        ("recognisers.base", "from oyez.stages.audio import Audio", "contracts may not"),
        ("stages.audio", "import oyez.protocol.session", "stages may not import protocol"),
        ("stages.audio", "from oyez import settings", "stages may not import settings"),
        ("stages.audio", "import asyncio", "pure"),
        ("stages.audio", "def f():\n    from time import monotonic", "pure"),
        ("stages.audio", "import numpy as np\nnp.random.rand()", "pure"),
        ("protocol.session", "open('x')", "pure"),
        ("protocol.session", "from oyez.vad.silero import Silero", "protocol may not import vad"),
        ("protocol.session", "from ..vad import base", "absolute"),
        ("vad.silero", "from oyez.recognisers.whisper_onnx import mel", "vad may not"),
        ("recognisers.registry", "E = {'x': 'oyez.server.app:Server'}", "recognisers may not"),
        ("inference.scheduler", "from oyez.protocol.effects import Send", "inference may not"),
        ("inference.worker", "from oyez.server import jobs", "inference may not import server"),
        ("server.app", "from oyez.cli import main", "server may not import cli"),
        ("server.app", "import os\nos.environ['HOME']", "environment"),
        ("server.app", "from os import environ", "environment"),
        ("server.app", "\n" * (MAX_LINES + 1), "longer"),
    ],
)
def test_the_rules_can_fail(module: str, code: str, complaint: str) -> None:
    assert complaint in " ".join(complaints(module, code))


def test_the_rules_let_good_modules_pass() -> None:
    assert not complaints("protocol.session", "from oyez import __version__\nimport msgspec")
    assert not complaints("vad.silero", "from oyez.vad.base import VoiceDetector\nimport os")
    assert not complaints("settings.sources", "import os\nos.environ['HOME']")


def test_the_page_names_every_folder_and_no_other() -> None:
    page = (ROOT / "ARCHITECTURE.md").read_text()
    table = page.partition("## Rooms")[2].partition("\n## ")[0]
    first_cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    named = {folder for cell in first_cells for folder in re.findall(r"`(\w+)/`", cell)}
    folders = {file.parent.name for file in SOURCE.glob("*/__init__.py")}
    assert named == folders
    assert folders <= set(MAY_IMPORT)


@pytest.mark.parametrize("module", ["oyez.cli.main", "oyez.protocol.session"])
def test_importing_is_light(module: str) -> None:
    """Engines are imported when chosen, servers when started."""
    heavy = ["onnxruntime", "ctranslate2", "faster_whisper", "onnx", "aiohttp", "pydantic"]
    code = f"import sys, {module}; print(*[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
