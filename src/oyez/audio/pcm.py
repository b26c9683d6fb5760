"""Samples: float32, mono, 16 kHz, in [-1, 1]; and what becomes them, and what they become."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""Of all audio inside oyez, in Hz."""

Samples = NDArray[np.float32]

_PCM16_FULL_SCALE = 32_768.0
_RESAMPLER_BLOCK_SAMPLES = 65_536


class AudioError(ValueError):
    """The bytes are not audio this server can decode. The message is fit for the client."""


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
