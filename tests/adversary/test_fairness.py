"""One session asks for more than the engine can do: the speaker's finals come all the same."""

from __future__ import annotations

import random
import wave
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import oyez
from support.adversary import MeasuredServer, Tolerated, bystanders, for_seconds, measured_server
from support.blocking_websocket import append, message

MANY = 8
BEHIND = Tolerated(iteration_s=0.1)
CALL_S = 0.08
"""About what a final of Whisper base takes."""
WAV = Path(oyez.__file__).parent / "assets" / "two_cities.wav"
MANUAL = message("session.update", session={"turn_detection": None})
DETECTED = message(
    "session.update", session={"turn_detection": {"type": "server_vad", "silence_duration_ms": 200}}
)


def recording() -> bytes:
    with wave.open(str(WAV), "rb") as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        return file.readframes(file.getnframes())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MeasuredServer]:
    """Its fake engine takes its time."""
    folder = tmp_path_factory.mktemp("fair")
    with measured_server(folder, delay_s=CALL_S, alone_s=3.0) as running:
        yield running


def commit_short_turns(server: MeasuredServer, seconds: float) -> None:
    """Manual turns of 32 ms each, as fast as they are taken."""
    pcm = recording()
    with server.session() as session:
        session.send(MANUAL)
        for number in for_seconds(seconds):
            start = number * 1_024 % (len(pcm) - 1_024)
            session.send((append(pcm[start : start + 1_024]) + message("commit")) * 20, timeout_s=1)
            session.frames(0)


def send_a_file(server: MeasuredServer, seconds: float) -> None:
    """Speech as fast as it is taken, with a detector that finds many short turns."""
    with server.session() as session:
        session.send(DETECTED)
        once = append(b"\x40\x1f\xc0\xe0" * 2_400 + bytes(9_600))
        for _ in for_seconds(seconds):
            session.send(once * 20, timeout_s=1)
            session.frames(0)


def test_commits_without_end(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:
        watch.attack("commits", partial(commit_short_turns, server, 3 * attack_s))


def test_a_file_much_faster_than_it_is_recognised(server: MeasuredServer, attack_s: float) -> None:
    with bystanders(server) as watch:
        watch.attack("a file", partial(send_a_file, server, 3 * attack_s))


def test_many_sessions_that_want_everything(server: MeasuredServer, attack_s: float) -> None:
    """Of one key, each with turns that are never finished talking."""
    dice = random.Random(1)
    noise = [append(dice.randbytes(9_600)) for _ in range(10)]

    def attack() -> None:
        sessions = []
        for _ in range(MANY):
            try:
                sessions.append(server.session())
            except ConnectionRefusedError:  # no room: it is the attacker who is told
                break
        for number in for_seconds(3 * attack_s):
            for session in sessions:
                session.send(noise[number % 10], timeout_s=0.02)
                session.frames(0)
        for session in sessions:
            session.close()

    with bystanders(server, BEHIND) as watch:
        watch.attack("sessions", attack)


@pytest.mark.model
def test_real_recognition(tmp_path: Path, attack_s: float) -> None:
    """The real model, real speech at its pace; a final alone takes what it takes."""
    said = tmp_path / "said.wav"
    with wave.open(str(said), "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", "not compressed"))
        file.writeframes(recording()[: 4 * 32_000] + bytes(32_000))
    real = measured_server(
        tmp_path,
        "--max-load=0",
        engine="whisper-onnx",
        vad="silero",
        wav_file=str(said),
        alone_s=6.0,
    )
    with real as server, bystanders(server):
        commit_short_turns(server, 6 * attack_s)
