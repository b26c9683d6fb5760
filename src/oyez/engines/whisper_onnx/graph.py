"""Whisper as two ONNX graphs: an encoder, and a decoder with a cache.

Architecture: Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision*
(2022). Sizes and layer counts come from the weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from oyez.engines.whisper_onnx.builder import Graph
from oyez.engines.whisper_onnx.weights import Arrays

CANDIDATES = 32
"""Likeliest tokens by rough logits whose exact ones are computed."""
TOP = 8
"""Likeliest tokens the decoder names."""
FEATURE_LAYERS = (1, 2)
"""Encoder layers whose mean over time is returned for the emotion classifier. Early ones hold how
something is said; the later, the more they hold what is said (see docs/emotion.md)."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """The shape of one Whisper."""

    width: int
    heads: int
    bands: int
    vocabulary: int
    positions: int
    """Encoder positions of the whole 30 s window."""
    text_positions: int
    encoder_layers: int
    decoder_layers: int

    @classmethod
    def of(cls, arrays: Arrays) -> Sizes:
        def layers(side: str) -> int:
            return len({name.split("/")[1] for name in arrays if name.startswith(f"{side}/layer_")
                        and name.split("/")[1] != "layer_norm"})  # fmt: skip

        vocabulary, width = arrays["decoder/embeddings/weight"].shape
        return cls(
            width=width,
            heads=int(arrays["encoder/num_heads"]),
            bands=arrays["encoder/conv1/weight"].shape[1],
            vocabulary=vocabulary,
            positions=arrays["encoder/position_encodings/encodings"].shape[0],
            text_positions=arrays["decoder/position_encodings/encodings"].shape[0],
            encoder_layers=layers("encoder"),
            decoder_layers=layers("decoder"),
        )


def encoder(arrays: Arrays) -> ModelProto:
    """The encoder, over chosen positions of the 30 s window.

    Inputs:
        mel: float32 [batch, bands, 2 * s + 1], for s positions of 20 ms.
        sources: int64 [batch, n], which of the s each attended position is computed from.
        positions: int64 [batch, n], where in the 30 s window each attended position stands.
        bias: float32 [batch, 1, 1, n], added to attention on each position.
        pooling: float32 [batch, n, 1], weights of the mean over time; sum 1 per row.

    Outputs:
        key_0, value_0 … of the decoder's cross-attention: float32
            [batch, heads, width / heads, n] and [batch, heads, n, width / heads].
        features: float32 [batch, len(FEATURE_LAYERS), width], means over time.
    """
    sizes = Sizes.of(arrays)
    net = _Transformer(arrays, sizes, wide=True)
    graph = net.graph
    mel = graph.input("mel", TensorProto.FLOAT, "batch", sizes.bands, "frames")
    sources = graph.input("sources", TensorProto.INT64, "batch", "n")
    positions = graph.input("positions", TensorProto.INT64, "batch", "n")
    bias = graph.input("bias", TensorProto.FLOAT, "batch", 1, 1, "n")
    pooling = graph.input("pooling", TensorProto.FLOAT, "batch", "n", 1)

    x = net.convolution(mel, "encoder/conv1", [1, 0], 1)
    x = net.convolution(x, "encoder/conv2", [1, 0], 2)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    x = graph.op("GatherND", x, graph.op("Unsqueeze", sources, graph.integers(2)), batch_dims=1)
    table = net.floats("encoder/position_encodings/encodings")
    x = graph.op("Add", x, graph.op("Gather", table, positions))
    everywhere = net.for_every_query(bias)
    across, pooled = graph.op("Transpose", pooling, perm=[0, 2, 1]), []
    for layer in range(sizes.encoder_layers):
        name = f"encoder/layer_{layer}"
        x = graph.op("Add", x, net.self_attention(x, f"{name}/self_attention", everywhere))
        x = graph.op("Add", x, net.feed_forward(x, f"{name}/ffn"))
        if layer in FEATURE_LAYERS:
            pooled.append(graph.op("MatMul", across, x))
    x = net.norm(x, "encoder/layer_norm")
    for layer in range(sizes.decoder_layers):
        both = net.linear(x, f"decoder/layer_{layer}/attention/linear_1")
        key, value = graph.ops("Split", 2, both, axis=-1, num_outputs=2)
        graph.output(f"key_{layer}", net.split_heads(key, across=True))
        graph.output(f"value_{layer}", net.split_heads(value))
    graph.output("features", graph.op("Concat", *pooled, axis=1))
    return graph.model()


def decoder(arrays: Arrays, alignment_heads: Sequence[tuple[int, int]]) -> ModelProto:
    """The decoder: one pass over t new tokens per row, after p that are in the cache.

    Inputs:
        tokens, positions: int64 [batch, t].
        rows: int64 [batch, r, 1], the new tokens after which a prediction is wanted.
        token_bias: float32 [vocabulary], added to the logits.
        marks: int64 [m], tokens whose probability is wanted after the first of `rows`.
        bias: float32 [batch, 1, t, p + t], added to attention on cached and new tokens.
        cross_bias: float32 [batch, 1, 1, n], the encoder's `bias`.
        past_key_0, past_value_0 …: float32 [batch, heads, p, width / heads].
        key_0, value_0 …: the encoder's outputs.

    Outputs:
        top_tokens: int64 [batch, r, TOP], the likeliest first.
        top_odds: float32 [batch, r, TOP], their probabilities.
        mark_odds: float32 [batch, m], without `token_bias`.
        attention: float32 [batch, t, n], mean cross-attention of the `alignment_heads`,
            given as (layer, head).
        new_key_0, new_value_0 …: the cache with the new tokens, float32
            [batch, heads, p + t, width / heads].
    """
    sizes = Sizes.of(arrays)
    net = _Transformer(arrays, sizes, wide=False)
    graph = net.graph
    new = graph.input("tokens", TensorProto.INT64, "batch", "t")
    positions = graph.input("positions", TensorProto.INT64, "batch", "t")
    rows = graph.input("rows", TensorProto.INT64, "batch", "r", 1)
    token_bias = graph.input("token_bias", TensorProto.FLOAT, sizes.vocabulary)
    marks = graph.input("marks", TensorProto.INT64, "m")
    bias = graph.input("bias", TensorProto.FLOAT, "batch", 1, "t", "all")
    cross_bias = graph.input("cross_bias", TensorProto.FLOAT, "batch", 1, 1, "n")

    embeddings = arrays["decoder/embeddings/weight"]
    words = graph.constant(embeddings)
    x = graph.op("Gather", words, new)
    x = graph.op("Cast", x, to=TensorProto.FLOAT)
    table = net.floats("decoder/position_encodings/encodings")
    x = graph.op("Add", x, graph.op("Gather", table, positions))
    watched = []
    for layer in range(sizes.decoder_layers):
        name = f"decoder/layer_{layer}"
        x = graph.op("Add", x, net.cached_attention(x, f"{name}/self_attention", bias, layer))
        heads = [head for at, head in alignment_heads if at == layer]
        added, weights = net.cross_attention(x, f"{name}/attention", cross_bias, layer)
        x = graph.op("Add", x, added)
        if heads:
            watched.append(graph.op("Gather", weights, graph.integers(*heads), axis=1))
        x = graph.op("Add", x, net.feed_forward(x, f"{name}/ffn"))
    x = graph.op("GatherND", net.norm(x, "decoder/layer_norm"), rows, batch_dims=1)
    logits = graph.rough_linear(x, embeddings)
    rough = graph.op("Softmax", graph.op("Add", logits, token_bias), axis=-1)
    _, likely = graph.ops("TopK", 2, rough, graph.integers(CANDIDATES), axis=-1)
    exact = net.corrected(rough, logits, x, table=words, tokens=likely)
    odds, order = graph.ops("TopK", 2, exact, graph.integers(TOP), axis=-1)
    graph.output("top_odds", odds)
    best = graph.op("GatherElements", likely, order, axis=-1)
    graph.output("top_tokens", best, TensorProto.INT64)
    logits, x = (graph.op("Gather", part, graph.integers(0), axis=1) for part in (logits, x))
    rough = graph.op("Softmax", logits, axis=-1)
    each = graph.op(
        "Expand", marks, graph.op("Concat", net.rows_of(x), graph.op("Shape", marks), axis=0)
    )
    odds = net.corrected(rough, logits, x, table=words, tokens=each)
    graph.output("mark_odds", graph.op("Squeeze", odds, graph.integers(1)))
    heads_by_time = graph.op("Concat", *watched, axis=1)
    attention = graph.op("ReduceMean", heads_by_time, graph.integers(1), keepdims=0)
    graph.output("attention", attention)
    return graph.model()


class _Transformer:
    """The layers both graphs are made of."""

    def __init__(self, arrays: Arrays, sizes: Sizes, *, wide: bool) -> None:
        self.graph = Graph(wide=wide)
        self._arrays = arrays
        self._sizes = sizes

    def floats(self, name: str) -> str:
        return self.graph.constant(self._array(name))

    def linear(self, x: str, name: str, *, scaled: int = 0) -> str:
        """The first `scaled` outputs are queries: attention's scale is part of their weights,
        for products with a factor of their own miss the fast way for single rows."""
        weight, bias = self._array(f"{name}/weight"), self._array(f"{name}/bias")
        weight[:scaled] *= self._head_width**-0.5
        bias[:scaled] *= self._head_width**-0.5
        return self.graph.linear(x, weight, bias)

    def norm(self, x: str, name: str) -> str:
        gamma, beta = self.floats(f"{name}/gamma"), self.floats(f"{name}/beta")
        return self.graph.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)

    def convolution(self, x: str, name: str, pads: Sequence[int], stride: int) -> str:
        weight, bias = self.floats(f"{name}/weight"), self.floats(f"{name}/bias")
        x = self.graph.op("Conv", x, weight, bias, pads=pads, strides=[stride], kernel_shape=[3])
        return self.graph.op("Gelu", x)

    def feed_forward(self, x: str, name: str) -> str:
        hidden = self.linear(self.norm(x, f"{name}/layer_norm"), f"{name}/linear_0")
        return self.linear(self.graph.op("Gelu", hidden), f"{name}/linear_1")

    def for_every_query(self, bias: str) -> str:
        """`bias` [batch, 1, 1, n] as `self_attention` wants it: [batch, 1, n, n]."""
        size = self.graph.op("Shape", bias)
        batch, one, _, count = self.graph.ops("Split", 4, size, num_outputs=4)
        shape = self.graph.op("Concat", batch, one, count, count, axis=0)
        return self.graph.op("Expand", bias, shape)

    def self_attention(self, x: str, name: str, bias: str) -> str:
        graph = self.graph
        joined = self.linear(self.norm(x, f"{name}/layer_norm"), f"{name}/linear_0")
        parts = graph.ops("Split", 3, joined, axis=-1, num_outputs=3)
        mixed = graph.op(
            "MultiHeadAttention",
            *parts,
            *("", "", bias),
            domain="com.microsoft",
            num_heads=self._sizes.heads,
        )
        return self.linear(mixed, f"{name}/linear_1")

    def cached_attention(self, x: str, name: str, bias: str, layer: int) -> str:
        graph = self.graph
        x = self.norm(x, f"{name}/layer_norm")
        joined = self.linear(x, f"{name}/linear_0", scaled=self._sizes.width)
        parts = graph.ops("Split", 3, joined, axis=-1, num_outputs=3)
        query, key, value = (self.split_heads(part) for part in parts)
        key = graph.op(
            "Concat", self._state(f"past_key_{layer}", "p", self._head_width), key, axis=2
        )
        value = graph.op(
            "Concat", self._state(f"past_value_{layer}", "p", self._head_width), value, axis=2
        )
        graph.output(f"new_key_{layer}", key)
        graph.output(f"new_value_{layer}", value)
        across = graph.op("Transpose", key, perm=[0, 1, 3, 2])
        return self.linear(self._attend(query, across, value, bias)[0], f"{name}/linear_1")

    def cross_attention(self, x: str, name: str, bias: str, layer: int) -> tuple[str, str]:
        """What to add to `x`, and the attention weights [batch, heads, t, n]."""
        x = self.norm(x, f"{name}/layer_norm")
        query = self.linear(x, f"{name}/linear_0", scaled=self._sizes.width)
        key = self._state(f"key_{layer}", self._head_width, "n")
        value = self._state(f"value_{layer}", "n", self._head_width)
        mixed, weights = self._attend(self.split_heads(query), key, value, bias)
        return self.linear(mixed, f"{name}/linear_2"), weights

    def corrected(self, odds: str, logits: str, x: str, *, table: str, tokens: str) -> str:
        """Probabilities of `tokens` [batch, r, k] from exact logits.

        odds, logits: [batch, r, vocabulary], rough. x: [batch, r, width], what the logits are
        products of with `table` [vocabulary, width].
        """
        graph = self.graph
        rows = graph.op("Cast", graph.op("Gather", table, tokens), to=TensorProto.FLOAT)
        products = graph.op("MatMul", rows, graph.op("Unsqueeze", x, graph.integers(-1)))
        products = graph.op("Squeeze", products, graph.integers(-1))
        was = graph.op("GatherElements", odds, tokens, axis=-1)
        error = graph.op("Sub", products, graph.op("GatherElements", logits, tokens, axis=-1))
        corrected = graph.op("Mul", was, graph.op("Exp", error))
        over = graph.integers(-1)
        change = graph.op("ReduceSum", graph.op("Sub", corrected, was), over)
        return graph.op("Div", corrected, graph.op("Add", change, graph.number(1)))

    def rows_of(self, x: str) -> str:
        """The first two dimensions of `x`."""
        return self.graph.op("Shape", x, start=0, end=2)

    def split_heads(self, x: str, *, across: bool = False) -> str:
        """[batch, n, width] as [batch, heads, n, width / heads]; `across`: the last two swapped."""
        shape = self.graph.integers(0, 0, self._sizes.heads, self._head_width)
        order = [0, 2, 3, 1] if across else [0, 2, 1, 3]
        return self.graph.op("Transpose", self.graph.op("Reshape", x, shape), perm=order)

    def _attend(self, query: str, key: str, value: str, bias: str) -> tuple[str, str]:
        """query [batch, heads, t, w] with its scale, key [batch, heads, w, n], value
        [batch, heads, n, w]."""
        graph = self.graph
        scores = graph.op("MatMul", query, key)
        weights = graph.op("Softmax", graph.op("Add", scores, bias), axis=-1)
        mixed = graph.op("Transpose", graph.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        merged = graph.op("Reshape", mixed, graph.integers(0, 0, self._sizes.width))
        return merged, weights

    def _state(self, name: str, *shape: str | int) -> str:
        return self.graph.input(name, TensorProto.FLOAT, "batch", self._sizes.heads, *shape)

    def _array(self, name: str) -> NDArray[np.float32]:
        return self._arrays[name].astype(np.float32)

    @property
    def _head_width(self) -> int:
        return self._sizes.width // self._sizes.heads
