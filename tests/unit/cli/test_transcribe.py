from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from oyez.audio.pcm import Samples
from oyez.cli import transcribe
from oyez.cli.main import main
from oyez.cli.screens import FileProgress
from oyez.cli.transcribe_files import transcribe_files
from oyez.files.media import MediaError, run_blocking
from oyez.files.results import Options, Progress, Result
from support.server import silence, speech
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
def test_errors_say_what_to_do(
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


async def _listen(blocks: Iterator[Samples]) -> AsyncGenerator[Result]:
    while (block := await run_blocking(next, blocks, None)) is not None:
        yield Progress(len(block) / 16_000)


@pytest.mark.parametrize("seconds", [0, 2])
async def test_ctrl_c_ends_the_wait_for_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seconds: int
) -> None:
    reading, writing = os.pipe()
    if seconds:
        wav = recording(tmp_path / "said.wav", silence(60)).read_bytes()
        os.write(writing, wav[: seconds * 32_000])
    with os.fdopen(reading) as stdin, contextlib.ExitStack() as stack:
        monkeypatch.setattr(sys, "stdin", stdin)
        stack.callback(os.close, writing)
        for after_s, act in (
            (0.3, lambda: os.kill(os.getpid(), signal.SIGINT)),
            (5.0, stack.close),  # or a fault would keep the test for ever
        ):
            timer = threading.Timer(after_s, act)
            timer.start()
            stack.callback(timer.cancel)
        began_s = time.monotonic()
        summary = await transcribe_files(_listen, FileProgress(quiet=True), "text", ["-"], [None])
    assert summary.interrupted
    assert time.monotonic() - began_s < 4.0


@pytest.mark.parametrize(
    ("in_terminal", "flags", "live"),
    [
        (True, [], True),
        (True, ["--no-live"], False),
        (True, ["--quiet"], False),
        (False, [], False),
        (False, ["--live"], True),
    ],
)
def test_live_words_are_the_default_in_a_terminal_only(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    in_terminal: bool,
    flags: list[str],
    live: bool,
) -> None:
    asked = []

    class Own:
        async def __aenter__(self) -> Own:
            return self

        async def __aexit__(self, *error: object) -> None: ...

        def transcribe(self, blocks: object, options: Options) -> None:
            asked.append(options.live)
            raise MediaError("that is all")

    monkeypatch.setattr(transcribe, "_in_terminal", lambda: in_terminal)
    monkeypatch.setattr("oyez.files.transcriber.own_transcriber", lambda engines: Own())
    file = recording(tmp_path / "a.wav", speech(1.0))
    CliRunner().invoke(main, ["transcribe", str(file), "--engine", "fake", *flags])
    assert asked == [live]
