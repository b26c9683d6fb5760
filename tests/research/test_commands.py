"""The studies as a whole: what they import, and the commands that documents show."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import click
import pytest

from support.commands import parse
from support.markdown import ROOT, markdown_files

RESEARCH = ROOT / "research"
STUDIES = sorted(
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__main__")
    for path in RESEARCH.rglob("*.py")
    if 'if __name__ == "__main__"' in path.read_text()
)


def commands() -> Iterator[tuple[str, str]]:
    """Every `python -m research.…` in a document, with the document's name."""
    for file in markdown_files():
        text = file.read_text().replace("\\\n", " ")
        for found in re.findall(r"(python -m research\.[a-z][^`\n]+)", text):
            yield file.name, found


def command_of(module: str) -> click.Command:
    folder = ROOT / module.replace(".", "/")
    name = f"{module}.__main__" if folder.is_dir() else module
    found = [
        value for value in vars(import_module(name)).values() if isinstance(value, click.Command)
    ]
    (command,) = [value for value in found if value.callback and value.callback.__module__ == name]
    return command


@pytest.mark.parametrize(("document", "line"), list(commands()))
def test_commands_that_documents_show_exist(document: str, line: str) -> None:
    _, _, module, *arguments = shlex.split(line, comments=True)
    parse(command_of(module), arguments)


def test_the_readme_shows_every_study_and_no_other() -> None:
    page = (RESEARCH / "README.md").read_text()
    assert set(re.findall(r"python -m (research\.[\w.]+)", page)) == set(STUDIES)


def test_oyez_imports_nothing_of_research() -> None:
    for file in (ROOT / "src" / "oyez").rglob("*.py"):
        assert "research" not in imported(file), file


def imported(file: Path) -> set[str]:
    """The top-level packages that a file imports, late imports too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names
