"""Whisper's log-mel spectrogram, computed only for the audio that is there."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.onnx_graph import Graph, load_session

HOP_SAMPLES = 160
"""Distance between frames: 10 ms."""
FRAME_SAMPLES = 400
"""Audio of one frame: 25 ms."""
BINS = FRAME_SAMPLES // 2 + 1
POSITION_SAMPLES = 2 * HOP_SAMPLES
"""Audio of one encoder position: 20 ms."""

Frames = NDArray[np.float32]


def mel_filters(bands: int) -> NDArray[np.float32]:
    """Return triangular filters [bands, BINS] of equal area on Slaney's mel scale.

    Malcolm Slaney, *Auditory Toolbox* (1998): linear below 1 kHz, logarithmic above.
    """
    bins_hz = np.fft.rfftfreq(FRAME_SAMPLES, 1 / SAMPLE_RATE)
    edges_hz = _mel_to_hz(np.linspace(0, _hz_to_mel(SAMPLE_RATE / 2), bands + 2))
    widths = np.diff(edges_hz)
    ramps = edges_hz[:, None] - bins_hz[None]
    rising = -ramps[:-2] / widths[:-1, None]
    falling = ramps[2:] / widths[1:, None]
    area = 2 / (edges_hz[2:] - edges_hz[:-2])
    filters = np.maximum(0, np.minimum(rising, falling)) * area[:, None]
    return filters.astype(np.float32)


class LogMel:
    """Computes the features that Whisper expects of audio padded with zeros to 30 s.

    It runs an ONNX graph on one thread. numpy's matrix products would wake one thread per core for
    work that a single thread does in a millisecond.
    """

    def __init__(self, bands: int) -> None:
        self._session = load_session(_graph(bands).SerializeToString(), 1)

    def __call__(self, samples: Samples, frames: int) -> Frames:
        """Return the first `frames` frames of `samples` followed by silence, [bands, frames].

        They equal the same frames of Whisper's features for 30 s. The frames left out are silence,
        which the floor (eight decades below the loudest bin) maps to one value.
        """
        half = FRAME_SAMPLES // 2
        head = np.pad(samples[: half + 1], (0, max(0, half + 1 - len(samples))))[1:][::-1]
        tail = max(0, (frames - 1) * HOP_SAMPLES + half - len(samples))
        padded = np.concatenate([head, samples, np.zeros(tail, np.float32)])
        features: Frames = self._session.run(None, {"samples": padded[None, None]})[0][0]
        return np.ascontiguousarray(features[:, :frames])


def _graph(bands: int) -> ModelProto:
    """Build the graph from samples, float32 [1, 1, n], to features, float32 [1, bands, frames].
    The spectrum is a convolution with windowed cosines and sines."""
    graph = Graph("log-mel")
    samples = graph.input("samples", TensorProto.FLOAT, 1, 1, "n")
    angles = 2 * np.pi / FRAME_SAMPLES * np.outer(np.arange(BINS), np.arange(FRAME_SAMPLES))
    waves = np.concatenate([np.cos(angles), np.sin(angles)]) * np.hanning(FRAME_SAMPLES + 1)[:-1]
    kernel = graph.constant(waves[:, None].astype(np.float32))
    spectrum = graph.op("Conv", samples, kernel, strides=[HOP_SAMPLES])
    real, imaginary = graph.ops(
        "Split", 2, graph.op("Mul", spectrum, spectrum), axis=1, num_outputs=2
    )
    filters = graph.constant(mel_filters(bands))
    power = graph.op("MatMul", filters, graph.op("Add", real, imaginary))
    clipped = graph.op("Max", power, graph.number(1e-10))
    decades = graph.op("Mul", graph.op("Log", clipped), graph.number(1 / np.log(10)))
    floor = graph.op("Sub", graph.op("ReduceMax", decades, keepdims=1), graph.number(8))
    raised = graph.op("Add", graph.op("Max", decades, floor), graph.number(4))
    graph.output("features", graph.op("Mul", raised, graph.number(0.25)))
    return graph.model()


def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + float(np.log(hz / 1000)) * 27 / np.log(6.4)


def _mel_to_hz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mels < 15, mels * 200 / 3, 1000 * np.exp((mels - 15) * np.log(6.4) / 27))
