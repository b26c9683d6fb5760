"""Live audio for `oyez listen`, from a microphone or a pipe: PCM16, mono, 16 kHz.

The methods of a source are called on the event loop that reads its packets.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
from collections import deque
from collections.abc import AsyncIterator, Iterator
from typing import Any, BinaryIO, cast

import numpy as np

from oyez.audio.decoder import PcmDecoder, decode_all
from oyez.audio.pcm import SAMPLE_RATE, Resampler, Samples, pcm16_to_samples, samples_to_pcm16
from oyez.cli.errors import NEVER_STARTED, CommandError
from oyez.files.media import open_media, run_blocking

PACKET_S = 0.1
MICROPHONE_PACKETS = 300
"""Microphone audio that may wait for the server: half a minute. Beyond that, audio is lost."""
PIPE_BLOCK_BYTES = 16_384
DRAIN_S = 0.5
"""How long a pipe is still read after `stop`."""
SILENT_DB = -90.0
PIPE_EXAMPLE = "arecord -q -f S16_LE -r 16000 -c 1 -t raw | oyez listen -"
MAGIC = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"\xff\xfb", b"FORM", b"\x47\x40")
"""The first bytes of containers; MP4 has its mark after four bytes."""
LONGEST_MAGIC = 8


class SourceError(CommandError):
    """There is no audio. The message says what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message, NEVER_STARTED)


class Microphone:
    """An input device, through PortAudio."""

    def __init__(self, device: int | str | None) -> None:
        """device: number or part of a name, as `--list-devices` shows them; None: the default."""
        self.overflows = 0
        """How often audio was lost because it came faster than it was read."""
        self._device = device
        self._stream: Any = None
        self._resampler: Resampler | None = None
        self._packets: deque[bytes] = deque()
        self._ended = False
        self._changed = asyncio.Event()
        """There is another packet, or the end."""

    def check(self) -> None:
        """Raise SourceError if the device cannot be used, before anything is loaded."""
        with self._device_errors() as sounddevice:
            self._rate(sounddevice)

    def start(self) -> None:
        """Begin to record. Raises SourceError."""
        loop = asyncio.get_running_loop()

        def notify() -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed, so nothing reads
                loop.call_soon_threadsafe(self._changed.set)

        def on_audio(data: Any, frames: int, time: Any, status: Any) -> None:
            """Copy the audio; runs in a thread of PortAudio, which reuses `data` afterwards."""
            has_room = len(self._packets) < MICROPHONE_PACKETS
            if has_room:
                self._packets.append(bytes(data))
            self.overflows += not has_room or bool(status.input_overflow)
            notify()

        def on_end() -> None:
            self._ended = True
            notify()

        with self._device_errors() as sounddevice:
            rate = self._rate(sounddevice)
            self._resampler = Resampler(rate) if rate != SAMPLE_RATE else None
            self._stream = sounddevice.RawInputStream(
                samplerate=rate,
                blocksize=round(rate * PACKET_S),
                device=self._device,
                channels=1,
                dtype="int16",
                callback=on_audio,
                finished_callback=on_end,
            )
            self._stream.start()

    def stop(self) -> None:
        """Record no more; what was recorded is still yielded."""
        if self._stream is not None:
            self._stream.close()
        self._ended = True
        self._changed.set()

    async def packets(self) -> AsyncIterator[bytes]:
        """Yield PCM16 until the end."""
        ended = False
        while not ended:
            self._changed.clear()
            ended = self._ended
            while self._packets:
                pcm = self._packets.popleft()
                if self._resampler:
                    pcm = samples_to_pcm16(self._resampler.feed(_to_samples(pcm))).tobytes()
                yield pcm
            if not ended:
                await self._changed.wait()
        if self._resampler:
            yield samples_to_pcm16(self._resampler.flush()).tobytes()

    def _rate(self, sounddevice: Any) -> int:
        """Return 16 kHz if the device can record at it, else the device's own rate."""
        try:
            sounddevice.check_input_settings(
                device=self._device, samplerate=SAMPLE_RATE, channels=1, dtype="int16"
            )
        except sounddevice.PortAudioError:
            rate: float = sounddevice.query_devices(self._device, "input")["default_samplerate"]
            return round(rate)
        return SAMPLE_RATE

    @contextlib.contextmanager
    def _device_errors(self) -> Iterator[Any]:
        """Yield the library, and turn its errors into a SourceError."""
        sounddevice = load_sounddevice()
        try:
            yield sounddevice
        except (sounddevice.PortAudioError, ValueError) as error:
            advice = "oyez listen --list-devices shows what there is"
            message = f"microphone {self._device}: {error}; {advice}"
            if self._device is None:
                advice = f"pipe audio in instead: {PIPE_EXAMPLE}"
                message = f"there is no microphone that can be used; {advice}"
            raise SourceError(message) from error


def load_sounddevice() -> Any:
    """Import the library. Raises SourceError, which says what to install."""
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
    """Return number, name, rate in Hz and whether it is the default, for each microphone.

    Raises SourceError.
    """
    sounddevice = load_sounddevice()
    default = sounddevice.default.device[0]
    return [
        (number, device["name"], round(device["default_samplerate"]), number == default)
        for number, device in enumerate(sounddevice.query_devices())
        if device["max_input_channels"] > 0
    ]


class InterruptiblePipe:
    """Reads a pipe without a buffer of its own, and can be interrupted while a thread waits.

    A thread that waits in Python's own reader can neither be ended nor abandoned: the interpreter
    aborts at its exit if the lock of that reader is taken.
    """

    def __init__(self, file: BinaryIO) -> None:
        """file: stays open. Nothing was read from it yet."""
        self._descriptor = file.fileno()
        self._interrupted, self._interrupt = os.pipe()
        self._returned = b""

    def read(self, size: int) -> bytes:
        """Wait for at least one byte. Returns nothing at the end and after `interrupt`."""
        if self._returned:
            taken, self._returned = self._returned[:size], self._returned[size:]
            return taken
        ready, _, _ = select.select([self._descriptor, self._interrupted], [], [])
        return b"" if self._interrupted in ready else os.read(self._descriptor, size)

    def give_back(self, data: bytes) -> None:
        """Put back what was read; it is read again next."""
        self._returned = data

    def seekable(self) -> bool:
        """Return False: it is a pipe."""
        return False

    def interrupt(self) -> None:
        """End the read that waits, and every later one."""
        with contextlib.suppress(OSError):  # it was interrupted before
            os.close(self._interrupt)
            self._interrupt = -1

    def close(self) -> None:
        """Release what it holds, after the last read. The pipe itself stays open."""
        self.interrupt()
        os.close(self._interrupted)


class Pipe:
    """A pipe with raw PCM, or with anything in a container. It is read as its audio is taken."""

    overflows = 0

    def __init__(self, file: InterruptiblePipe, rate: int | None) -> None:
        """rate: of raw PCM16 mono, in Hz; None: a container, or raw PCM at 16 kHz."""
        self._file = file
        self._rate = rate

    def start(self) -> None:
        """Do nothing: the other end of the pipe records."""

    def stop(self) -> None:
        """Read for `DRAIN_S` more: Ctrl-C also ends the program that writes, and what it wrote
        last is still to be read. Ending the read also brings out what the decoder holds."""
        asyncio.get_running_loop().call_later(DRAIN_S, self._file.interrupt)

    async def packets(self) -> AsyncIterator[bytes]:
        """Yield PCM16 until the end. Raises SourceError if it cannot be read or decoded.

        If the task is cancelled, the pipe is interrupted.
        """
        blocks = self._blocks()
        try:
            while True:
                reading = asyncio.ensure_future(run_blocking(next, blocks, None))
                try:
                    samples = await asyncio.shield(reading)
                except asyncio.CancelledError:
                    self._file.interrupt()
                    await asyncio.wait([reading])
                    raise
                if samples is None:
                    return
                yield samples_to_pcm16(samples).tobytes()
        except Exception as error:  # decoders raise anything
            raise SourceError(str(error)) from error

    def _blocks(self) -> Iterator[Samples]:
        """Yield float32 at 16 kHz as it comes; blocks."""
        if self._rate is None:
            first = b""
            while len(first) < LONGEST_MAGIC and (block := self._file.read(PIPE_BLOCK_BYTES)):
                first += block
            self._file.give_back(first)
            if first.startswith(MAGIC) or first[4:8] == b"ftyp":
                with open_media(cast(BinaryIO, self._file)) as media:  # it only reads
                    yield from media.blocks()
                return
        decoder = PcmDecoder(self._rate or SAMPLE_RATE)
        while block := self._file.read(PIPE_BLOCK_BYTES):
            yield decode_all(decoder, block)
        yield decoder.flush()


Source = Microphone | Pipe


def level_db(pcm: bytes) -> float:
    """Return the loudness of PCM16 in dB below full scale."""
    if not pcm:
        return SILENT_DB
    power = float(np.mean(np.square(_to_samples(pcm))))
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB


def _to_samples(pcm: bytes) -> Samples:
    return pcm16_to_samples(np.frombuffer(pcm, "<i2"))
