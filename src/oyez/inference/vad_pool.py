"""Scores windows of speech off the event loop, for all sessions in turn."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from oyez.vad.base import VoiceDetector

MAX_WINDOWS = 64
"""Most windows one call should carry (some 8 ms of work), so that sessions share fairly."""

Scores = tuple[NDArray[np.float32], object]
"""Probabilities, and the state for the stream's next call."""


class VadPool:
    """A detector on its own threads; calls run in the order they came."""

    def __init__(self, detector: VoiceDetector, *, threads: int = 1) -> None:
        self._detector = detector
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="vad")

    def initial_state(self) -> object:
        """The state before the first window of a stream."""
        return self._detector.initial_state()

    def score(self, samples: NDArray[np.float32], state: object) -> Future[Scores]:
        """Score whole windows of one stream; see `VoiceDetector.score`."""
        return self._threads.submit(self._detector.score, samples, state)

    def stop(self) -> None:
        """End the threads; what has not begun is cancelled."""
        self._threads.shutdown(wait=False, cancel_futures=True)
