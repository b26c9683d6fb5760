"""A command in a terminal of its own, and what is on its screen."""

from __future__ import annotations

import os
import sys
import time
import wave
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pexpect
import pyte

ENVIRONMENT = {
    name: value
    for name, value in os.environ.items()
    if not name.startswith("OYEZ_") and name not in ("NO_COLOR", "COLUMNS", "LINES")
}
FAKE_ENGINE = ("--engine", "fake", "--vad", "energy", "--emotion", "off")


class Terminal:
    """`columns` by `lines`; what scrolled away is kept."""

    def __init__(
        self, arguments: list[str], columns: int, lines: int, variables: Mapping[str, str]
    ) -> None:
        self.screen = pyte.HistoryScreen(columns, lines, history=1000)
        self._stream = pyte.ByteStream(self.screen)
        self.process: pexpect.spawn[bytes] = pexpect.spawn(
            sys.executable,
            ["-m", "oyez", *arguments],
            dimensions=(lines, columns),
            env={**ENVIRONMENT, "TERM": "xterm-256color", "LANG": "C.UTF-8", **variables},
            timeout=30,
        )

    @property
    def lines(self) -> list[str]:
        """Every line from the first one on, without what is empty at the end."""
        past = [
            "".join(line[at].data for at in range(self.screen.columns)).rstrip()
            for line in self.screen.history.top
        ]
        shown = [line.rstrip() for line in self.screen.display]
        while shown and not shown[-1]:
            shown.pop()
        return past + shown

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def until(self, words: str, timeout_s: float = 30.0) -> str:
        """Wait until these are somewhere on the screen; the whole text."""
        give_up_s = time.monotonic() + timeout_s
        while words not in self.text:
            if time.monotonic() > give_up_s or not self._read():
                raise AssertionError(f"{words!r} never came; there is:\n{self.text}")
        return self.text

    def end(self, timeout_s: float = 30.0) -> int:
        """Wait for the process to end by itself; its exit code."""
        give_up_s = time.monotonic() + timeout_s
        while self._read():
            assert time.monotonic() < give_up_s, f"still running; there is:\n{self.text}"
        self.process.wait()
        code = self.process.exitstatus
        assert code is not None, f"ended by signal {self.process.signalstatus}"
        return code

    def ctrl_c(self) -> None:
        self.process.sendintr()

    def _read(self) -> bool:
        try:
            self._stream.feed(self.process.read_nonblocking(4096, timeout=0.2))
        except pexpect.TIMEOUT:
            pass
        except pexpect.EOF:
            return False
        return True


@contextmanager
def a_terminal(
    *arguments: str,
    columns: int = 80,
    lines: int = 24,
    variables: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """`oyez` with these arguments and environment variables."""
    terminal = Terminal([*arguments], columns, lines, variables or {})
    try:
        yield terminal
    finally:
        terminal.process.close(force=True)


def recording(path: Path, pcm: bytes) -> Path:
    """A WAV file of PCM16, mono, 16 kHz."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm)
    return path


SOUNDDEVICE = '''
"""Stands in for the library: one microphone, fed from a file of PCM16 at 16 kHz."""

import os
import threading
import time


class PortAudioError(Exception):
    pass


class _Default:
    device = [0, 1]


default = _Default()
DEVICES = [
    {"name": "Test Microphone", "max_input_channels": 1, "default_samplerate": 16000.0},
    {"name": "Test Speaker", "max_input_channels": 0, "default_samplerate": 48000.0},
]


class _Status:
    def __init__(self, overflow):
        self.input_overflow = overflow


def query_devices(device=None, kind=None):
    if device not in (None, 0):
        raise ValueError(f"No input device matching {device!r}")
    return DEVICES[0] if kind else DEVICES


def check_input_settings(**settings):
    query_devices(settings["device"], "input")


class RawInputStream:
    def __init__(self, *, samplerate, blocksize, device, channels, dtype, callback,
                 finished_callback):
        assert (samplerate, channels, dtype) == (16000, 1, "int16")
        self._callback = callback
        self._blocksize = blocksize
        self._closed = threading.Event()

    def start(self):
        threading.Thread(target=self._run, daemon=True).start()

    def close(self):
        self._closed.set()

    def _run(self):
        audio = open(os.environ["TEST_MICROPHONE"], "rb")
        count = 0
        while not self._closed.wait(0.02):
            data = audio.read(2 * self._blocksize) or bytes(2 * self._blocksize)
            count += 1
            self._callback(data, self._blocksize, None, _Status(count == 5))
'''


def fake_microphone(directory: Path, audio: bytes) -> dict[str, str]:
    """Variables that give a command a microphone which records this PCM16, five times as fast as it
    is spoken, then silence. Its fifth block reports an overflow."""
    library = directory / "library"
    library.mkdir()
    (library / "sounddevice.py").write_text(SOUNDDEVICE)
    (directory / "audio.raw").write_bytes(audio)
    path = os.pathsep.join([str(library), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, "TEST_MICROPHONE": str(directory / "audio.raw")}
