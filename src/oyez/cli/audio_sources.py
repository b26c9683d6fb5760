"""Live audio for `oyez listen`, from a microphone or a pipe: PCM16, mono, 16 kHz."""

from __future__ import annotations

import asyncio
import contextlib
import math
import os
import select
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, BinaryIO, Protocol

import numpy as np

from oyez.audio.decoder import PcmDecoder, decode_all
from oyez.audio.pcm import SAMPLE_RATE, Resampler, Samples, pcm16_to_samples, samples_to_pcm16
from oyez.files.media import open_media

PACKET_S = 0.1
MICROPHONE_PACKETS = 300
"""Microphone audio that may wait for the server: half a minute. Beyond that, audio is lost."""
PIPE_PACKETS = 16
PIPE_BLOCK_BYTES = 16_384
DRAIN_S = 0.5
"""How long a pipe is still read after `stop`."""
SILENT_DB = -90.0
PIPE_EXAMPLE = "arecord -q -f S16_LE -r 16000 -c 1 -t raw | oyez listen -"
MAGIC = (b"RIFF", b"OggS", b"fLaC", b"ID3", b"\x1aE\xdf\xa3", b"\xff\xfb", b"FORM", b"\x47\x40")
"""The first bytes of containers; MP4 has its mark after four bytes."""
LONGEST_MAGIC = 8


class SourceError(Exception):
    """There is no audio. The message says what to do."""


class Source:
    """Live audio. `start` and `stop` are called on the event loop that reads the packets."""

    def __init__(self, max_packets: int) -> None:
        self.overflows = 0
        """How often audio was lost because it came faster than it was read."""
        self._queue = _PacketQueue(max_packets)

    def start(self) -> None:
        """Begin. Raises SourceError."""
        raise NotImplementedError

    def stop(self) -> None:
        """Take no more audio; what has arrived is still yielded."""
        raise NotImplementedError

    def packets(self) -> AsyncIterator[bytes]:
        """Yield PCM16 until the end. Raises SourceError if the source breaks."""
        raise NotImplementedError


class Microphone(Source):
    """An input device, through PortAudio."""

    def __init__(self, device: int | str | None) -> None:
        """device: number or part of a name, as `--list-devices` shows them; None: the default."""
        super().__init__(MICROPHONE_PACKETS)
        self._device = device
        self._stream: Any = None
        self._resampler: Resampler | None = None

    def check(self) -> None:
        """Raise SourceError if the device cannot be used, before anything is loaded."""
        with self._device_errors() as sounddevice:
            self._rate(sounddevice)

    def start(self) -> None:
        self._queue.attach()
        with self._device_errors() as sounddevice:
            rate = self._rate(sounddevice)
            self._resampler = Resampler(rate) if rate != SAMPLE_RATE else None
            self._stream = sounddevice.RawInputStream(
                samplerate=rate,
                blocksize=round(rate * PACKET_S),
                device=self._device,
                channels=1,
                dtype="int16",
                callback=self._on_audio,
                finished_callback=self._queue.end,
            )
            self._stream.start()

    def stop(self) -> None:
        if self._stream is not None:
            self._stream.close()
        self._queue.end()

    async def packets(self) -> AsyncIterator[bytes]:
        async for pcm in self._queue.packets():
            if self._resampler:
                pcm = samples_to_pcm16(self._resampler.feed(_to_samples(pcm))).tobytes()
            yield pcm
        if self._resampler:
            yield samples_to_pcm16(self._resampler.flush()).tobytes()

    def _on_audio(self, data: Any, frames: int, time: Any, status: Any) -> None:
        """Copy the audio; runs in a thread of PortAudio, which reuses `data` afterwards."""
        if not self._queue.offer(bytes(data)) or status.input_overflow:
            self.overflows += 1

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
            message = (
                f"microphone {self._device}: {error}; oyez listen --list-devices shows what there "
                "is"
            )
            if self._device is None:
                message = (
                    "there is no microphone that can be used; pipe audio in instead: "
                    f"{PIPE_EXAMPLE}"
                )
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


class Readable(Protocol):
    """A pipe, or what reads one."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""
        ...


class Pipe(Source):
    """A file or pipe with raw PCM, or with anything in a container."""

    def __init__(self, file: Readable, rate: int | None) -> None:
        """rate: of raw PCM16 mono, in Hz; None: a container, or raw PCM at 16 kHz."""
        super().__init__(PIPE_PACKETS)
        self._file = file
        self._rate = rate
        self._error: Exception | None = None

    def start(self) -> None:
        self._queue.attach()
        threading.Thread(target=self._read, name="pipe", daemon=True).start()

    def stop(self) -> None:
        # Ctrl-C also ends the program that writes: what it wrote last is still to be read. Ending
        # the read, and not the queue, also brings out what the decoder holds.
        interrupt = getattr(self._file, "interrupt", None)
        asyncio.get_running_loop().call_later(DRAIN_S, interrupt or self._queue.end)

    async def packets(self) -> AsyncIterator[bytes]:
        async for pcm in self._queue.packets():
            yield pcm
        if self._error is not None:
            raise SourceError(str(self._error)) from self._error

    def _read(self) -> None:
        try:
            for samples in self._samples():
                if not self._queue.put(samples_to_pcm16(samples).tobytes()):
                    break
        except Exception as error:  # noqa: BLE001 - decoders raise anything; `packets` raises it
            self._error = error
        self._queue.end()

    def _samples(self) -> Iterator[Samples]:
        """Yield float32 at 16 kHz as it comes; blocks."""
        first = b""
        while (
            self._rate is None
            and len(first) < LONGEST_MAGIC
            and (block := _read_available(self._file))
        ):
            first += block
        if self._rate is None and (first.startswith(MAGIC) or first[4:8] == b"ftyp"):
            whole = _Rejoined(first, self._file)
            with open_media(whole) as media:  # type: ignore[arg-type]  # it only reads
                yield from media.blocks()
            return
        decoder = PcmDecoder(self._rate or SAMPLE_RATE)
        yield decode_all(decoder, first)
        while block := _read_available(self._file):
            yield decode_all(decoder, block)
        yield decoder.flush()


class _Rejoined:
    """A pipe whose first bytes were read already."""

    def __init__(self, first: bytes, rest: Readable) -> None:
        self._first = first
        self._rest = rest

    def read(self, size: int) -> bytes:
        if self._first:
            taken, self._first = self._first[:size], self._first[size:]
            return taken
        return _read_available(self._rest, size)

    def seekable(self) -> bool:
        return False


def _read_available(file: Readable, size: int = PIPE_BLOCK_BYTES) -> bytes:
    """Return what has arrived, at least a byte; nothing at the end."""
    read1: Callable[[int], bytes] = getattr(file, "read1", file.read)
    return read1(size)


class InterruptiblePipe:
    """Reads a pipe without a buffer of its own, and can be interrupted while a thread waits.

    A thread that waits in Python's own reader can neither be ended nor abandoned: the interpreter
    aborts at its exit if the lock of that reader is taken.
    """

    def __init__(self, file: BinaryIO) -> None:
        """file: stays open. Nothing was read from it yet."""
        self._descriptor = file.fileno()
        self._interrupted, self._interrupt = os.pipe()

    def read(self, size: int) -> bytes:
        """Wait for at least one byte. Returns nothing at the end and after `interrupt`."""
        ready, _, _ = select.select([self._descriptor, self._interrupted], [], [])
        return b"" if self._interrupted in ready else os.read(self._descriptor, size)

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


class _PacketQueue:
    """A bounded queue from a thread to the event loop."""

    def __init__(self, max_packets: int) -> None:
        self._max_packets = max_packets
        self._packets: list[bytes] = []
        self._ended = False
        self._changed = threading.Condition()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._arrived = asyncio.Event()

    def attach(self) -> None:
        """Read on the running event loop."""
        self._loop = asyncio.get_running_loop()

    def offer(self, packet: bytes) -> bool:
        """Add a packet if there is room, without waiting. Returns whether there was."""
        with self._changed:
            if len(self._packets) >= self._max_packets:
                return False
            self._packets.append(packet)
        self._wake_reader()
        return True

    def put(self, packet: bytes) -> bool:
        """Wait for room and add a packet. Returns False if the queue has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or len(self._packets) < self._max_packets)
            if self._ended:
                return False
            self._packets.append(packet)
        self._wake_reader()
        return True

    def end(self) -> None:
        """Take no more packets."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._wake_reader()

    async def packets(self) -> AsyncIterator[bytes]:
        """Yield every packet, until the queue has ended and is empty."""
        while True:
            with self._changed:
                taken, self._packets = self._packets, []
                ended = self._ended
                self._arrived.clear()
                self._changed.notify_all()
            for packet in taken:
                yield packet
            if ended and not taken:
                return
            if not taken:
                await self._arrived.wait()

    def _wake_reader(self) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.set)


def level_db(pcm: bytes) -> float:
    """Return the loudness of PCM16 in dB below full scale."""
    if not pcm:
        return SILENT_DB
    power = float(np.mean(np.square(_to_samples(pcm))))
    return max(SILENT_DB, 10 * math.log10(power)) if power > 0 else SILENT_DB


def _to_samples(pcm: bytes) -> Samples:
    return pcm16_to_samples(np.frombuffer(pcm, "<i2"))
