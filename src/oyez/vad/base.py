"""The contract of voice activity detectors. Pure types: any room may import this module."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WINDOW_SAMPLES = 512
"""A detector scores windows of 512 samples: 32 ms at 16 kHz."""


class VoiceDetector(Protocol):
    """A loaded model; the state of a stream lives in the opaque `state` it hands back.

    Calling it is thread-safe.
    """

    def initial_state(self) -> object:
        """The state before the first window of a stream."""
        ...

    def score(
        self, samples: NDArray[np.float32], state: object
    ) -> tuple[NDArray[np.float32], object]:
        """Score whole windows of one stream, in order.

        samples: float32 [n * WINDOW_SAMPLES], 16 kHz. Returns probabilities float32 [n] in
        0…1 and the state for the next call. Cutting the same stream into other calls gives
        the same probabilities.
        """
        ...
