from __future__ import annotations

import subprocess
import sys

from click.testing import CliRunner

from oyez import __version__
from oyez.cli.main import main


def test_help_lists_the_commands_with_examples() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "serve" in result.output and "bench" in result.output
    assert "oyez serve --host" in result.output
    assert max(map(len, result.output.splitlines())) <= 80


def test_the_version_is_shown() -> None:
    assert __version__ in CliRunner().invoke(main, ["--version"]).output


def test_an_unknown_command_is_a_usage_error() -> None:
    assert CliRunner().invoke(main, ["serv"]).exit_code == 2


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
