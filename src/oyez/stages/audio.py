"""Bytes from the wire become samples: float32, mono, 16 kHz, in [-1, 1]."""

from __future__ import annotations

from typing import Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from oyez.recognisers.base import SAMPLE_RATE, Samples

PCM_SAMPLE_RATES = (8_000, 16_000, 24_000, 48_000)
"""The rates `make_decoder` accepts for "pcm", in Hz."""

_PCM16_FULL_SCALE = 32_768.0
_RESAMPLER_BLOCK_SAMPLES = 65_536


class AudioError(ValueError):
    """The bytes are not audio this server can decode. The message is fit for the client."""


class AudioDecoder(Protocol):
    """Decodes the audio of one session. How the bytes are cut into feeds changes nothing."""

    def feed(self, data: bytes) -> Samples:
        """Decode what `data` completes: float32 [n], 16 kHz, possibly empty.

        Raises AudioError on bytes that cannot be decoded. The decoder stays usable, and what
        was decoded before the error comes out of the next call.
        """
        ...

    def flush(self) -> Samples:
        """End the audio given so far and return its tail: float32 [n], 16 kHz.

        A half-received sample or packet is dropped. Audio fed later starts afresh, but in the
        same container, if there is one.
        """
        ...


def make_decoder(audio_format: str, sample_rate: int) -> AudioDecoder:
    """The decoder for one session.

    audio_format: "pcm" (16 bit, little-endian, mono) or "opus" (in Ogg, in WebM, or one packet
    per feed). sample_rate: of the PCM, in Hz; Opus brings its own. Raises AudioError for
    anything else.
    """
    if audio_format == "opus":
        from oyez.stages.opus import OpusDecoder  # it needs AudioError and Resampler from here

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
        self._half_sample = b""

    def feed(self, data: bytes) -> Samples:
        if self._half_sample:
            data = self._half_sample + data
        count = len(data) // 2
        self._half_sample = data[2 * count :]
        samples = pcm16_to_samples(np.frombuffer(data, "<i2", count))
        return self._resampler.feed(samples) if self._resampler else samples

    def flush(self) -> Samples:
        self._half_sample = b""
        return self._resampler.flush() if self._resampler else np.zeros(0, np.float32)


class Resampler:
    """A mono stream at `sample_rate` Hz becomes one at 16 kHz.

    The output lags behind the input by at most 40 ms (120 ms from 8 kHz); `flush` catches up.
    """

    def __init__(self, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def feed(self, samples: Samples) -> Samples:
        """float32 [n] at the input rate → float32 [m] at 16 kHz, possibly empty."""
        # soxr keeps internal buffers as large as the largest block it ever saw
        blocks = [
            self._stream.resample_chunk(samples[start : start + _RESAMPLER_BLOCK_SAMPLES])
            for start in range(0, len(samples), _RESAMPLER_BLOCK_SAMPLES)
        ]
        return join(blocks)

    def flush(self) -> Samples:
        """The tail of the stream, float32 [m]; the next feed starts a new stream."""
        tail: Samples = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream.clear()
        return tail


def pcm16_to_samples(pcm: NDArray[np.int16]) -> Samples:
    """int16 [n] → float32 [n] in [-1, 1)."""
    samples = pcm.astype(np.float32)
    samples /= _PCM16_FULL_SCALE
    return samples


def join(blocks: list[Samples]) -> Samples:
    """One float32 [n] out of any number of blocks, also none."""
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
