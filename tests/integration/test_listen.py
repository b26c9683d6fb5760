"""`oyez listen` in a real terminal and in real pipes, with a fake engine and a fake microphone."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from support.server import running_server, silence, speech
from support.terminal import ENVIRONMENT, FAKE_ENGINE, a_terminal, fake_microphone, recording

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


def test_without_a_microphone_nothing_is_loaded_and_pipes_are_proposed(tmp_path: Path) -> None:
    variables = fake_microphone(tmp_path, b"")
    (tmp_path / "library" / "sounddevice.py").write_text("raise OSError('no PortAudio')")
    with a_terminal("listen", columns=60, variables=variables) as terminal:
        assert terminal.end() == 3
    text = "".join(terminal.lines)
    assert "libportaudio2" in text
    assert "| oyez listen -" in text
    assert "Traceback" not in text
    assert "loading" not in text


def test_raw_audio_of_another_rate_keeps_its_speed() -> None:
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


@pytest.mark.parametrize("in_container", [False, True])
def test_an_interrupted_pipe_is_answered(tmp_path: Path, in_container: bool) -> None:
    said = silence(0.3) + speech(2.0) + silence(1.5) + speech(2.0)
    if in_container:
        said = recording(tmp_path / "said.wav", said).read_bytes()
    process = subprocess.Popen(
        [*COMMAND, "-", *FAKE_ENGINE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    assert process.stdin and process.stdout and process.stderr
    try:
        process.stdin.write(said)
        process.stdin.flush()
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.wait(timeout=30)  # the other end stays open, and says nothing
        rest, complaints = process.communicate()
    finally:
        process.kill()
    assert b"one two three" in first
    assert b"one two three" in rest
    assert (process.returncode, complaints) == (0, b"")


@pytest.mark.parametrize("columns", [80, 40])
def test_a_microphone_in_a_terminal(tmp_path: Path, columns: int) -> None:
    variables = fake_microphone(tmp_path, SAID + speech(60.0))
    with a_terminal("listen", *FAKE_ENGINE, columns=columns, variables=variables) as terminal:
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
            with a_terminal(*arguments, variables=variables) as terminal:
                await asyncio.to_thread(terminal.until, "one two three")
                server.engine.may_answer.clear()
                terminal.ctrl_c()
                await asyncio.to_thread(terminal.until, "finishing")
                terminal.ctrl_c()
                code = await asyncio.to_thread(terminal.end)
                assert "one two three" in terminal.text, "what was confirmed is not lost"
                return code

    assert asyncio.run(held()) == 130


def test_a_server_that_goes_away_is_an_error(tmp_path: Path) -> None:
    variables = fake_microphone(tmp_path, speech(600.0))

    async def cut() -> tuple[int, str]:
        async with running_server() as server:
            with a_terminal(
                "listen", "--url", f"ws://{server.address}", variables=variables
            ) as terminal:
                await asyncio.to_thread(terminal.until, "one two three four")
                for connection in set(server.server.realtime.connections):
                    connection.close(1011, "Internal service error.")
                return await asyncio.to_thread(terminal.end), terminal.text

    code, text = asyncio.run(cut())
    assert code == 1
    assert "had an internal error" in text
    assert "one two" in text


def test_a_session_that_the_server_ends_is_an_error(tmp_path: Path) -> None:
    variables = fake_microphone(tmp_path, SAID * 100)

    async def ended() -> tuple[int, str]:
        async with running_server() as server:
            with a_terminal(
                "listen", "--url", f"ws://{server.address}", variables=variables
            ) as terminal:
                await asyncio.to_thread(terminal.until, "one two three four")
                (connection,) = server.server.realtime.connections
                connection.drain()
                code = await asyncio.to_thread(terminal.end)
                return code, terminal.text

    code, text = asyncio.run(ended())
    assert code == 1
    assert "the server ended the session" in text


def test_devices_are_listed(tmp_path: Path) -> None:
    with a_terminal(
        "listen", "--list-devices", variables=fake_microphone(tmp_path, b"")
    ) as terminal:
        assert terminal.end() == 0
    assert "  0  Test Microphone  (16000 Hz)  default" in terminal.text
    assert "Speaker" not in terminal.text


def test_a_container_in_a_pipe_is_opened(tmp_path: Path) -> None:
    wav = recording(tmp_path / "talk.wav", SAID).read_bytes()
    done = through_a_pipe(*FAKE_ENGINE, audio=wav)
    assert done.returncode == 0, done.stderr
    first, second = (line.split("\t") for line in done.stdout.decode().splitlines())
    assert first[0] == "0:00.0"
    assert first[3].startswith("one two three")
    broken = through_a_pipe(*FAKE_ENGINE, audio=b"OggS" + bytes(range(256)) * 40)
    assert broken.returncode in (1, 3)
    assert b"Traceback" not in broken.stderr
    assert broken.stderr.startswith(b"oyez: ")
