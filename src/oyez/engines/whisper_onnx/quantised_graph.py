"""Adds matrix products with quantised weights to the graph builder."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.engines.onnx_graph import Graph

BLOCK = 64
"""How many int8 weights share one scale. With float32 scales this costs 8.5 bits a weight."""
ROUGH_BLOCK = 32
"""How many 4-bit weights share one scale."""
_INT8_ACTIVATIONS = 4
"""MatMulNBits' accuracy level for int8 arithmetic."""
_MIN_SCALE = 1e-10
"""Keeps scales above zero where all weights are zero."""


class QuantisedGraph(Graph):
    """A graph for Whisper, whose products quantise weights and activations."""

    def __init__(self, *, many_rows: bool) -> None:
        """many_rows: whether the graph is used on hundreds of rows at once. Then all weights of an
        output share one scale, which is faster. Otherwise blocks of BLOCK weights share one, which
        is more exact."""
        super().__init__("whisper")
        self._many_rows = many_rows

    def linear(self, x: str, weight: NDArray[Any], bias: NDArray[Any] | None = None) -> str:
        """Add x @ weight.T + bias, with `weight` [out, in] in int8.

        Each row of `x` is quantised by itself, so that its result depends neither on the other rows
        of a batch nor on the number of tokens fed at once.
        """
        floats = weight.astype(np.float32)
        return (self._by_channel if self._many_rows else self._by_block)(x, floats, bias)

    def rough_linear(self, x: str, weight: NDArray[Any]) -> str:
        """Add x @ weight.T with weights of 4 bits. It reads half the bytes of `linear` and is only
        approximately right, which is enough to choose candidates."""
        width_out, _ = weight.shape
        blocks = weight.astype(np.float32).reshape(width_out, -1, ROUGH_BLOCK)
        peaks = np.take_along_axis(blocks, np.abs(blocks).argmax(-1)[..., None], axis=-1)[..., 0]
        # steps go from -8 to 7: the scale has the sign that gives the peak the longer side
        scales = np.where(np.abs(peaks) < _MIN_SCALE, _MIN_SCALE, peaks / -8)
        steps = np.clip(np.rint(blocks / scales[..., None]) + 8, 0, 15).astype(np.uint8)
        pairs = steps[..., 0::2] | (steps[..., 1::2] << 4)
        return self._blockwise(x, pairs, scales.reshape(-1), None, (4, ROUGH_BLOCK, weight.shape))

    def _by_block(self, x: str, weight: NDArray[np.float32], bias: NDArray[Any] | None) -> str:
        width_out, width_in = weight.shape
        blocks = weight.reshape(width_out, width_in // BLOCK, BLOCK)
        rounded, scales = _quantise(blocks)
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
        """form: bits of a weight, weights of a block, and the shape of all weights."""
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
        rounded, scales = _quantise(weight)
        peak = self.op("ReduceMax", self.op("Abs", x), self.integers(-1), keepdims=1)
        step = self.op("Mul", peak, self.number(1 / 127))
        step = self.op("Max", step, self.number(_MIN_SCALE))
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


def _quantise(weights: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return whole numbers from -127 to 127, and the flat scales that turn them back into
    `weights`. Weights along the last axis share a scale."""
    scales = np.maximum(np.abs(weights).max(axis=-1), _MIN_SCALE) / 127
    return np.rint(weights / scales[..., None]), scales.reshape(-1)
