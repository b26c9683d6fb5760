"""Where live audio comes from: a microphone, or a pipe. Both give PCM16, mono, 16 kHz."""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import AsyncIterator
from typing import Any, Protocol

import numpy as np

from oyez.audio.pcm import (
    SAMPLE_RATE,
    Resampler,
    Samples,
    pcm16_to_samples,
    samples_to_pcm16,
)
from oyez.cli.pipe_audio import Readable, pipe_samples

PACKET_S = 0.1
MICROPHONE_PACKETS = 300
"""Audio of a microphone that may wait for the server: half a minute. Then some of it is lost."""
PIPE_PACKETS = 16
LAST_WORDS_S = 0.5
"""How long a pipe is read on after it was told to stop."""
SILENT_DB = -90.0

PIPE_EXAMPLE = "arecord -q -f S16_LE -r 16000 -c 1 -t raw | oyez listen -"


class SourceError(Exception):
    """There is no audio to be had; the message says what to do."""


class Source(Protocol):
    """Live audio. Start it on the event loop."""

    overflows: int
    """How often audio was lost because it came faster than it was taken."""

    def start(self) -> None:
        """Raises SourceError."""

    def stop(self) -> None:
        """No more audio; what is there already still comes out. From the event loop."""

    def packets(self) -> AsyncIterator[bytes]:
        """PCM16, mono, 16 kHz, until the end. Raises SourceError where it ends by a fault."""
        ...


class Microphone:
    """An input device, through PortAudio. A Source."""

    def __init__(self, device: int | str | None) -> None:
        """device: number or part of a name, as `--list-devices` shows them; None: the default."""
        self.overflows = 0
        self._device = device
        self._feed = _Feed(MICROPHONE_PACKETS)
        self._stream: Any = None
        self._to_16k: Resampler | None = None

    def check(self) -> None:
        """Raises SourceError if it cannot be used, before anything is loaded."""
        sounddevice = load_sounddevice()
        try:
            _rate_of(sounddevice, self._device)
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SourceError(_no_microphone(self._device, error)) from error

    def start(self) -> None:
        self._feed.here()
        sounddevice = load_sounddevice()
        try:
            rate = _rate_of(sounddevice, self._device)
            self._to_16k = Resampler(rate) if rate != SAMPLE_RATE else None
            self._stream = sounddevice.RawInputStream(
                samplerate=rate,
                blocksize=round(rate * PACKET_S),
                device=self._device,
                channels=1,
                dtype="int16",
                callback=self._heard,
                finished_callback=self._feed.end,
            )
            self._stream.start()
        except (sounddevice.PortAudioError, ValueError) as error:
            raise SourceError(_no_microphone(self._device, error)) from error

    def stop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._feed.end()

    async def packets(self) -> AsyncIterator[bytes]:
        async for pcm in self._feed.items():
            yield pcm if self._to_16k is None else _to_pcm(self._to_16k.feed(_samples(pcm)))
        if self._to_16k is not None:
            yield _to_pcm(self._to_16k.flush())

    def _heard(self, data: Any, frames: int, time: Any, status: Any) -> None:
        """PortAudio's thread: `data` is gone when this returns."""
        if not self._feed.offer(bytes(data)) or status.input_overflow:
            self.overflows += 1


class Pipe:
    """A file or pipe: raw PCM, or anything with a container. A Source."""

    overflows = 0

    def __init__(self, file: Readable, rate: int | None) -> None:
        """rate: of raw PCM16 mono; None: what the first bytes tell, raw at 16 kHz if nothing."""
        self._file = file
        self._rate = rate
        self._feed = _Feed(PIPE_PACKETS)
        self._fault: Exception | None = None

    def start(self) -> None:
        self._feed.here()
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def stop(self) -> None:
        # Ctrl-C also ends the program that writes: what it wrote to the last is still to be read
        leave = getattr(self._file, "leave", None)  # then what the decoder holds comes out too
        asyncio.get_running_loop().call_later(LAST_WORDS_S, leave or self._feed.end)

    async def packets(self) -> AsyncIterator[bytes]:
        async for pcm in self._feed.items():
            yield pcm
        if self._fault is not None:
            raise SourceError(str(self._fault)) from self._fault

    def _read(self) -> None:
        try:
            for samples in pipe_samples(self._file, self._rate):
                if not self._feed.put(_to_pcm(samples)):
                    break
        except Exception as error:  # noqa: BLE001 - a decoder may fail as it likes; it is told
            self._fault = error
        self._feed.end()


def level_db(pcm: bytes) -> float:
    """Loudness of PCM16 in dB below full scale."""
    if not pcm:
        return SILENT_DB
    power = float(np.mean(np.square(_samples(pcm))))
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB


def load_sounddevice() -> Any:
    """The library. Raises SourceError, saying what to install."""
    instead = f"; or pipe audio in, for example: {PIPE_EXAMPLE}"
    try:
        import sounddevice
    except ModuleNotFoundError as error:
        message = "microphones need an extra: pip install 'oyez[listen]'"
        raise SourceError(message + instead) from error
    except OSError as error:
        message = (
            "microphones need the library PortAudio: apt install libportaudio2 (Debian, Ubuntu), "
            "dnf install portaudio (Fedora) or brew install portaudio (macOS)"
        )
        raise SourceError(message + instead) from error
    return sounddevice


def input_devices() -> list[tuple[int, str, int, bool]]:
    """(number, name, rate in Hz, whether it is the default) of each. Raises SourceError."""
    sounddevice = load_sounddevice()
    default = sounddevice.default.device[0]
    return [
        (number, device["name"], round(device["default_samplerate"]), number == default)
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


def _rate_of(sounddevice: Any, device: int | str | None) -> int:
    """16 kHz if the device can, else its own rate."""
    try:
        sounddevice.check_input_settings(
            device=device, samplerate=SAMPLE_RATE, channels=1, dtype="int16"
        )
    except sounddevice.PortAudioError:
        rate: float = sounddevice.query_devices(device, "input")["default_samplerate"]
        return round(rate)
    return SAMPLE_RATE


def _no_microphone(device: int | str | None, error: Exception) -> str:
    if device is None:
        return f"there is no microphone that can be used; pipe audio in instead: {PIPE_EXAMPLE}"
    return f"microphone {device}: {error}; oyez listen --list-devices shows what there is"


def _samples(pcm: bytes) -> Samples:
    return pcm16_to_samples(np.frombuffer(pcm, "<i2"))


def _to_pcm(samples: Samples) -> bytes:
    return samples_to_pcm16(samples).tobytes()


class _Feed:
    """Hands packets from a thread to the event loop; holds so many at most."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._items: list[bytes] = []
        self._ended = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wake = asyncio.Event()

    def here(self) -> None:
        """The running loop is the one that reads."""
        self._loop = asyncio.get_running_loop()

    def offer(self, item: bytes) -> bool:
        """Take it if there is room; whether there was. Never waits."""
        with self._changed:
            if len(self._items) >= self._most:
                return False
            self._items.append(item)
        self._tell()
        return True

    def put(self, item: bytes) -> bool:
        """Wait for room and take it; False when nobody wants any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._items) < self._most)
            if self._ended:
                return False
            self._items.append(item)
        self._tell()
        return True

    def end(self) -> None:
        """Nothing more comes."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._tell()

    async def items(self) -> AsyncIterator[bytes]:
        while True:
            with self._changed:
                taken, self._items = self._items, []
                ended = self._ended
                self._wake.clear()
                self._changed.notify_all()
            for item in taken:
                yield item
            if ended and not taken:
                return
            if not taken:
                await self._wake.wait()

    def _tell(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake.set)
