"""Builds ONNX graphs from expressions, also with quantised weights, on top of `onnx.helper`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10
MICROSOFT = "com.microsoft"
"""The domain of ONNX Runtime's own operators."""

BLOCK = 64
"""How many int8 weights share one scale. With float32 scales this costs 8.5 bits a weight."""
ROUGH_BLOCK = 32
"""How many 4-bit weights share one scale."""
_INT8_ACTIVATIONS = 4
"""MatMulNBits' accuracy level for int8 arithmetic."""
_MIN_SCALE = 1e-10
"""Keeps scales above zero where all weights are zero."""

Floats = NDArray[np.float32]


def load_session(
    model: bytes | Path, threads: int, *, arena: bool = True
) -> onnxruntime.InferenceSession:
    """Load a graph, to run it on the CPU with so many threads. arena: whether freed memory is kept
    for the next run."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_cpu_mem_arena = arena
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


class Graph:
    """Collects the nodes and constants of one graph.

    Methods that add something return the name of its output, which other methods take as input.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._public_names: dict[str, str] = {}

    def input(self, name: str, dtype: int, *shape: int | str) -> str:
        """Add an input of the graph. dtype: of `TensorProto`. shape: sizes, or names of sizes that
        are known only at run time."""
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: int = TensorProto.FLOAT) -> None:
        """Make `value` an output of the graph, called `name`."""
        self._public_names[value] = name
        self._outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def constant(self, array: NDArray[Any]) -> str:
        """Add an array that is part of the graph."""
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        """Add a constant int64 [n]."""
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        """Add a constant float32 scalar."""
        return self.constant(np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node with one output."""
        return self.ops(kind, 1, *inputs, **attributes)[0]

    def ops(
        self, kind: str, outputs: int, *inputs: str, domain: str = "", **attributes: Any
    ) -> list[str]:
        """Add a node with several outputs. An input "" stands for an optional input left out."""
        names = [f"n{len(self._nodes)}_{index}" for index in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, domain=domain, **attributes)
        self._nodes.append(node)
        return names

    def model(self) -> ModelProto:
        """Return the whole graph as a model."""
        # values are renamed in place, because an Identity node per output would copy it
        for node in self._nodes:
            for values in (node.input, node.output):
                values[:] = [self._public_names.get(value, value) for value in values]
        graph = helper.make_graph(
            self._nodes, self._name, self._inputs, self._outputs, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


class QuantisedGraph(Graph):
    """A graph whose matrix products quantise weights and activations.

    Each row of a product is quantised by itself, so that its result depends neither on the other
    rows of a batch nor on the number of rows.
    """

    def linear_by_block(self, x: str, weight: Floats, bias: Floats) -> str:
        """Add x @ weight.T + bias, with `weight` [out, in] in int8. BLOCK weights share a scale."""
        rounded, scales = _quantise(weight.reshape(len(weight), -1, BLOCK))
        steps = (rounded + 128).astype(np.uint8)
        return self._blockwise(x, 8, BLOCK, weight.shape, steps, scales, bias)

    def linear_by_channel(self, x: str, weight: Floats, bias: Floats) -> str:
        """Add x @ weight.T + bias, with `weight` [out, in] in int8. All weights of an output share
        a scale: this is less exact than `linear_by_block`, and faster on hundreds of rows."""
        rounded, scales = _quantise(weight)
        peak = self.op("ReduceMax", self.op("Abs", x), self.integers(-1), keepdims=1)
        step = self.op("Mul", peak, self.number(1 / 127))
        step = self.op("Max", step, self.number(_MIN_SCALE))
        one, middle = self.number(1), self.constant(np.array(128, np.uint8))
        steps = self.op("QuantizeLinear", self.op("Div", x, step), one, middle)
        kernel, scale = self.constant(rounded.astype(np.int8).T), self.constant(scales)
        product = self.op(
            "MatMulIntegerToFloat", steps, kernel, one, scale, middle, domain=MICROSOFT
        )
        return self.op("Add", self.op("Mul", product, step), self.constant(bias))

    def rough_linear(self, x: str, weight: Floats) -> str:
        """Add x @ weight.T with weights of 4 bits. It reads half the bytes of `linear_by_block` and
        is only approximately right, which is enough to choose candidates."""
        blocks = weight.reshape(len(weight), -1, ROUGH_BLOCK)
        peaks = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], axis=-1)[..., 0]
        # steps go from -8 to 7: the scale has the sign that gives the peak the longer side
        scales = np.where(np.abs(peaks) < _MIN_SCALE, _MIN_SCALE, peaks / -8)
        steps = np.clip(np.rint(blocks / scales[..., None]) + 8, 0, 15).astype(np.uint8)
        pairs = steps[..., 0::2] | (steps[..., 1::2] << 4)
        return self._blockwise(x, 4, ROUGH_BLOCK, weight.shape, pairs, scales.reshape(-1))

    def _blockwise(
        self,
        x: str,
        bits: int,
        block: int,
        shape: tuple[int, ...],
        steps: NDArray[np.uint8],
        scales: Floats,
        bias: Floats | None = None,
    ) -> str:
        """Add a product with weights of `bits` bits, `block` of which share a scale. shape: [out,
        in], of all weights."""
        inputs = [x, self.constant(steps), self.constant(scales)]
        if bias is not None:
            inputs += ["", "", self.constant(bias)]
        return self.op(
            "MatMulNBits",
            *inputs,
            domain=MICROSOFT,
            K=shape[1],
            N=shape[0],
            bits=bits,
            block_size=block,
            accuracy_level=_INT8_ACTIVATIONS,
        )


def _quantise(weights: Floats) -> tuple[Floats, Floats]:
    """Return whole numbers from -127 to 127, and the flat scales that turn them back into
    `weights`. Weights along the last axis share a scale."""
    scales = np.maximum(np.abs(weights).max(axis=-1), _MIN_SCALE) / 127
    return np.rint(weights / scales[..., None]), scales.reshape(-1)
