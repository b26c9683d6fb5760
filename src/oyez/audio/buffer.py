"""The samples of a session that are still needed, addressed by their place in the session."""

from __future__ import annotations

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples

_MIN_CAPACITY_SAMPLES = SAMPLE_RATE


class SampleBuffer:
    """A window onto a stream of samples: grows at the end, is dropped from the beginning.

    Indices count samples since the session began. Every call costs time in proportion to the
    samples it touches (amortised), and memory in proportion to the samples held.
    """

    def __init__(self) -> None:
        self._storage: Samples = np.empty(_MIN_CAPACITY_SAMPLES, np.float32)
        self._offset = 0  # where in the storage the first held sample lies
        self._start = 0
        self._end = 0

    @property
    def start(self) -> int:
        """Index of the first sample still held."""
        return self._start

    @property
    def end(self) -> int:
        """Index after the last sample: how many were ever appended."""
        return self._end

    @property
    def held_bytes(self) -> int:
        """Memory taken, in bytes."""
        return self._storage.nbytes

    def append(self, samples: Samples) -> None:
        """Add float32 [n] at the end; the samples are copied."""
        if self._offset + self._held + len(samples) > len(self._storage):
            self._move(self._held + len(samples))
        place = self._offset + self._held
        self._storage[place : place + len(samples)] = samples
        self._end += len(samples)

    def slice(self, start: int, end: int) -> Samples:
        """A copy of samples start…end (end excluded), float32 [end - start].

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
        """Forget the samples before `index`. An index past the end forgets all there are."""
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
        """Put the held samples at the front of storage with room for `needed` and half as many."""
        capacity = max(needed + needed // 2, _MIN_CAPACITY_SAMPLES)
        storage: Samples = np.empty(capacity, np.float32)
        storage[: self._held] = self._storage[self._offset : self._offset + self._held]
        self._storage = storage
        self._offset = 0
