"""The scripts in the shells they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from oyez.cli.main import main
from support import tiny_whisper

BASH = """
source completion
COMP_WORDS=({words}); COMP_CWORD={at}; _oyez_completion oyez
echo "${{COMPREPLY[@]}}"
"""
ZSH = """
compdef() {{ :; }}
_describe() {{ print -l "${{(@P)3}}"; }}  # -V GROUP ARRAY
source completion
words=({words}); CURRENT={at}+1; _oyez_completion
"""


@pytest.fixture
def shell_home(tmp_path: Path) -> Path:
    """A directory with `oyez` on its own path and the script of each shell in it."""
    program = tmp_path / "bin" / "oyez"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m oyez "$@"\n')
    program.chmod(0o755)
    return tmp_path


def ask(shell: str, script: str, home: Path) -> str:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"{shell} is not installed")
    printed = CliRunner().invoke(main, ["completion", shell])
    assert printed.exit_code == 0
    (home / "completion").write_text(printed.output)
    environment = {**os.environ, "PATH": f"{home / 'bin'}:{os.environ['PATH']}", "HOME": str(home)}
    done = subprocess.run(
        [path, "-c", script], capture_output=True, text=True, cwd=home, env=environment, timeout=30
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_bash_completes_commands_and_options(shell_home: Path) -> None:
    commands = ask("bash", BASH.format(words='oyez "mo"', at=1), shell_home)
    assert commands.split() == ["models"]
    options = ask("bash", BASH.format(words='oyez serve "--log"', at=2), shell_home)
    assert options.split() == ["--log-level", "--log-format"]
    choices = ask("bash", BASH.format(words='oyez serve --log-format ""', at=3), shell_home)
    assert choices.split() == ["text", "json"]


def test_bash_completes_languages_and_models(shell_home: Path, tmp_path: Path) -> None:
    languages = ask("bash", BASH.format(words='oyez listen --language "z"', at=3), shell_home)
    assert languages.split() == ["zh"]
    tiny_whisper.write(tmp_path / "tiny")
    assert CliRunner().invoke(main, ["models", "add", str(tmp_path / "tiny")]).exit_code == 0
    names = ask("bash", BASH.format(words='oyez models remove "t"', at=3), shell_home)
    assert names.split() == ["tiny"]


def test_zsh_completes_commands(shell_home: Path) -> None:
    commands = ask("zsh", ZSH.format(words='oyez "mo"', at=1), shell_home)
    assert "models:List, check, add and remove models." in commands


def test_fish_completes_commands(shell_home: Path) -> None:
    script = 'source completion; complete --do-complete "oyez mo"'
    assert ask("fish", script, shell_home).split("\t")[0] == "models"


def test_an_unknown_shell_is_a_usage_error() -> None:
    done = CliRunner().invoke(main, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "bash" in done.output
