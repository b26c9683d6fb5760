"""Encodes audio, followed by silence that is sampled with growing strides.

Whisper was trained on inputs of 30 s, in which silence follows the audio. Without that silence it
does not recognise the end of the text and repeats everything. But positions of silence differ only
in their number. So the encoder gets a few of these positions, each counted as many times as the
positions it stands for: log(count) is added to the attention on it. The model sees the input it was
trained on, at the cost of about one second more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.audio.pcm import Samples
from oyez.engines.whisper.mel import POSITION_SAMPLES, LogMel
from oyez.engines.whisper.weights import Sizes
from oyez.engines.whisper_onnx.decoder import Encoded, Floats

MARGIN_POSITIONS = 25
"""Positions of silence that are all kept, because the features there still contain the echo of the
last sound."""
STRIDE_GROWTH = 1.25
MAX_STRIDE = 64


class EncodedAudio(NamedTuple):
    """What the encoder makes of the audio of one request."""

    encoded: Encoded
    features: Floats
    """float32 [layers, width]; see `Hypothesis.features`."""
    audio_positions: int
    """How many of the first encoder positions are audio; the others are silence."""


class Encoder:
    """One encoder graph. Thread-safe: it has no state."""

    def __init__(self, session: onnxruntime.InferenceSession, sizes: Sizes) -> None:
        self._session = session
        self._outputs = [output.name for output in session.get_outputs()]
        self._positions = sizes.positions
        self._log_mel = LogMel(sizes.bands)

    def encode(self, samples: Samples) -> EncodedAudio:
        """Encode float32 [n], which must leave MARGIN_POSITIONS of the full input free."""
        audio, inputs = lay_out(len(samples), self._positions)
        computed_positions = audio + MARGIN_POSITIONS
        inputs["mel"] = self._log_mel(samples, 2 * computed_positions + 1)[None]
        states = dict(zip(self._outputs, self._session.run(None, inputs), strict=True))
        features = states.pop("features")
        return EncodedAudio({**states, "cross_bias": inputs["bias"]}, features[0], audio)


def lay_out(sample_count: int, total: int) -> tuple[int, dict[str, NDArray[Any]]]:
    """Return how many positions audio of this length has, and the encoder's inputs for it besides
    the log-mel features; see `graph.encoder`.

    total: positions of the full input.
    """
    audio = max(1, -(-sample_count // POSITION_SAMPLES))
    attended = list(range(min(audio + MARGIN_POSITIONS, total)))
    # how many positions each stands for
    counts = [1] * len(attended)
    at, stride = len(attended), 1.0
    while at < total:
        stride = min(stride * STRIDE_GROWTH, MAX_STRIDE)
        counts.append(min(round(stride), total - at))
        attended.append(at + counts[-1] // 2)
        at += counts[-1]
    positions = np.array([attended], np.int64)
    pooling = np.zeros((1, len(attended), 1), np.float32)
    pooling[:, :audio] = 1 / audio
    return audio, {
        # all silence behind the margin has the features of its last position
        "sources": np.minimum(positions, audio + MARGIN_POSITIONS - 1),
        "positions": positions,
        "bias": np.log(counts).astype(np.float32)[None, None, None],
        "pooling": pooling,
    }
