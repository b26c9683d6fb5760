"""What the encoder looks at: the audio, and the silence after it in samples of growing stride.

Whisper was trained on windows of 30 s, in which silence follows the audio; without that
silence it does not know when to stop, and says everything again. But silence differs from one
place to the next in its position only. So the encoder is given a few of those positions, each
counted as many times as it stands for: log(count) added to the attention on it. The model sees
the window it was trained on at the cost of a second or so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

POSITION_SAMPLES = 320
"""Audio per encoder position: 20 ms."""
MARGIN = 25
"""Positions of silence kept as they are: they hold the last sound's echo in the features."""
STRIDE_GROWTH = 1.25
MAX_STRIDE = 64
NEVER = -1e9
"""Added to the attention on a position that does not exist."""


@dataclass(frozen=True, slots=True)
class Window:
    """The encoder's inputs beside the features; see `graph.encoder`."""

    real: tuple[int, ...]
    """Per row, how many of the first positions are audio (at least 1)."""
    sources: NDArray[np.int64]
    positions: NDArray[np.int64]
    bias: NDArray[np.float32]
    pooling: NDArray[np.float32]

    @property
    def computed(self) -> int:
        """Positions for which the encoder needs features."""
        return max(self.real) + MARGIN


def lay_out(sample_counts: Sequence[int], total: int) -> Window:
    """Windows for a batch, where the whole window has `total` positions.

    Every row must leave MARGIN positions free.
    """
    real = tuple(max(1, -(-count // POSITION_SAMPLES)) for count in sample_counts)
    rows = [_row(count, total) for count in real]
    width = max(len(positions) for positions, _ in rows)
    shape = (len(rows), width)
    positions, sources = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    bias = np.full((len(rows), 1, 1, width), NEVER, np.float32)
    pooling = np.zeros((len(rows), width, 1), np.float32)
    for row, (places, counts) in enumerate(rows):
        positions[row, : len(places)] = places
        sources[row] = np.minimum(positions[row], real[row] + MARGIN - 1)
        bias[row, 0, 0, : len(places)] = np.log(counts)
        pooling[row, : real[row]] = 1 / real[row]
    return Window(real, sources, positions, bias, pooling)


def _row(real: int, total: int) -> tuple[list[int], list[float]]:
    """Attended positions, and how many positions each stands for."""
    places = list(range(min(real + MARGIN, total)))
    counts = [1.0] * len(places)
    at, stride = len(places), 1.0
    while at < total:
        stride = min(stride * STRIDE_GROWTH, MAX_STRIDE)
        count = min(round(stride), total - at)
        places.append(at + count // 2)
        counts.append(count)
        at += count
    return places, counts
