from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from oyez.cli.main import main
from support.server import silence
from support.terminal import recording


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "FILE"),
        (["a.wav", "b.wav", "--format", "srt", "-o", "-"], 2, "directory"),
        (["a.wav", "-o", "nowhere/"], 2, "no directory"),
        (["a.wav", "--url", "ws://127.0.0.1:1"], 1, "No such file"),
        (["here.wav", "--url", "ws://127.0.0.1:1"], 3, "is the server running there"),
        (["a.wav", "--format", "doc"], 2, "'text', 'json', 'srt', 'vtt'"),
        (["a.wav", "--engine", "whisper-onnx", "--model", "/nowhere"], 3, "/nowhere"),
        (["a.wav", "--context", "@nowhere.txt"], 2, "nowhere.txt"),
    ],
)
def test_faults_say_what_to_do(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    recording(Path("here.wav"), silence(0.1))
    done = CliRunner().invoke(main, ["transcribe", *arguments])
    assert done.exit_code == code, done.output
    assert words in done.output
    assert "Traceback" not in done.output
