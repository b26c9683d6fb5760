from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from oyez.cli.audio_sources import SILENT_DB, level_db
from oyez.cli.main import main
from support.server import silence, speech
from support.terminal import SOUNDDEVICE


@pytest.fixture(autouse=True)
def microphone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The library that stands in for sounddevice."""
    library = tmp_path / "sounddevice.py"
    library.write_text(SOUNDDEVICE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "sounddevice", raising=False)
    importlib.invalidate_caches()
    return library


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ModuleNotFoundError('sounddevice')", "pip install 'oyez[listen]'"),
        ("raise OSError('PortAudio library not found')", "libportaudio2"),
    ],
)
def test_without_the_library_for_microphones_the_error_says_what_to_do(
    microphone: Path, code: str, words: str
) -> None:
    microphone.write_text(code)
    done = CliRunner().invoke(main, ["listen"])
    assert done.exit_code == 3
    assert words in done.output
    assert "| oyez listen -" in done.output
    assert CliRunner().invoke(main, ["listen", "--list-devices"]).exit_code == 3


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--device", "nosuch"], 3, "--list-devices"),
        (["--rate", "8000"], 2, "oyez listen -"),
        (["-", "--device", "1"], 2, "not both"),
        (["--language", "klingon"], 2, "zh yue en"),
        (["--url", "nowhere"], 2, "ws://HOST:PORT"),
        (["--context", "@/nowhere"], 2, "/nowhere"),
        (["--engine", "magic"], 2, "whisper-onnx"),
        (["--url", "ws://127.0.0.1:1"], 3, "cannot be reached"),
    ],
)
def test_errors_say_what_to_do(arguments: list[str], code: int, words: str) -> None:
    done = CliRunner().invoke(main, ["listen", *arguments])
    assert done.exit_code == code, done.output
    assert words in done.output
    assert "Traceback" not in done.output


def test_the_level_is_in_decibels_below_full_scale() -> None:
    assert level_db(b"") == level_db(silence(0.1)) == SILENT_DB
    assert level_db(speech(0.1)) == pytest.approx(-12.2, abs=0.1)
