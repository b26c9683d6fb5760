"""The samples of a session that are still needed, addressed by their position in the session."""

from __future__ import annotations

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples

_MIN_CAPACITY_SAMPLES = SAMPLE_RATE


class SampleBuffer:
    """The latest samples of a stream: it grows at the end and is dropped from the beginning.

    Indices count samples since the session began. Each call takes time in proportion to the
    samples it touches (amortised), and the buffer takes memory in proportion to the samples held.
    """

    def __init__(self) -> None:
        self._storage: Samples = np.empty(_MIN_CAPACITY_SAMPLES, np.float32)
        # The place of the first held sample in the storage
        self._offset = 0
        self._start = 0
        self._end = 0

    @property
    def start(self) -> int:
        """The index of the first sample that is still held."""
        return self._start

    @property
    def end(self) -> int:
        """The index after the last sample, which is the number of samples ever appended."""
        return self._end

    @property
    def held_bytes(self) -> int:
        """The memory of the storage, in bytes."""
        return self._storage.nbytes

    def append(self, samples: Samples) -> None:
        """Add float32 [n] at the end. The samples are copied."""
        if self._offset + self._held + len(samples) > len(self._storage):
            self._move(self._held + len(samples))
        place = self._offset + self._held
        self._storage[place : place + len(samples)] = samples
        self._end += len(samples)

    def slice(self, start: int, end: int) -> Samples:
        """Return a copy of samples `start` to `end` (excluded), float32 [end - start].

        Raises IndexError unless self.start <= start <= end <= self.end.
        """
        if not self._start <= start <= end <= self._end:
            raise IndexError(
                f"samples {start}…{end} were asked for, but the buffer holds "
                f"{self._start}…{self._end}"
            )
        first = self._offset + start - self._start
        return self._storage[first : first + end - start].copy()

    def drop_before(self, index: int) -> None:
        """Drop the samples before `index`. An index past the end drops all of them."""
        index = min(index, self._end)
        if index <= self._start:
            return
        self._offset += index - self._start
        self._start = index
        if self._held < len(self._storage) // 4 and len(self._storage) > _MIN_CAPACITY_SAMPLES:
            self._move(self._held)

    @property
    def _held(self) -> int:
        return self._end - self._start

    def _move(self, needed: int) -> None:
        """Move the held samples to the front of a new storage with room for one and a half times
        `needed` samples."""
        capacity = max(needed + needed // 2, _MIN_CAPACITY_SAMPLES)
        storage: Samples = np.empty(capacity, np.float32)
        storage[: self._held] = self._storage[self._offset : self._offset + self._held]
        self._storage = storage
        self._offset = 0
