"""Silero VAD v6 on ONNX Runtime, with the weights that are in the faster-whisper wheel.

The model detects speech best at some levels and misses clear speech at others, differently for each
voice and room. So each stream is scored twice, as it is and at an even level, and the higher
probability counts.

The even level follows the loudest recent window. Its estimate rises at once, so that the beginning
of speech is not overdriven, and falls slowly, so that noise is not amplified in a pause. The gain
of a window depends only on the audio up to its end.

The published graph steps its LSTM along the windows of a single stream, and its convolutions
multiply a few columns at a time. `many_streams` makes of it a graph that scores windows of many
streams at the same time: each layer is one matrix product over all windows, and the LSTM steps all
streams together. Weights and arithmetic are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib.util import find_spec
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, AudioChunk, Scores, VoiceDetector, window_count
from oyez.engines.onnx_graph import Graph, load_session

_MODEL_FILE = "silero_vad_v6.onnx"
_CONTEXT_SAMPLES = 64
"""The model's input is a window and this many samples before it."""
_INPUT_SAMPLES = _CONTEXT_SAMPLES + WINDOW_SAMPLES
_STATE_WIDTH = 128
_HOP_SAMPLES = 128
_FRAMES = 4
"""How many spectra the model computes of a window, each of two hops."""
_STRIDES = (1, 2, 2, 1)
"""Strides of the convolutions over spectra. They reduce four columns to one."""

_TARGET_POWER: float = 10 ** (-28 / 10)
"""The mean power that the loudest recent window is brought to: 28 dB below full scale."""
_MIN_LOUDNESS: float = 10 ** (-58 / 10)
"""Lower estimates of the loudness are raised to this: no gain is above 30 dB."""
_RELEASE: float = 10 ** (-3 / (SAMPLE_RATE / WINDOW_SAMPLES) / 10)
"""Factor by which the loudness falls from one window to the next: 3 dB a second."""
INITIAL_LOUDNESS: float = 10 ** (-45 / 10)
"""The loudness before the first window. It is low, because loud speakers are detected anyway."""

Weights = NDArray[np.float32]


class _State(NamedTuple):
    context: NDArray[np.float32]
    """[_CONTEXT_SAMPLES], the last samples at their original level."""
    h: NDArray[np.float32]
    """[2, _STATE_WIDTH], of the LSTM: at the original level and at the even level."""
    c: NDArray[np.float32]
    """[2, _STATE_WIDTH], like h."""
    loudness: float


_NO_STATE = np.zeros((2, _STATE_WIDTH), np.float32)
_INITIAL_STATE = _State(
    np.zeros(_CONTEXT_SAMPLES, np.float32), _NO_STATE, _NO_STATE, INITIAL_LOUDNESS
)


class SileroDetector(VoiceDetector):
    """Scores a window in about 23 µs of one core if streams share calls, and in 33 µs otherwise.

    Raises FileNotFoundError if the weights are not installed, and ValueError if they are not v6.
    """

    def __init__(self) -> None:
        # a few windows are too little work to divide among threads
        self._session = load_session(many_streams(onnx.load(find_model())), threads=1)

    def initial_state(self) -> object:
        """Return the state before the first window of a stream."""
        return _INITIAL_STATE

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        """Score whole windows of one stream; see `VoiceDetector.score`."""
        return self.score_many([(samples, state)])[0]

    def score_many(self, chunks: Sequence[AudioChunk]) -> list[Scores]:
        """Score a chunk of each of several streams; see `VoiceDetector.score_many`."""
        # chunks without a window keep their own entry: no probabilities, the same state
        scores: list[Scores] = list(chunks)
        for group in group_by_length([window_count(samples) for samples, _ in chunks]):
            found = self._run([chunks[index] for index in group])
            for index, each in zip(group, found, strict=True):
                scores[index] = each
        return scores

    def _run(self, chunks: Sequence[AudioChunk]) -> list[Scores]:
        """Score chunks of at least one window each in one run of the graph."""
        states = [state for _, state in chunks if isinstance(state, _State)]
        lengths = [len(samples) // WINDOW_SAMPLES for samples, _ in chunks]
        windows, loudness = _lay_out(chunks, states, lengths)
        count, twice = len(chunks), lengths * 2
        probabilities, h, c = self._session.run(
            ["probabilities", "hn", "cn"],
            {
                "windows": windows,
                "steps": _steps(twice),
                "lengths": np.array(twice, np.int32),
                "h": np.stack([state.h for state in states], 1).reshape(1, -1, _STATE_WIDTH),
                "c": np.stack([state.c for state in states], 1).reshape(1, -1, _STATE_WIDTH),
            },
        )
        higher = np.maximum(probabilities[:, 0, :count, 0], probabilities[:, 0, count:, 0])
        # copies: a view would keep the arrays of the whole call in memory with each stream
        return [
            (
                higher[:length, stream].copy(),
                _State(
                    chunks[stream][0][-_CONTEXT_SAMPLES:].copy(),
                    h[0, stream::count].copy(),
                    c[0, stream::count].copy(),
                    loudness[stream],
                ),
            )
            for stream, length in enumerate(lengths)
        ]


def group_by_length(lengths: Sequence[int]) -> list[list[int]]:
    """Return groups of indices of chunks that share a run. Empty chunks are in no group.

    All streams of a run take as many steps as the longest chunk, so no chunk of a group is more
    than twice as long as another.
    """
    groups: dict[int, list[int]] = {}
    for index, length in enumerate(lengths):
        if length:
            groups.setdefault((length - 1).bit_length(), []).append(index)
    return list(groups.values())


def loudness_gains(
    windows: NDArray[np.float32], loudness: float
) -> tuple[NDArray[np.float32], float]:
    """Return the gains [n] that bring windows [n, WINDOW_SAMPLES] of one stream to an even level,
    and the loudness after them.

    loudness: mean power of the loudest recent window before these. The gains do not depend on how a
    stream is divided into calls.
    """
    followed = []
    for energy in np.einsum("ij,ij->i", windows, windows).tolist():
        loudness = max(energy / WINDOW_SAMPLES, loudness * _RELEASE, _MIN_LOUDNESS)
        followed.append(loudness)
    return np.sqrt(_TARGET_POWER / np.array(followed)).astype(np.float32), loudness


def _steps(lengths: Sequence[int]) -> NDArray[np.int64]:
    """Return which window each stream takes at each step, [steps, streams]. After its last window
    a stream has any."""
    *starts, end = accumulate(lengths, initial=0)
    steps = range(max(lengths))
    return np.array([[min(start + step, end - 1) for start in starts] for step in steps])


def _lay_out(
    chunks: Sequence[AudioChunk], states: Sequence[_State], lengths: Sequence[int]
) -> tuple[NDArray[np.float32], list[float]]:
    """Return the windows of all streams at their original level and then at an even level, each
    with the samples before it, [2 * n, _INPUT_SAMPLES]; and the loudness of each stream after
    them."""
    count = sum(lengths)
    windows = np.empty((2 * count, _INPUT_SAMPLES), np.float32)
    loudness = []
    end = 0
    for (samples, _), state, length in zip(chunks, states, lengths, strict=True):
        start, end = end, end + length
        own = samples.reshape(-1, WINDOW_SAMPLES)
        windows[start:end, _CONTEXT_SAMPLES:] = own
        windows[start, :_CONTEXT_SAMPLES] = state.context
        windows[start + 1 : end, :_CONTEXT_SAMPLES] = own[:-1, -_CONTEXT_SAMPLES:]
        gains, after = loudness_gains(own, state.loudness)
        windows[count + start : count + end] = windows[start:end] * gains[:, None]
        loudness.append(after)
    return windows, loudness


def find_model() -> Path:
    """Return the file of the weights. Raises FileNotFoundError if it is not installed."""
    # faster-whisper is only located: importing it would load a whole speech engine
    spec = find_spec("faster_whisper")
    for folder in spec.submodule_search_locations or () if spec else ():
        path = Path(folder) / "assets" / _MODEL_FILE
        if path.is_file():
            return path
    raise FileNotFoundError(
        f"the Silero weights ({_MODEL_FILE}) are missing: install faster-whisper >= 1.2, "
        "or choose the voice detector 'energy'"
    )


def many_streams(published: ModelProto) -> bytes:
    """Return the graph, serialized. Raises ValueError if `published` is not Silero VAD v6.

    Inputs:
        windows: float32 [n, _INPUT_SAMPLES].
        steps: int64 [steps, streams], which window each stream takes at each step.
        lengths: int32 [streams], how many steps each stream has; later ones have no effect.
        h, c: float32 [1, streams, _STATE_WIDTH].

    Outputs:
        probabilities: float32 [steps, 1, streams, 1].
        hn, cn: like h and c.
    """
    convolutions, lstm = _weights(published)
    graph = Graph("silero")
    windows = graph.input("windows", TensorProto.FLOAT, "n", _INPUT_SAMPLES)
    steps = graph.input("steps", TensorProto.INT64, "steps", "streams")
    lengths = graph.input("lengths", TensorProto.INT32, "streams")
    h, c = (graph.input(name, TensorProto.FLOAT, 1, "streams", _STATE_WIDTH) for name in "hc")

    (basis, *_), *layers, (decoder, decoder_bias) = convolutions
    x, columns = _spectra(graph, windows, basis[:, 0]), _FRAMES
    for (weight, bias), stride in zip(layers, _STRIDES, strict=True):
        x, columns = _convolution(graph, x, columns, weight, bias, stride)
    assert columns == 1
    x = graph.op("Gather", x, steps, axis=0)
    weights = [graph.constant(weight) for weight in lstm]
    x, hn, cn = graph.ops("LSTM", 3, x, *weights, lengths, h, c, hidden_size=_STATE_WIDTH)
    logits = graph.op("MatMul", graph.op("Relu", x), graph.constant(decoder[0]))
    logits = graph.op("Add", logits, graph.constant(decoder_bias))
    graph.output("probabilities", graph.op("Sigmoid", logits))
    graph.output("hn", hn)
    graph.output("cn", cn)
    serialized: bytes = graph.model().SerializeToString()
    return serialized


def _spectra(graph: Graph, windows: str, basis: Weights) -> str:
    """Add the magnitudes of the frames of each window, [n, _FRAMES * bins]."""
    bins = len(basis) // 2
    tail = graph.integers(0, 0, 0, _HOP_SAMPLES // 2)
    hops = graph.op("Pad", windows, tail, mode="reflect")
    # each frame is two hops, and shares one with the next
    hop_pairs = [[frame, frame + 1] for frame in range(_FRAMES)]
    frames = _rows(graph, hops, _FRAMES + 1, _HOP_SAMPLES, hop_pairs)
    spectra = graph.op("MatMul", frames, graph.constant(basis.T))
    powers = graph.ops("Split", 2, graph.op("Mul", spectra, spectra), axis=1, num_outputs=2)
    magnitudes = graph.op("Sqrt", graph.op("Add", *powers))
    return graph.op("Reshape", magnitudes, graph.integers(-1, _FRAMES * bins))


def _convolution(
    graph: Graph, x: str, columns: int, weight: Weights, bias: Weights, stride: int
) -> tuple[str, int]:
    """Add a convolution and ReLU over [n, columns * in], padded by one on both sides. Returns its
    output, [n, fewer * out], and the number of its columns.

    weight: [out, in, taps].
    """
    width_out, width_in, taps = weight.shape
    starts = range(-1, columns - 1, stride)
    # a tap that only ever multiplies padding is left out
    used = [tap for tap in range(taps) if any(0 <= start + tap < columns for start in starts)]
    rows = _rows(graph, x, columns, width_in, [[start + tap for tap in used] for start in starts])
    matrix = weight[:, :, used].transpose(2, 1, 0).reshape(-1, width_out)
    y = graph.op("Relu", graph.op("Gemm", rows, graph.constant(matrix), graph.constant(bias)))
    if len(starts) > 1:
        y = graph.op("Reshape", y, graph.integers(-1, len(starts) * width_out))
    return y, len(starts)


def _rows(graph: Graph, x: str, columns: int, width: int, sources: list[list[int]]) -> str:
    """Rearrange [n, columns * width] into [n * rows, …], with a row for each list of column
    indices. Columns that do not exist are zero."""
    if sources == [list(range(columns))]:
        return x
    padding = columns
    indices = [index if 0 <= index < columns else padding for row in sources for index in row]
    x = graph.op("Reshape", x, graph.integers(-1, columns, width))
    if padding in indices:
        x = graph.op("Pad", x, graph.integers(0, 0, 0, 0, 1, 0))
    x = graph.op("Gather", x, graph.integers(*indices), axis=1)
    return graph.op("Reshape", x, graph.integers(-1, len(sources[0]) * width))


def _weights(published: ModelProto) -> tuple[list[list[Weights]], list[Weights]]:
    """Return the weights of each convolution, in order, and those of the LSTM."""
    arrays = {each.name: numpy_helper.to_array(each) for each in published.graph.initializer}

    def of(kind: str) -> list[list[Weights]]:
        nodes = (node for node in published.graph.node if node.op_type == kind)
        return [[arrays[name] for name in node.input[1:4] if name in arrays] for node in nodes]

    convolutions, lstms = of("Conv"), of("LSTM")
    if len(convolutions) != len(_STRIDES) + 2 or [len(lstm) for lstm in lstms] != [3]:
        raise ValueError(f"{len(convolutions)} convolutions, {len(lstms)} LSTMs: not Silero VAD v6")
    return convolutions, lstms[0]
