"""What the documents show works: links, commands, settings, code and events in them."""

from __future__ import annotations

import asyncio
import difflib
import json
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from oyez.cli.main import COMMANDS, main
from oyez.server.reference.asyncapi import asyncapi
from oyez.settings import ENV_PREFIX, Settings
from support.closed import complaints_about_event
from support.commands import every_flag, oyez_commands, parse, typed
from support.markdown import ROOT, Block, anchors, blocks, links, markdown_files
from support.server import running_server

SAMPLE = ROOT / "src/oyez/assets/two_cities.wav"
FILES = markdown_files()
BLOCKS = [block for file in FILES for block in blocks(file)]
REFERENCE = asyncapi(Settings())


def shown_in(*languages: str) -> list[Block]:
    return [block for block in BLOCKS if block.language in languages]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_link_leads_somewhere(file: Any) -> None:
    for link in links(file):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (file.parent / path).resolve() if path else file
        assert target.exists() and target.is_relative_to(ROOT), link
        if anchor and target.suffix == ".md":
            assert anchor in anchors(target), link


@pytest.mark.parametrize("block", shown_in("python"), ids=lambda block: block.name)
def test_python_compiles(block: Block) -> None:
    """A line of dots stands for what is left out."""
    shown = "\n".join("" if line.strip() == "..." else line for line in block.text.splitlines())
    compile(shown, block.name, "exec")


RUNNABLE = [block for block in BLOCKS if block.info == "python run"]


@pytest.mark.parametrize("block", RUNNABLE, ids=lambda block: block.name)
async def test_python_that_is_shown_runs(block: Block, tmp_path: Path) -> None:
    """Beside a recording called speech.wav, with a server that hears counting words."""
    shutil.copy(SAMPLE, tmp_path / "speech.wav")
    async with running_server() as running:
        code = block.text.replace("127.0.0.1:8080", running.address)
        command = [sys.executable, "-c", code]
        done = await asyncio.to_thread(
            subprocess.run, command, cwd=tmp_path, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert "one two three" in done.stdout.lower()


def test_json_parses_and_events_are_as_the_reference_says() -> None:
    for block in shown_in("json", "jsonl"):
        lines = block.text.splitlines() if block.language == "jsonl" else [block.text]
        for value in map(json.loads, lines):
            if isinstance(value, dict) and value.get("type") in REFERENCE["components"]["messages"]:
                assert complaints_about_event(REFERENCE, value) == [], block.name


def test_toml_is_settings() -> None:
    for block in shown_in("toml"):
        Settings(**tomllib.loads(block.text))


def test_yaml_parses() -> None:
    for block in shown_in("yaml", "yml"):
        assert list(yaml.safe_load_all(block.text)), block.name


def commands() -> Iterator[Any]:
    """Every `oyez …` in blocks of shell and between backquotes, with where it stands."""
    for block in BLOCKS:
        if block.language in ("", "sh", "shell", "bash", "console"):
            for line in typed(block.text):
                yield from _params(block.name, line)
    for file in FILES:
        for code in re.findall(r"`(oyez [^`]+)`", file.read_text()):
            yield from _params(file.name, code.replace("\n", " "))


def _params(place: str, line: str) -> Iterator[Any]:
    for command in oyez_commands(line):
        yield pytest.param(command, id=f"{place} {command[:40]}")


@pytest.mark.parametrize("command", list(commands()))
def test_commands_and_their_flags_exist(command: str) -> None:
    parse(main, shlex.split(re.sub(r"…|\.\.\.", "", command), comments=True)[1:])


def test_every_command_is_in_a_document() -> None:
    shown = " ".join(file.read_text() for file in (ROOT / "docs").glob("*.md"))
    assert [name for name in COMMANDS if f"oyez {name}" not in shown] == []


@pytest.mark.parametrize("wrong", ["serve --prot 9000", "srve", "docs --all", "bench nothing"])
def test_commands_that_do_not_exist_are_found_out(wrong: str) -> None:
    with pytest.raises(click.UsageError):
        parse(main, wrong.split())


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_variables_and_flags_that_are_named_exist(file: Any) -> None:
    text = file.read_text()
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(rf"\b{ENV_PREFIX}[A-Z_]*[A-Z]\b", text)) - {ENV_PREFIX + "NAME"} <= known
    flags = set(every_flag(main)) | FLAGS_OF_EXAMPLES | FLAGS_OF_OTHERS
    for alone in set(re.findall(r"`(--[a-z][a-z-]+)[ =`]", text)) - flags:
        near = difflib.get_close_matches(alone, flags, n=1, cutoff=0.8)
        assert not near, f"{alone} is no flag of oyez; {near[0]} is"


FLAGS_OF_EXAMPLES = {"--url", "--api-key", "--language", "--manual"}
FLAGS_OF_OTHERS = {"--ulimit"}
"""Those that look like one of ours."""
