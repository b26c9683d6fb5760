"""Bytes from the wire become samples."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from oyez.audio.opus import OpusDecoder
from oyez.audio.pcm import SAMPLE_RATE, AudioError, Resampler, Samples, join, pcm16_to_samples

PCM_SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)
"""The rates `make_decoder` accepts for "pcm", in Hz."""

MAX_STEP_S = 2
"""Most audio that is decoded at once."""


class AudioDecoder(Protocol):
    """Decodes the audio of one session, a bounded piece of work at a time. How the bytes are cut
    into feeds changes nothing."""

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the last feed, as long as not all of it has been decoded; else 0."""
        ...

    def feed(self, data: bytes) -> None:
        """Take encoded audio, of any length. Only when nothing waits."""
        ...

    def decode(self) -> tuple[Samples, AudioError | None]:
        """Decode some of what waits: float32 [n], 16 kHz, some 2 s at most, possibly empty; and
        the first thing in it that could not be decoded. The decoder stays usable after that.

        A call costs some 2 ms at most, whatever the bytes are: what it does is counted.
        """
        ...

    def drop(self) -> None:
        """Forget what waits. Nothing may be fed any more."""
        ...

    def flush(self) -> Samples:
        """The tail of the audio decoded so far: float32 [n], 16 kHz. Only when nothing waits.

        Audio fed later is resampled afresh, but goes on in the same container, packet or sample.
        """
        ...


def decode_all(decoder: AudioDecoder, data: bytes) -> Samples:
    """Decode `data` in one go: float32 [n], 16 kHz. Raises the first AudioError in it."""
    decoder.feed(data)
    blocks: list[Samples] = []
    while decoder.waiting_bytes:
        samples, error = decoder.decode()
        if error:
            raise error
        blocks.append(samples)
    return join(blocks)


def make_decoder(audio_format: str, sample_rate: int) -> AudioDecoder:
    """The decoder for one session.

    audio_format: "pcm" (16 bit, little-endian, mono) or "opus" (in Ogg, in WebM, or one packet
    per feed). sample_rate: of the PCM, in Hz; Opus brings its own. Raises AudioError for
    anything else.
    """
    if audio_format == "opus":
        return OpusDecoder()
    if audio_format != "pcm":
        raise AudioError(f"Audio format {audio_format!r} is not supported: use pcm or opus.")
    if sample_rate not in PCM_SAMPLE_RATES:
        allowed = ", ".join(str(rate) for rate in PCM_SAMPLE_RATES)
        raise AudioError(f"Sample rate {sample_rate} is not supported for pcm: use {allowed}.")
    return PcmDecoder(sample_rate)


class PcmDecoder:
    """16-bit little-endian mono PCM. An AudioDecoder."""

    def __init__(self, sample_rate: int) -> None:
        self._resampler = None if sample_rate == SAMPLE_RATE else Resampler(sample_rate)
        self._step_bytes = 2 * sample_rate * MAX_STEP_S
        self._data = b""
        self._place = 0

    @property
    def waiting_bytes(self) -> int:
        return len(self._data) if self._place + 1 < len(self._data) else 0

    def feed(self, data: bytes) -> None:
        half_sample = self._data[self._place :]
        self._data = half_sample + data if half_sample else data
        self._place = 0

    def decode(self) -> tuple[Samples, AudioError | None]:
        count = min(self._step_bytes, len(self._data) - self._place) // 2
        samples = pcm16_to_samples(np.frombuffer(self._data, "<i2", count, self._place))
        self._place += 2 * count
        if self._place + 1 >= len(self._data):  # let go of what has been decoded
            self._data, self._place = self._data[self._place :], 0
        return self._resampler.feed(samples) if self._resampler else samples, None

    def drop(self) -> None:
        self._data, self._place = b"", 0

    def flush(self) -> Samples:
        return self._resampler.flush() if self._resampler else np.zeros(0, np.float32)
