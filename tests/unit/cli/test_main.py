from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from oyez import __version__
from oyez.accounts.database import open_database
from oyez.cli.main import COMMANDS, main


def test_help_lists_the_commands_with_examples() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "serve" in result.output and "bench" in result.output
    assert "oyez serve --host" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_version_is_shown() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_an_unknown_command_is_a_usage_error_and_the_nearest_one_is_named() -> None:
    result = CliRunner().invoke(main, ["serv"])
    assert result.exit_code == 2
    assert "Did you mean 'serve'?" in result.output
    assert "oyez --help" in CliRunner().invoke(main, ["qqq"]).output


@pytest.mark.parametrize("command", [*COMMANDS, ""])
def test_every_help_fits_eighty_columns_and_has_no_colour(command: str) -> None:
    arguments = [*command.split(), "--help"]
    result = CliRunner().invoke(main, arguments, color=True)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80
    assert "\x1b" not in result.output


def test_ctrl_c_exits_130_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("oyez.cli.models.known_models", interrupted)
    result = CliRunner().invoke(main, ["models", "list"])
    assert result.exit_code == 130
    assert "interrupted" in result.output
    assert "Traceback" not in result.output


def test_every_error_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def failed(*_: object) -> None:
        raise click.ClickException("the disk is full: make room")

    monkeypatch.setattr("oyez.cli.models.known_models", failed)
    result = CliRunner().invoke(main, ["models", "list"])
    assert result.exit_code == 1
    assert result.output == "oyez: the disk is full: make room\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
@pytest.mark.parametrize("command", ["completion bash", "docs openapi"])
def test_a_full_disk_is_an_error_of_one_line(command: str) -> None:
    shown = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m oyez {command} > /dev/full"],
        capture_output=True,
        text=True,
    )
    assert (shown.returncode, shown.stderr) == (1, "oyez: No space left on device\n")


def test_errors_have_no_control_characters() -> None:
    result = CliRunner().invoke(main, ["transcribe", "x.wav", "-o", "\x1b]0;title\x07/a"])
    assert result.exit_code == 2
    assert "\x1b" not in result.output


def test_a_reader_that_closes_the_pipe_early_is_no_error() -> None:
    shown = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m oyez serve --help | head -1"],
        capture_output=True,
        text=True,
    )
    assert shown.stdout == "Usage: oyez serve [OPTIONS]\n"
    assert shown.stderr == ""


def test_a_character_that_the_terminal_lacks_is_no_error() -> None:
    code = (
        "from oyez.cli import main as program; import click;"
        "program.main(['completion', 'zsh'], standalone_mode=False); click.echo('\\u6c49')"
    )
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "latin-1"},
    )
    assert shown.stdout.endswith(b"\\u6c49\n"), shown.stderr


def test_importing_the_command_is_light() -> None:
    heavy = {"onnxruntime", "numpy", "aiohttp", "pydantic"}
    code = f"import sys, oyez.cli.main; print({heavy!r} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "set()"


def test_the_serve_command_loads_no_engine_to_show_its_help() -> None:
    heavy = {"onnxruntime", "aiohttp"}
    code = f"import sys, oyez.cli.serve; print({heavy!r} & set(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "set()"


@pytest.mark.parametrize(
    "arguments",
    [
        "--help",
        "keys list --help",
        "usage --csv",
        "usage --json",
        "keys list --json",
        "docs openapi",
        "doctor --quick --engine fake",
        "completion bash",
    ],
)
def test_a_pipe_closed_before_anything_is_written_is_no_error(
    arguments: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/accounts.db"
    open_database(url).close()
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "oyez", *arguments.split()],
        stdout=writing,
        stderr=subprocess.PIPE,
        env={**os.environ, "OYEZ_DATABASE": url, "OYEZ_PORT": "0"},
        text=True,
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_broken_connection_is_not_a_closed_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("oyez.cli.models.known_models", broken)
    with open(os.devnull, "w") as somewhere, monkeypatch.context() as patched:
        patched.setattr(sys, "stdout", somewhere)
        with pytest.raises(SystemExit, match="1"):
            main.main(["models", "list"])
