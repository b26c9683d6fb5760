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
_INT8_ACTIVATIONS = 4
"""MatMulNBits: quantise each row of the input by itself, so rows never change each other."""


class Graph:
    """Collects nodes and constants. Every method returns the name of its output."""

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []

    def input(self, name: str, dtype: int, *shape: int | str) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, dtype, shape))
        return name

    def output(self, name: str, value: str, dtype: int = TensorProto.FLOAT) -> None:
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, dtype, None))

    def constant(self, array: NDArray[Any]) -> str:
        name = f"c{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def integers(self, *values: int) -> str:
        return self.constant(np.array(values, np.int64))

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
        """x @ weight.T + bias with `weight` [out, in] rounded to int8 in blocks of BLOCK."""
        width_out, width_in = weight.shape
        blocks = weight.astype(np.float32).reshape(width_out, width_in // BLOCK, BLOCK)
        scales = np.maximum(np.abs(blocks).max(axis=2), 1e-10) / 127
        rounded = (np.rint(blocks / scales[:, :, None]) + 128).astype(np.uint8)
        inputs = [x, self.constant(rounded), self.constant(scales.reshape(-1))]
        if bias is not None:
            inputs += ["", "", self.constant(bias.astype(np.float32))]
        return self.op(
            "MatMulNBits",
            *inputs,
            domain="com.microsoft",
            K=width_in,
            N=width_out,
            bits=8,
            block_size=BLOCK,
            accuracy_level=_INT8_ACTIVATIONS,
        )

    def model(self) -> ModelProto:
        graph = helper.make_graph(
            self._nodes, "whisper", self._inputs, self._outputs, self._constants
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
