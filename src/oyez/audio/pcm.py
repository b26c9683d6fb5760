"""Samples: float32, mono, 16 kHz, in [-1, 1]. They are converted to PCM16, resampled and kept."""

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
_MIN_CAPACITY_SAMPLES = SAMPLE_RATE


class AudioError(ValueError):
    """The bytes are not audio that this server can decode. The message is fit for the client."""


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


class Resampler:
    """Resamples a mono stream from `sample_rate` Hz to 16 kHz.

    The output lags behind the input by at most 40 ms (120 ms from 8 kHz); `flush` catches up.
    """

    def __init__(self, sample_rate: int) -> None:
        self._stream = soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, dtype="float32")

    def feed(self, samples: Samples) -> Samples:
        """Take float32 [n] at the input rate and return float32 [m] at 16 kHz, possibly empty."""
        # soxr keeps internal buffers as large as the largest block it ever got
        starts = range(0, len(samples), _RESAMPLER_BLOCK_SAMPLES)
        blocks = (samples[start : start + _RESAMPLER_BLOCK_SAMPLES] for start in starts)
        return join([self._stream.resample_chunk(block) for block in blocks])

    def flush(self) -> Samples:
        """Return the tail of the stream, float32 [m]. The next `feed` starts a new stream."""
        tail: Samples = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        self._stream.clear()
        return tail


class SampleBuffer:
    """The samples of a session that are still needed, by their position in the session.

    It grows at the end and is dropped from the beginning. A call takes time in proportion to the
    samples that it touches (amortised), and the buffer memory in proportion to the samples held.
    """

    def __init__(self) -> None:
        self.start = 0
        """The index of the first sample that is still held."""
        self.end = 0
        """The index after the last sample, which is the number of samples ever appended."""
        self._storage: Samples = np.empty(_MIN_CAPACITY_SAMPLES, np.float32)
        # The place of the first held sample in the storage
        self._offset = 0

    @property
    def held_bytes(self) -> int:
        """The memory of the storage, in bytes."""
        return self._storage.nbytes

    def append(self, samples: Samples) -> None:
        """Add float32 [n] at the end. The samples are copied."""
        held = self.end - self.start
        if self._offset + held + len(samples) > len(self._storage):
            self._move(held + len(samples))
        place = self._offset + held
        self._storage[place : place + len(samples)] = samples
        self.end += len(samples)

    def slice(self, start: int, end: int) -> Samples:
        """Return a copy of samples `start` to `end` (excluded), float32 [end - start].

        Raises IndexError unless self.start <= start <= end <= self.end.
        """
        if not self.start <= start <= end <= self.end:
            raise IndexError(
                f"samples {start}…{end} were asked for, but the buffer holds "
                f"{self.start}…{self.end}"
            )
        first = self._offset + start - self.start
        return self._storage[first : first + end - start].copy()

    def drop_before(self, index: int) -> None:
        """Drop the samples before `index`. An index past the end drops all of them."""
        dropped = min(index, self.end) - self.start
        if dropped <= 0:
            return
        self._offset += dropped
        self.start += dropped
        held, capacity = self.end - self.start, len(self._storage)
        if held < capacity // 4 and capacity > _MIN_CAPACITY_SAMPLES:
            self._move(held)

    def _move(self, needed: int) -> None:
        """Move the held samples to the front of a new storage with room for one and a half times
        `needed` samples."""
        held = self.end - self.start
        capacity = max(needed + needed // 2, _MIN_CAPACITY_SAMPLES)
        storage: Samples = np.empty(capacity, np.float32)
        storage[:held] = self._storage[self._offset : self._offset + held]
        self._storage, self._offset = storage, 0
