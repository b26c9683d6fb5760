"""The encoder's input: the audio, followed by silence that is sampled with growing strides.

Whisper was trained on inputs of 30 s, in which silence follows the audio. Without that silence it
does not recognise the end of the text and repeats everything. But positions of silence differ only
in their number. So the encoder gets a few of these positions, each counted as many times as the
positions it stands for: log(count) is added to the attention on it. The model sees the input it was
trained on, at the cost of about one second more.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oyez.engines.whisper.mel import POSITION_SAMPLES

MARGIN_POSITIONS = 25
"""Positions of silence that are all kept, because the features there still contain the echo of the
last sound."""
STRIDE_GROWTH = 1.25
MAX_STRIDE = 64
MASKED = -1e9
"""Added to the attention on a position that must not be attended to."""


@dataclass(frozen=True, slots=True)
class EncoderInput:
    """The encoder's inputs besides the log-mel features; see `graph.encoder`."""

    audio_positions: tuple[int, ...]
    """For each row, how many of the first positions are audio, at least 1."""
    sources: NDArray[np.int64]
    positions: NDArray[np.int64]
    bias: NDArray[np.float32]
    pooling: NDArray[np.float32]

    @property
    def computed_positions(self) -> int:
        """How many positions the encoder needs features for."""
        return max(self.audio_positions) + MARGIN_POSITIONS


def lay_out(sample_counts: Sequence[int], total: int) -> EncoderInput:
    """Return the input for a batch of audio with these lengths.

    total: positions of the full input. Each row must leave MARGIN_POSITIONS of them free.
    """
    audio = tuple(max(1, -(-count // POSITION_SAMPLES)) for count in sample_counts)
    rows = [_row(count, total) for count in audio]
    width = max(len(positions) for positions, _ in rows)
    shape = (len(rows), width)
    positions, sources = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    bias = np.full((len(rows), 1, 1, width), MASKED, np.float32)
    pooling = np.zeros((len(rows), width, 1), np.float32)
    for row, (attended, counts) in enumerate(rows):
        positions[row, : len(attended)] = attended
        # all silence behind the margin has the features of its last position
        sources[row] = np.minimum(positions[row], audio[row] + MARGIN_POSITIONS - 1)
        bias[row, 0, 0, : len(attended)] = np.log(counts)
        pooling[row, : audio[row]] = 1 / audio[row]
    return EncoderInput(audio, sources, positions, bias, pooling)


def _row(audio: int, total: int) -> tuple[list[int], list[float]]:
    """Return the attended positions of one row, and how many positions each stands for."""
    attended = list(range(min(audio + MARGIN_POSITIONS, total)))
    counts = [1.0] * len(attended)
    at, stride = len(attended), 1.0
    while at < total:
        stride = min(stride * STRIDE_GROWTH, MAX_STRIDE)
        count = min(round(stride), total - at)
        attended.append(at + count // 2)
        counts.append(count)
        at += count
    return attended, counts
