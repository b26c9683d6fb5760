"""Samples: float32, mono, 16 kHz, in [-1, 1]; how they are resampled and converted to PCM16."""

from __future__ import annotations

import numpy as np
import soxr
from numpy.typing import NDArray

SAMPLE_RATE = 16_000
"""The sample rate of all audio inside oyez, in Hz."""

Samples = NDArray[np.float32]
"""Audio as float32 [n], mono, in [-1, 1]; at 16 kHz unless another rate is given."""

_PCM16_FULL_SCALE = 32_768.0
_RESAMPLER_BLOCK_SAMPLES = 65_536


class AudioError(ValueError):
    """The bytes are not audio that this server can decode. The message is fit for the client."""


class Resampler:
    """Resamples a mono stream from `sample_rate` Hz to 16 kHz.

    The output lags behind the input by at most 40 ms (120 ms from 8 kHz); `flush` catches up.
    """

    def __init__(self, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def feed(self, samples: Samples) -> Samples:
        """Take float32 [n] at the input rate and return float32 [m] at 16 kHz, possibly empty."""
        # soxr keeps internal buffers as large as the largest block it ever got
        blocks = [
            self._stream.resample_chunk(samples[start : start + _RESAMPLER_BLOCK_SAMPLES])
            for start in range(0, len(samples), _RESAMPLER_BLOCK_SAMPLES)
        ]
        return join(blocks)

    def flush(self) -> Samples:
        """Return the tail of the stream, float32 [m]. The next `feed` starts a new stream."""
        tail: Samples = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream.clear()
        return tail


def pcm16_to_samples(pcm: NDArray[np.int16]) -> Samples:
    """Convert int16 [n] to float32 [n] in [-1, 1)."""
    samples = pcm.astype(np.float32)
    samples /= _PCM16_FULL_SCALE
    return samples


def samples_to_pcm16(samples: Samples) -> NDArray[np.int16]:
    """Convert float32 [n] to little-endian int16 [n], rounded to the nearest value. Samples outside
    [-1, 1) are clipped. What `pcm16_to_samples` returned is converted back exactly."""
    scaled = (samples * _PCM16_FULL_SCALE).round()
    return scaled.clip(-_PCM16_FULL_SCALE, _PCM16_FULL_SCALE - 1).astype("<i2")


def join(blocks: list[Samples]) -> Samples:
    """Return any number of blocks as one float32 [n]; no block gives an empty array."""
    if len(blocks) == 1:
        return blocks[0]
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)
