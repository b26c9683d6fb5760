"""Silero VAD v6 as a graph that scores windows of many streams at the same time.

The published graph steps its LSTM along the windows of a single stream, and its convolutions
multiply a few columns at a time. In this graph each layer is one matrix product over all windows,
and the LSTM steps all streams together. Weights and arithmetic are the published ones.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from oyez.engines.onnx_graph import Graph

HOP_SAMPLES = 128
FRAME_SAMPLES = 2 * HOP_SAMPLES
FRAMES = 4
"""How many spectra the model computes of a window."""
INPUT_SAMPLES = 576
"""A window and the samples just before it."""
STATE_WIDTH = 128
_STRIDES = (1, 2, 2, 1)
"""Strides of the convolutions over spectra. They reduce four columns to one."""

Weights = NDArray[np.float32]


def many_streams(published: ModelProto) -> bytes:
    """Return the graph, serialized. Raises ValueError if `published` is not Silero VAD v6.

    Inputs:
        windows: float32 [n, INPUT_SAMPLES].
        steps: int64 [steps, streams], which window each stream takes at each step.
        lengths: int32 [streams], how many steps each stream has; later ones have no effect.
        h, c: float32 [1, streams, STATE_WIDTH].

    Outputs:
        probabilities: float32 [steps, 1, streams, 1].
        hn, cn: like h and c.
    """
    convolutions, lstm = _weights(published)
    graph = Graph("silero")
    windows = graph.input("windows", TensorProto.FLOAT, "n", INPUT_SAMPLES)
    steps = graph.input("steps", TensorProto.INT64, "steps", "streams")
    lengths = graph.input("lengths", TensorProto.INT32, "streams")
    h, c = (graph.input(name, TensorProto.FLOAT, 1, "streams", STATE_WIDTH) for name in "hc")

    (basis, *_), *layers, (decoder, decoder_bias) = convolutions
    x, columns = _spectra(graph, windows, basis[:, 0]), FRAMES
    for (weight, bias), stride in zip(layers, _STRIDES, strict=True):
        x, columns = _convolution(graph, x, columns, weight, bias, stride)
    assert columns == 1
    x = graph.op("Gather", x, steps, axis=0)
    weights = [graph.constant(weight) for weight in lstm]
    x, hn, cn = graph.ops("LSTM", 3, x, *weights, lengths, h, c, hidden_size=STATE_WIDTH)
    logits = graph.op("MatMul", graph.op("Relu", x), graph.constant(decoder[0]))
    logits = graph.op("Add", logits, graph.constant(decoder_bias))
    graph.output("probabilities", graph.op("Sigmoid", logits))
    graph.output("hn", hn)
    graph.output("cn", cn)
    serialized: bytes = graph.model().SerializeToString()
    return serialized


def _spectra(graph: Graph, windows: str, basis: Weights) -> str:
    """Add the magnitudes of the frames of each window, [n, FRAMES * bins]."""
    bins = len(basis) // 2
    tail = graph.integers(0, 0, 0, HOP_SAMPLES // 2)
    hops = graph.op("Pad", windows, tail, mode="reflect")
    # each frame is two hops, and shares one with the next
    hop_pairs = [[frame, frame + 1] for frame in range(FRAMES)]
    frames = _rows(graph, hops, FRAMES + 1, HOP_SAMPLES, hop_pairs)
    spectra = graph.op("MatMul", frames, graph.constant(basis.T))
    powers = graph.ops("Split", 2, graph.op("Mul", spectra, spectra), axis=1, num_outputs=2)
    magnitudes = graph.op("Sqrt", graph.op("Add", *powers))
    return graph.op("Reshape", magnitudes, graph.integers(-1, FRAMES * bins))


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
