"""Whisper as two ONNX graphs: an encoder, and a decoder with a cache.

Architecture: Radford et al., *Robust Speech Recognition via Large-Scale Weak Supervision*
(2022). Sizes and layer counts come from the weights. Names of inputs and outputs are part of the
graphs that are kept in the cache directory: after a change, raise `prepare.BUILDER_VERSION`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto

from oyez.engines.onnx_graph import MICROSOFT, QuantisedGraph
from oyez.engines.whisper.weights import Arrays, Sizes

CANDIDATES = 32
"""How many tokens get exact logits: the likeliest ones by rough logits."""
TOP = 8
"""How many of the likeliest tokens the decoder returns."""
FEATURE_LAYERS = (1, 2)
"""Encoder layers whose mean over time is returned for the emotion classifier. Early layers
represent the manner of speech, later ones more and more its words (see docs/emotion.md)."""


def encoder(arrays: Arrays) -> ModelProto:
    """Build the encoder, which attends to chosen positions of its full input of 30 s.

    Inputs:
        mel: float32 [batch, bands, 2 * s + 1], for s positions of 20 ms.
        sources: int64 [batch, n], which of the s positions each attended position is computed from.
        positions: int64 [batch, n], where in the full input each attended position is.
        bias: float32 [batch, 1, 1, n], added to attention on each position.
        pooling: float32 [batch, n, 1], weights of the mean over time, which add up to 1 per row.

    Outputs:
        key_0, value_0 and so on, of the decoder's cross-attention: float32
            [batch, heads, width / heads, n] and [batch, heads, n, width / heads].
        features: float32 [batch, len(FEATURE_LAYERS), width], means over time.
    """
    graph = _Transformer(arrays, many_rows=True)
    sizes = graph.sizes
    mel = graph.input("mel", TensorProto.FLOAT, "batch", sizes.bands, "frames")
    sources = graph.input("sources", TensorProto.INT64, "batch", "n")
    positions = graph.input("positions", TensorProto.INT64, "batch", "n")
    bias = graph.input("bias", TensorProto.FLOAT, "batch", 1, 1, "n")
    pooling = graph.input("pooling", TensorProto.FLOAT, "batch", "n", 1)

    x = graph.convolution(mel, "encoder/conv1", [1, 0], 1)
    x = graph.convolution(x, "encoder/conv2", [1, 0], 2)
    x = graph.op("Transpose", x, perm=[0, 2, 1])
    x = graph.op("GatherND", x, graph.op("Unsqueeze", sources, graph.integers(2)), batch_dims=1)
    table = graph.floats("encoder/position_encodings/encodings")
    x = graph.op("Add", x, graph.op("Gather", table, positions))
    everywhere = graph.for_every_query(bias)
    across, pooled = graph.op("Transpose", pooling, perm=[0, 2, 1]), []
    for layer in range(sizes.encoder_layers):
        name = f"encoder/layer_{layer}"
        x = graph.op("Add", x, graph.self_attention(x, f"{name}/self_attention", everywhere))
        x = graph.op("Add", x, graph.feed_forward(x, f"{name}/ffn"))
        if layer in FEATURE_LAYERS:
            pooled.append(graph.op("MatMul", across, x))
    x = graph.norm(x, "encoder/layer_norm")
    for layer in range(sizes.decoder_layers):
        both = graph.linear(x, f"decoder/layer_{layer}/attention/linear_1")
        key, value = graph.ops("Split", 2, both, axis=-1, num_outputs=2)
        graph.output(f"key_{layer}", graph.split_heads(key, across=True))
        graph.output(f"value_{layer}", graph.split_heads(value))
    graph.output("features", graph.op("Concat", *pooled, axis=1))
    return graph.model()


def decoder(arrays: Arrays, alignment_heads: Sequence[Sequence[int]]) -> ModelProto:
    """Build the decoder: one pass over t new tokens per row, after p tokens in the cache.

    Inputs:
        tokens, positions: int64 [batch, t].
        rows: int64 [batch, r, 1], the new tokens after which a prediction is made.
        token_bias: float32 [vocabulary], added to the logits.
        marks: int64 [m], probe tokens, whose probability after the first of `rows` is returned.
        bias: float32 [batch, 1, t, p + t], added to attention on cached and new tokens.
        cross_bias: float32 [batch, 1, 1, n], the encoder's `bias`.
        past_key_0, past_value_0 and so on: float32 [batch, heads, p, width / heads].
        key_0, value_0 and so on: the encoder's outputs.

    Outputs:
        top_tokens: int64 [batch, r, TOP], the likeliest first.
        top_odds: float32 [batch, r, TOP], the probabilities of `top_tokens`.
        mark_odds: float32 [batch, m], the probabilities of `marks`, without `token_bias`.
        attention: float32 [batch, t, n], mean cross-attention of the `alignment_heads`, each of
            them layer and head.
        new_key_0, new_value_0 and so on: the cache with the new tokens, float32
            [batch, heads, p + t, width / heads].
    """
    graph = _Transformer(arrays, many_rows=False)
    sizes = graph.sizes
    new = graph.input("tokens", TensorProto.INT64, "batch", "t")
    positions = graph.input("positions", TensorProto.INT64, "batch", "t")
    rows = graph.input("rows", TensorProto.INT64, "batch", "r", 1)
    token_bias = graph.input("token_bias", TensorProto.FLOAT, sizes.vocabulary)
    marks = graph.input("marks", TensorProto.INT64, "m")
    bias = graph.input("bias", TensorProto.FLOAT, "batch", 1, "t", "all")
    cross_bias = graph.input("cross_bias", TensorProto.FLOAT, "batch", 1, 1, "n")

    embeddings = arrays["decoder/embeddings/weight"]
    words = graph.constant(embeddings)
    x = graph.op("Cast", graph.op("Gather", words, new), to=TensorProto.FLOAT)
    table = graph.floats("decoder/position_encodings/encodings")
    x = graph.op("Add", x, graph.op("Gather", table, positions))
    aligning = []
    for layer in range(sizes.decoder_layers):
        name = f"decoder/layer_{layer}"
        x = graph.op("Add", x, graph.cached_attention(x, f"{name}/self_attention", bias, layer))
        added, weights = graph.cross_attention(x, f"{name}/attention", cross_bias, layer)
        x = graph.op("Add", x, added)
        if heads := [head for at, head in alignment_heads if at == layer]:
            aligning.append(graph.op("Gather", weights, graph.integers(*heads), axis=1))
        x = graph.op("Add", x, graph.feed_forward(x, f"{name}/ffn"))
    x = graph.op("GatherND", graph.norm(x, "decoder/layer_norm"), rows, batch_dims=1)
    logits = graph.rough_linear(x, embeddings.astype(np.float32))
    rough = graph.op("Softmax", graph.op("Add", logits, token_bias), axis=-1)
    _, likely = graph.ops("TopK", 2, rough, graph.integers(CANDIDATES), axis=-1)
    exact = graph.corrected(rough, logits, x, table=words, tokens=likely)
    probabilities, order = graph.ops("TopK", 2, exact, graph.integers(TOP), axis=-1)
    graph.output("top_odds", probabilities)
    best = graph.op("GatherElements", likely, order, axis=-1)
    graph.output("top_tokens", best, TensorProto.INT64)
    logits, x = (graph.op("Gather", part, graph.integers(0), axis=1) for part in (logits, x))
    rough = graph.op("Softmax", logits, axis=-1)
    rows_of_x = graph.op("Shape", x, start=0, end=2)
    shape = graph.op("Concat", rows_of_x, graph.op("Shape", marks), axis=0)
    each = graph.op("Expand", marks, shape)
    probabilities = graph.corrected(rough, logits, x, table=words, tokens=each)
    graph.output("mark_odds", graph.op("Squeeze", probabilities, graph.integers(1)))
    heads_by_time = graph.op("Concat", *aligning, axis=1)
    attention = graph.op("ReduceMean", heads_by_time, graph.integers(1), keepdims=0)
    graph.output("attention", attention)
    return graph.model()


class _Transformer(QuantisedGraph):
    """The layers that both graphs are made of."""

    def __init__(self, arrays: Arrays, *, many_rows: bool) -> None:
        """many_rows: whether the graph is used on hundreds of rows at once."""
        super().__init__("whisper")
        self.sizes = Sizes.of(arrays)
        self._arrays = arrays
        self._head_width = self.sizes.width // self.sizes.heads
        self._product = self.linear_by_channel if many_rows else self.linear_by_block

    def floats(self, name: str) -> str:
        """Add an array of the weights as float32."""
        return self.constant(self._array(name))

    def linear(self, x: str, name: str, *, scaled: int = 0) -> str:
        """Add a linear layer.

        scaled: this many of the first outputs are queries of attention. Its scale is multiplied
        into their weights, because a separate factor would prevent the fast path for single rows.
        """
        weight, bias = self._array(f"{name}/weight"), self._array(f"{name}/bias")
        weight[:scaled] *= self._head_width**-0.5
        bias[:scaled] *= self._head_width**-0.5
        return self._product(x, weight, bias)

    def norm(self, x: str, name: str) -> str:
        """Add a layer normalisation."""
        gamma, beta = self.floats(f"{name}/gamma"), self.floats(f"{name}/beta")
        return self.op("LayerNormalization", x, gamma, beta, axis=-1, epsilon=1e-5)

    def convolution(self, x: str, name: str, pads: Sequence[int], stride: int) -> str:
        """Add a convolution of three taps and its activation."""
        weight, bias = self.floats(f"{name}/weight"), self.floats(f"{name}/bias")
        x = self.op("Conv", x, weight, bias, pads=pads, strides=[stride], kernel_shape=[3])
        return self.op("Gelu", x)

    def feed_forward(self, x: str, name: str) -> str:
        """Add the two linear layers after attention."""
        hidden = self.linear(self.norm(x, f"{name}/layer_norm"), f"{name}/linear_0")
        return self.linear(self.op("Gelu", hidden), f"{name}/linear_1")

    def for_every_query(self, bias: str) -> str:
        """Expand `bias` from [batch, 1, 1, n] to [batch, 1, n, n], as `self_attention` needs it."""
        size = self.op("Shape", bias)
        batch, one, _, count = self.ops("Split", 4, size, num_outputs=4)
        shape = self.op("Concat", batch, one, count, count, axis=0)
        return self.op("Expand", bias, shape)

    def self_attention(self, x: str, name: str, bias: str) -> str:
        """Add the encoder's self-attention. bias: [batch, 1, n, n]."""
        joined = self.linear(self.norm(x, f"{name}/layer_norm"), f"{name}/linear_0")
        inputs = (*self.ops("Split", 3, joined, axis=-1, num_outputs=3), "", "", bias)
        mixed = self.op("MultiHeadAttention", *inputs, domain=MICROSOFT, num_heads=self.sizes.heads)
        return self.linear(mixed, f"{name}/linear_1")

    def cached_attention(self, x: str, name: str, bias: str, layer: int) -> str:
        """Add the decoder's self-attention, with its inputs and outputs for the cache."""
        x = self.norm(x, f"{name}/layer_norm")
        joined = self.linear(x, f"{name}/linear_0", scaled=self.sizes.width)
        parts = self.ops("Split", 3, joined, axis=-1, num_outputs=3)
        query, key, value = (self.split_heads(part) for part in parts)
        past_key = self._state(f"past_key_{layer}", "p", self._head_width)
        past_value = self._state(f"past_value_{layer}", "p", self._head_width)
        key = self.op("Concat", past_key, key, axis=2)
        value = self.op("Concat", past_value, value, axis=2)
        self.output(f"new_key_{layer}", key)
        self.output(f"new_value_{layer}", value)
        across = self.op("Transpose", key, perm=[0, 1, 3, 2])
        return self.linear(self._attend(query, across, value, bias)[0], f"{name}/linear_1")

    def cross_attention(self, x: str, name: str, bias: str, layer: int) -> tuple[str, str]:
        """Add the decoder's attention to the encoder's output. Returns what to add to `x`, and the
        attention weights [batch, heads, t, n]."""
        x = self.norm(x, f"{name}/layer_norm")
        query = self.linear(x, f"{name}/linear_0", scaled=self.sizes.width)
        key = self._state(f"key_{layer}", self._head_width, "n")
        value = self._state(f"value_{layer}", "n", self._head_width)
        mixed, weights = self._attend(self.split_heads(query), key, value, bias)
        return self.linear(mixed, f"{name}/linear_2"), weights

    def corrected(self, probabilities: str, logits: str, x: str, *, table: str, tokens: str) -> str:
        """Add the probabilities of `tokens` [batch, r, k], computed from exact logits.

        probabilities, logits: rough ones, [batch, r, vocabulary]. x: [batch, r, width]. table:
        [vocabulary, width]. The exact logits are x @ table.T.
        """
        rows = self.op("Cast", self.op("Gather", table, tokens), to=TensorProto.FLOAT)
        products = self.op("MatMul", rows, self.op("Unsqueeze", x, self.integers(-1)))
        products = self.op("Squeeze", products, self.integers(-1))
        was = self.op("GatherElements", probabilities, tokens, axis=-1)
        error = self.op("Sub", products, self.op("GatherElements", logits, tokens, axis=-1))
        corrected = self.op("Mul", was, self.op("Exp", error))
        over = self.integers(-1)
        change = self.op("ReduceSum", self.op("Sub", corrected, was), over)
        return self.op("Div", corrected, self.op("Add", change, self.number(1)))

    def split_heads(self, x: str, *, across: bool = False) -> str:
        """Reshape [batch, n, width] to [batch, heads, n, width / heads].

        across: whether the last two dimensions are swapped.
        """
        shape = self.integers(0, 0, self.sizes.heads, self._head_width)
        order = [0, 2, 3, 1] if across else [0, 2, 1, 3]
        return self.op("Transpose", self.op("Reshape", x, shape), perm=order)

    def _attend(self, query: str, key: str, value: str, bias: str) -> tuple[str, str]:
        """Add attention. Returns its output [batch, t, width] and its weights [batch, heads, t, n].

        query: [batch, heads, t, w], scaled. key: [batch, heads, w, n]. value: [batch, heads, n, w].
        """
        scores = self.op("MatMul", query, key)
        weights = self.op("Softmax", self.op("Add", scores, bias), axis=-1)
        mixed = self.op("Transpose", self.op("MatMul", weights, value), perm=[0, 2, 1, 3])
        merged = self.op("Reshape", mixed, self.integers(0, 0, self.sizes.width))
        return merged, weights

    def _state(self, name: str, *shape: str | int) -> str:
        return self.input(name, TensorProto.FLOAT, "batch", self.sizes.heads, *shape)

    def _array(self, name: str) -> NDArray[np.float32]:
        return self._arrays[name].astype(np.float32)
