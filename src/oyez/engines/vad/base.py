"""The contract of voice activity detectors. Pure types: any room may import this module."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WINDOW_SAMPLES = 512
"""A detector scores windows of 512 samples: 32 ms at 16 kHz."""

Stretch = tuple[NDArray[np.float32], object]
"""Whole windows of one stream, float32 [n * WINDOW_SAMPLES] at 16 kHz, and the state before."""
Scores = tuple[NDArray[np.float32], object]
"""Probabilities, float32 [n] in 0…1, and the state for the stream's next call."""


class VoiceDetector(Protocol):
    """A loaded model; the state of a stream lives in the opaque `state` it hands back.

    Calling it is thread-safe. Detectors inherit from this class.
    """

    def initial_state(self) -> object:
        """The state before the first window of a stream."""
        ...

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        """Score whole windows of one stream, in order. See `Stretch` and `Scores`.

        Cutting the same stream into other calls gives the same probabilities. Raises ValueError
        if a window is not whole.
        """
        ...

    def score_many(self, stretches: Sequence[Stretch]) -> list[Scores]:
        """Score one stretch of each of several streams, in the order given.

        Who shares a call changes nobody's probabilities. Raises ValueError if any window is not
        whole.
        """
        return [self.score(samples, state) for samples, state in stretches]


def window_count(samples: NDArray[np.float32]) -> int:
    """How many windows these are. Raises ValueError if one is not whole."""
    if len(samples) % WINDOW_SAMPLES:
        raise ValueError(f"{len(samples)} samples are not whole windows of {WINDOW_SAMPLES}")
    return len(samples) // WINDOW_SAMPLES
