"""Builds an ONNX graph from expressions, on top of `onnx.helper`."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

OPSET = 20
IR_VERSION = 10


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

    def op(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """Add a node with one output."""
        return self.ops(kind, 1, *inputs, domain=domain, **attributes)[0]

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
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION)
