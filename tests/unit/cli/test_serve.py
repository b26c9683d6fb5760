from __future__ import annotations

import os
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from oyez.cli.serve import SECTIONS, serve
from oyez.settings import Settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("OYEZ_"):
            monkeypatch.delenv(name)


def run(*arguments: str) -> Result:
    return CliRunner().invoke(serve, [*arguments])


def printed(*arguments: str) -> dict[str, object]:
    result = run(*arguments, "--print-config")
    assert result.exit_code == 0, result.output
    return tomllib.loads(result.stdout)


def test_every_setting_has_a_flag() -> None:
    shown = run("--help").output
    for name in Settings.model_fields:
        assert "--" + name.replace("_", "-") in shown


def test_settings_stand_below_headings() -> None:
    assert set(SECTIONS) <= set(Settings.model_fields)
    shown = run("--help").output
    for heading in SECTIONS.values():
        assert f"\n{heading}:\n" in shown
    assert shown.index("Network:") < shown.index("--tls-cert PATH") < shown.index("Recognition:")
    assert shown.index("--help  ") < shown.index("Network:")


def test_help_fits_eighty_columns() -> None:
    assert max(map(len, run("--help").output.splitlines())) <= 80


def test_flags_reach_the_settings() -> None:
    config = printed(
        *("--port", "9", "--models", "a", "--models", "b", "--no-manual-interim"),
        *("--max-backlog-s", "1.5", "--log-format", "json"),
    )
    assert config["port"] == 9
    assert config["models"] == ["a", "b"]
    assert config["manual_interim"] is False
    assert config["max_backlog_s"] == 1.5
    assert config["log_format"] == "json"


def test_flags_beat_environment_beats_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "oyez.toml"
    file.write_text("port = 1\nthreads = 1\nmax_sessions = 1\n")
    monkeypatch.setenv("OYEZ_PORT", "2")
    monkeypatch.setenv("OYEZ_THREADS", "2")
    config = printed("--config", str(file), "--port", "3")
    assert (config["port"], config["threads"], config["max_sessions"]) == (3, 2, 1)


def test_keys_are_printed_masked() -> None:
    result = run(
        "--api-key", "hush-hush-very-secret", "--api-key", "also-hush-very-secret", "--print-config"
    )
    assert "hush" not in result.output
    assert tomllib.loads(result.stdout)["api_key"] == ["********", "********"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--prot", "1"], "--port"),
        (["--port", "http"], "--port"),
        (["--engine", "magic"], "whisper-onnx"),
        (["--host", "0.0.0.0", "--database", "off"], "no key is configured"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
        (["--api-keys-file", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_wrong_usage_exits_2_and_says_what_to_change(arguments: list[str], words: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert words in result.output
