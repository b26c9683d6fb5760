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
    Outputs: probabilities float32 [steps, streams, 1]; hn, cn like h, c.
    """
    convolutions, lstm = _weights(published)
    graph = _Graph()
    (basis, *_), *layers, (decoder, decoder_bias) = convolutions
    x = _spectra(graph, basis[:, 0])
    columns = FRAMES
    for (weight, bias), stride in zip(layers, _STRIDES, strict=True):
        matrix = unrolled(weight, columns, stride)
        columns = matrix.shape[1] // len(bias)
        x = graph.op("Gemm", x, graph.constant(matrix), graph.constant(np.tile(bias, columns)))
        x = graph.op("Relu", x)
    steps = graph.op("Gather", x, "places", axis=0)
    weights = [graph.constant(weight) for weight in lstm]
    heard, _, _ = graph.ops(
        "LSTM", ("", "hn", "cn"), steps, *weights, "lengths", "h", "c", hidden_size=STATE_WIDTH
    )
    heard = graph.op("Relu", graph.op("Squeeze", heard, graph.integers(1)))
    odds = graph.op("MatMul", heard, graph.constant(decoder[0]))
    odds = graph.op("Add", odds, graph.constant(decoder_bias))
    graph.ops("Sigmoid", ("probabilities",), odds)
    return _serialized(graph)


def unrolled(weight: Weights, columns: int, stride: int) -> Weights:
    """A convolution over so many columns, padded by one, as one matrix product.

    weight: [out, in, taps]. The matrix: [columns * in, fewer columns * out].
    """
    width_out, width_in, taps = weight.shape
    columns_out = (columns - 1) // stride + 1
    matrix = np.zeros((columns, width_in, columns_out, width_out), np.float32)
    for column_out in range(columns_out):
        for tap in range(taps):
            column = column_out * stride + tap - 1
            if 0 <= column < columns:
                matrix[column, :, column_out] = weight[:, :, tap].T
    return matrix.reshape(columns * width_in, columns_out * width_out)


def _spectra(graph: _Graph, basis: Weights) -> str:
    """Magnitudes of the frames of each window, [n, FRAMES * bins]."""
    tail = graph.integers(0, 0, 0, HOP_SAMPLES // 2)
    hops = graph.op("Pad", "windows", tail, mode="reflect")
    hops = graph.op("Reshape", hops, graph.integers(-1, FRAMES + 1, HOP_SAMPLES))
    firsts, seconds = graph.slice(hops, 0, FRAMES), graph.slice(hops, 1, FRAMES + 1)
    frames = graph.op("Concat", firsts, seconds, axis=2)
    frames = graph.op("Reshape", frames, graph.integers(-1, FRAME_SAMPLES))
    spectra = graph.op("MatMul", frames, graph.constant(basis.T))
    real, imaginary = graph.ops("Split", ("", ""), spectra, axis=1, num_outputs=2)
    real, imaginary = graph.op("Mul", real, real), graph.op("Mul", imaginary, imaginary)
    magnitudes = graph.op("Sqrt", graph.op("Add", real, imaginary))
    return graph.op("Reshape", magnitudes, graph.integers(-1, FRAMES * len(basis) // 2))


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

    def slice(self, x: str, start: int, end: int) -> str:
        """Along the second axis."""
        return self.op("Slice", x, *(self.integers(value) for value in (start, end, 1)))

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
