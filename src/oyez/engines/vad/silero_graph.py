"""Silero VAD v6 as a graph that takes windows of many streams at once.

The published graph walks its LSTM along the windows of a single stream, and its convolutions
multiply a few columns at a time. Here each layer is one matrix product over all windows, and the
LSTM steps all streams together. Weights and arithmetic are the published ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 8
HOP_SAMPLES = 128
FRAME_SAMPLES = 2 * HOP_SAMPLES
FRAMES = 4
"""Spectra that the model sees of a window."""
INPUT_SAMPLES = 576
"""A window and the samples just before it."""
STATE_WIDTH = 128
_STRIDES = (1, 2, 2, 1)
"""Of the convolutions over spectra. They leave one column of the four."""

Weights = NDArray[np.float32]


def many_streams(published: ModelProto) -> bytes:
    """The graph, serialized. Raises ValueError if `published` is not Silero VAD v6.

    Inputs: windows float32 [n, INPUT_SAMPLES]; places int64 [steps, streams], which window each
    stream hears at each step; lengths int32 [streams], how many steps each has (places after
    them count for nothing); h, c float32 [1, streams, STATE_WIDTH].
    Outputs: probabilities float32 [steps, 1, streams, 1]; hn, cn like h, c.
    """
    convolutions, lstm = _weights(published)
    graph = _Graph()
    (basis, *_), *layers, (decoder, decoder_bias) = convolutions
    x, columns = _spectra(graph, basis[:, 0]), FRAMES
    for (weight, bias), stride in zip(layers, _STRIDES, strict=True):
        x, columns = _convolution(graph, x, columns, weight, bias, stride)
    assert columns == 1
    steps = graph.op("Gather", x, "places", axis=0)
    weights = [graph.constant(weight) for weight in lstm]
    heard, _, _ = graph.ops(
        "LSTM", ("", "hn", "cn"), steps, *weights, "lengths", "h", "c", hidden_size=STATE_WIDTH
    )
    odds = graph.op("MatMul", graph.op("Relu", heard), graph.constant(decoder[0]))
    odds = graph.op("Add", odds, graph.constant(decoder_bias))
    graph.ops("Sigmoid", ("probabilities",), odds)
    return _serialized(graph)


def _spectra(graph: _Graph, basis: Weights) -> str:
    """Magnitudes of the frames of each window, [n, FRAMES * bins]."""
    bins = len(basis) // 2
    tail = graph.integers(0, 0, 0, HOP_SAMPLES // 2)
    hops = graph.op("Pad", "windows", tail, mode="reflect")
    # each frame is two hops, and shares one with the next
    hop_pairs = [[frame, frame + 1] for frame in range(FRAMES)]
    frames = _rows(graph, hops, FRAMES + 1, HOP_SAMPLES, hop_pairs)
    spectra = graph.op("MatMul", frames, graph.constant(basis.T))
    powers = graph.ops("Split", ("", ""), graph.op("Mul", spectra, spectra), axis=1, num_outputs=2)
    magnitudes = graph.op("Sqrt", graph.op("Add", *powers))
    return graph.op("Reshape", magnitudes, graph.integers(-1, FRAMES * bins))


def _convolution(
    graph: _Graph, x: str, columns: int, weight: Weights, bias: Weights, stride: int
) -> tuple[str, int]:
    """ReLU of a convolution over [n, columns * in], padded by one: [n, fewer * out], and how many.

    weight: [out, in, taps].
    """
    width_out, width_in, taps = weight.shape
    starts = range(-1, columns - 1, stride)
    # a tap that meets nothing but padding is left out
    used = [tap for tap in range(taps) if any(0 <= start + tap < columns for start in starts)]
    rows = _rows(graph, x, columns, width_in, [[start + tap for tap in used] for start in starts])
    matrix = weight[:, :, used].transpose(2, 1, 0).reshape(-1, width_out)
    y = graph.op("Relu", graph.op("Gemm", rows, graph.constant(matrix), graph.constant(bias)))
    if len(starts) > 1:
        y = graph.op("Reshape", y, graph.integers(-1, len(starts) * width_out))
    return y, len(starts)


def _rows(graph: _Graph, x: str, columns: int, width: int, sources: list[list[int]]) -> str:
    """Of [n, columns * width]: a row for each list of columns, [n * rows, …]. Those there are not
    are zero."""
    if sources == [list(range(columns))]:
        return x
    padding = columns
    places = [place if 0 <= place < columns else padding for row in sources for place in row]
    x = graph.op("Reshape", x, graph.integers(-1, columns, width))
    if padding in places:
        x = graph.op("Pad", x, graph.integers(0, 0, 0, 0, 1, 0))
    x = graph.op("Gather", x, graph.integers(*places), axis=1)
    return graph.op("Reshape", x, graph.integers(-1, len(sources[0]) * width))


def _weights(published: ModelProto) -> tuple[list[list[Weights]], list[Weights]]:
    """Those of each convolution, in order, and those of the LSTM."""
    arrays = {each.name: numpy_helper.to_array(each) for each in published.graph.initializer}

    def of(kind: str) -> list[list[Weights]]:
        nodes = (node for node in published.graph.node if node.op_type == kind)
        return [[arrays[name] for name in node.input[1:4] if name in arrays] for node in nodes]

    convolutions, lstms = of("Conv"), of("LSTM")
    if len(convolutions) != len(_STRIDES) + 2 or [len(lstm) for lstm in lstms] != [3]:
        raise ValueError(f"{len(convolutions)} convolutions, {len(lstms)} LSTMs: not Silero VAD v6")
    return convolutions, lstms[0]


def _serialized(graph: _Graph) -> bytes:
    state = (1, "streams", STATE_WIDTH)
    inputs = [
        helper.make_tensor_value_info("windows", TensorProto.FLOAT, ("n", INPUT_SAMPLES)),
        helper.make_tensor_value_info("places", TensorProto.INT64, ("steps", "streams")),
        helper.make_tensor_value_info("lengths", TensorProto.INT32, ("streams",)),
        *(helper.make_tensor_value_info(name, TensorProto.FLOAT, state) for name in "hc"),
    ]
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in ("probabilities", "hn", "cn")
    ]
    onnx_graph = helper.make_graph(graph.nodes, "silero", inputs, outputs, graph.constants)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(onnx_graph, opset_imports=opsets, ir_version=IR_VERSION)
    serialized: bytes = model.SerializeToString()
    return serialized


class _Graph:
    """Collects nodes and constants. Methods return the names of what they make."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, array: NDArray[Any]) -> str:
        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        return self.ops(kind, ("",), *inputs, **attributes)[0]

    def ops(
        self, kind: str, outputs: tuple[str, ...], *inputs: str, **attributes: Any
    ) -> list[str]:
        """A node with several outputs; those without a name are given one."""
        own = f"{kind}_{len(self.nodes)}"
        names = [name or f"{own}_{index}" for index, name in enumerate(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, **attributes))
        return names
