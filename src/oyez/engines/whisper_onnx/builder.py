"""A few lines over onnx.helper: write a graph as expressions, with int8 weights."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10

BLOCK = 64
"""Weights that share one scale: int8 with float32 scales costs 8.5 bits a weight."""
ROUGH_BLOCK = 32
_INT8_ACTIVATIONS = 4
"""MatMulNBits' accuracy level for int8 arithmetic."""
_SMALLEST = 1e-10


class Graph:
    """Collects nodes and constants. Every method returns the name of its output."""

    def __init__(self, *, wide: bool) -> None:
        """`wide`: built for hundreds of rows at once, where whole columns of weights share one
        scale (faster); else for a few, where blocks of BLOCK weights do (more exact)."""
        self._wide = wide
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._public: dict[str, str] = {}

    def input(self, name: str, dtype: int, *shape: int | str) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: int = TensorProto.FLOAT) -> None:
        self._public[value] = name
        self._outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def constant(self, array: NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

    def number(self, value: float) -> str:
        return self.constant(np.array(value, np.float32))

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        return self.ops(kind, 1, *inputs, domain=domain, **attributes)[0]

    def ops(
        self, kind: str, outputs: int, *inputs: str, domain: str = "", **attributes: Any
    ) -> Sequence[str]:
        names = [f"n{len(self._nodes)}_{index}" for index in range(outputs)]
        node = helper.make_node(kind, list(inputs), names, domain=domain, **attributes)
        self._nodes.append(node)
        return names

    def linear(self, x: str, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> str:
        """x @ weight.T + bias with `weight` [out, in] in int8.

        Every row of `x` is rounded by itself, so that neither its neighbours in a batch nor
        the number of tokens fed at once can change what becomes of it.
        """
        floats = weight.astype(np.float32)
        return (self._by_channel if self._wide else self._by_block)(x, floats, bias)

    def rough_linear(self, x: str, weight: NDArray[Any]) -> str:
        """x @ weight.T in 4 bits, for a first choice: half the bytes to read, roughly right."""
        width_out, width_in = weight.shape
        blocks = weight.astype(np.float32).reshape(width_out, -1, ROUGH_BLOCK)
        peaks = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], axis=-1)[..., 0]
        # steps go from -8 to 7: the sign of the scale gives the peak the longer side
        scales = np.where(np.abs(peaks) < _SMALLEST, _SMALLEST, peaks / -8)
        steps = np.clip(np.rint(blocks / scales[..., None]) + 8, 0, 15).astype(np.uint8)
        pairs = steps[..., 0::2] | (steps[..., 1::2] << 4)
        return self._blockwise(x, pairs, scales.reshape(-1), None, (4, ROUGH_BLOCK, weight.shape))

    def _by_block(self, x: str, weight: NDArray[np.float32], bias: NDArray[Any] | None) -> str:
        width_out, width_in = weight.shape
        blocks = weight.reshape(width_out, width_in // BLOCK, BLOCK)
        rounded, scales = _round(blocks)
        steps = (rounded + 128).astype(np.uint8)
        return self._blockwise(x, steps, scales, bias, (8, BLOCK, weight.shape))

    def _blockwise(
        self,
        x: str,
        steps: NDArray[np.uint8],
        scales: NDArray[np.float32],
        bias: NDArray[Any] | None,
        form: tuple[int, int, tuple[int, ...]],
    ) -> str:
        """`form`: bits of a weight, weights of a block, and the shape of all."""
        bits, block, (width_out, width_in) = form
        inputs = [x, self.constant(steps), self.constant(scales)]
        if bias is not None:
            inputs += ["", "", self.constant(bias.astype(np.float32))]
        return self.op(
            "MatMulNBits",
            *inputs,
            domain="com.microsoft",
            K=width_in,
            N=width_out,
            bits=bits,
            block_size=block,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def _by_channel(self, x: str, weight: NDArray[np.float32], bias: NDArray[Any] | None) -> str:
        rounded, scales = _round(weight)
        peak = self.op("ReduceMax", self.op("Abs", x), self.integers(-1), keepdims=1)
        step = self.op("Mul", peak, self.number(1 / 127))
        step = self.op("Max", step, self.number(_SMALLEST))
        one, middle = self.number(1), self.constant(np.array(128, np.uint8))
        steps = self.op("QuantizeLinear", self.op("Div", x, step), one, middle)
        kernel, scale = self.constant(rounded.astype(np.int8).T), self.constant(scales)
        product = self.op(
            "MatMulIntegerToFloat", steps, kernel, one, scale, middle, domain="com.microsoft"
        )
        product = self.op("Mul", product, step)
        if bias is None:
            return product
        return self.op("Add", product, self.constant(bias.astype(np.float32)))

    def model(self) -> ModelProto:
        for node in self._nodes:  # an Identity node per output would copy it
            for values in (node.input, node.output):
                values[:] = [self._public.get(value, value) for value in values]
        graph = helper.make_graph(
            self._nodes, "whisper", self._inputs, self._outputs, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)


def _round(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Whole numbers in -127…127, and the flat scales that make them `weights` again. What lies
    along the last axis shares a scale."""
    scales = np.maximum(np.abs(weights).max(axis=-1), _SMALLEST) / 127
    return np.rint(weights / scales[..., None]), scales.reshape(-1)
