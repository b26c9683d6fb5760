"""`oyez listen` in a real terminal and in real pipes, with a fake engine and a fake microphone."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
import subprocess
import sys
import time
import wave
from pathlib import Path

import numpy as np
import pytest

from support.server import running_server, silence, speech
from support.terminal import ENVIRONMENT, FAKE_ENGINE, a_terminal, fake_microphone

COMMAND = [sys.executable, "-m", "oyez", "listen"]
SAID = silence(0.3) + speech(2.0) + silence(1.5) + speech(1.0) + silence(2.0)


def through_a_pipe(*arguments: str, audio: bytes = SAID) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [*COMMAND, "-", *arguments], input=audio, capture_output=True, timeout=60, env=ENVIRONMENT
    )


def test_a_pipe_gives_a_line_for_each_utterance() -> None:
    done = through_a_pipe(*FAKE_ENGINE)
    assert done.returncode == 0, done.stderr
    first, second = (line.split("\t") for line in done.stdout.decode().splitlines())
    assert first[1:3] == ["en", "neutral"]
    assert first[3].startswith("one two three")
    assert second[0] > first[0]
    assert done.stderr == b""


def test_raw_audio_of_another_rate_is_heard_at_its_own_speed() -> None:
    at = np.arange(2 * 8000) / 8000
    tone = (8000 * np.sin(2 * np.pi * 500 * at)).astype("<i2").tobytes()
    quiet = bytes(2 * 8000)
    audio = quiet + tone + quiet + quiet + tone + quiet
    done = through_a_pipe("--rate", "8000", *FAKE_ENGINE, audio=audio)
    first, second = (line.split("\t") for line in done.stdout.decode().splitlines())
    assert [first[0], second[0]] == ["0:00.6", "0:04.6"]
    assert first[3].startswith("one two three")


def test_events_are_lines_of_json() -> None:
    done = through_a_pipe("--json", *FAKE_ENGINE)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert events[-1]["type"] == "session.finished"
    assert sum(event["type"].endswith("completed") for event in events) == 2


def test_an_interrupted_pipe_is_answered() -> None:
    process = subprocess.Popen(
        [*COMMAND, "-", *FAKE_ENGINE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        process.stdin.write(silence(0.3) + speech(2.0) + silence(1.5) + speech(2.0))
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, complaints = process.communicate(timeout=30)
    finally:
        process.kill()
    assert b"one two three" in first
    assert b"one two three" in rest
    assert (process.returncode, complaints) == (0, b"")


@pytest.mark.parametrize("columns", [80, 40])
def test_a_microphone_in_a_terminal(tmp_path: Path, columns: int) -> None:
    variables = fake_microphone(tmp_path, SAID + speech(60.0))
    with a_terminal("listen", *FAKE_ENGINE, columns=columns, **variables) as terminal:
        text = terminal.until("one two three four five six seven eight")
        assert "listening" in text
        assert "1 overflow" in terminal.until("1 overflow")
        finals = [line for line in terminal.lines if line.startswith("0:0")]
        assert len(finals) == 2
        assert ("one two" in finals[0]) == (columns == 80)
        terminal.ctrl_c()
        code = terminal.end()
        assert code == 0, terminal.text
    assert "listening" not in terminal.text
    assert "audio was lost once" in "".join(terminal.lines)
    assert all(len(line) <= columns for line in terminal.lines)
    assert len([line for line in terminal.lines if line.startswith("0:0")]) == 3


def test_a_second_ctrl_c_leaves_at_once(tmp_path: Path) -> None:
    variables = fake_microphone(tmp_path, speech(600.0))

    async def held() -> int:
        async with running_server() as server:
            arguments = ["listen", "--url", f"ws://{server.address}"]
            with a_terminal(*arguments, **variables) as terminal:
                await asyncio.to_thread(terminal.until, "one two three")
                server.engine.may_answer.clear()
                terminal.ctrl_c()
                await asyncio.to_thread(terminal.until, "finishing")
                terminal.ctrl_c()
                code = await asyncio.to_thread(terminal.end)
                assert "one two three" in terminal.text, "what was confirmed is not lost"
                return code

    assert asyncio.run(held()) == 130


def test_a_server_that_goes_away_is_told(tmp_path: Path) -> None:
    variables = fake_microphone(tmp_path, speech(600.0))

    async def cut() -> tuple[int, str]:
        async with running_server() as server:
            with a_terminal("listen", "--url", f"ws://{server.address}", **variables) as terminal:
                await asyncio.to_thread(terminal.until, "one two three four")
                for connection in set(server.server.realtime.connections):
                    connection.abort(1006, "test")
                return await asyncio.to_thread(terminal.end), terminal.text

    code, text = asyncio.run(cut())
    assert code == 1
    assert "is gone" in text
    assert "one two" in text


def test_devices_are_listed(tmp_path: Path) -> None:
    with a_terminal("listen", "--list-devices", **fake_microphone(tmp_path, b"")) as terminal:
        assert terminal.end() == 0
    assert "  0  Test Microphone  (16000 Hz)  default" in terminal.text
    assert "Speaker" not in terminal.text


def stubbed(directory: Path, code: str) -> dict[str, str]:
    (directory / "sounddevice.py").write_text(code)
    return {"PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")])}


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("raise ModuleNotFoundError('sounddevice')", "pip install 'oyez[listen]'"),
        ("raise OSError('PortAudio library not found')", "libportaudio2"),
    ],
)
def test_without_what_microphones_need_it_is_told_what_to_do(
    tmp_path: Path, code: str, words: str
) -> None:
    began_s = time.monotonic()
    with a_terminal("listen", columns=300, **stubbed(tmp_path, code)) as terminal:
        assert terminal.end() == 3
    assert words in terminal.text
    assert "| oyez listen -" in terminal.text
    assert "Traceback" not in terminal.text
    assert "loading" not in terminal.text
    assert time.monotonic() - began_s < 20


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--device", "nosuch"], 3, "--list-devices"),
        (["--rate", "8000"], 2, "oyez listen -"),
        (["-"], 2, "there is no pipe"),
        (["--language", "klingon"], 2, "zh yue en"),
        (["--url", "nowhere"], 2, "ws://HOST:PORT"),
        (["--context", "@/nowhere"], 2, "/nowhere"),
        (["--engine", "magic"], 2, "whisper-onnx"),
        (["--url", "ws://127.0.0.1:1"], 3, "cannot be reached"),
    ],
)
def test_faults_say_what_to_do(tmp_path: Path, arguments: list[str], code: int, words: str) -> None:
    variables = fake_microphone(tmp_path, b"")
    with a_terminal("listen", *arguments, columns=300, **variables) as terminal:
        assert terminal.end() == code, terminal.text
    assert words in terminal.text
    assert "Traceback" not in terminal.text


def test_a_container_in_a_pipe_is_opened() -> None:
    wav = io.BytesIO()
    with wave.open(wav, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(SAID)
    done = through_a_pipe(*FAKE_ENGINE, audio=wav.getvalue())
    assert done.returncode == 0, done.stderr
    first, second = (line.split("\t") for line in done.stdout.decode().splitlines())
    assert first[0] == "0:00.0"
    assert first[3].startswith("one two three")
    broken = through_a_pipe(*FAKE_ENGINE, audio=b"OggS" + bytes(range(256)) * 40)
    assert broken.returncode in (1, 3)
    assert b"Traceback" not in broken.stderr
    assert broken.stderr.startswith(b"oyez: ")
