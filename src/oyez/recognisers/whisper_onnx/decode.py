"""Greedy decoding of a batch whose rows start with different tokens and end at different times.

A row's cache may hold entries that do not count (padding, rejected hint tokens): they stay in
place and are never attended to. So every row of a batch does the same work in one pass, and a
hint that turns out wrong costs nothing to take back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.recognisers.whisper_onnx.graph import Sizes
from oyez.recognisers.whisper_onnx.stop import loop_start
from oyez.recognisers.whisper_onnx.window import NEVER

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the decoder attends to, for a batch."""

    states: dict[str, Floats]
    """key_0, value_0 … as the encoder gives them."""
    bias: Floats

    def take(self, rows: Sequence[int]) -> Encoded:
        chosen = list(rows)
        return Encoded({k: v[chosen] for k, v in self.states.items()}, self.bias[chosen])


@dataclass(slots=True)
class Line:
    """One row's decoding: what it starts with, and what came of it."""

    prompt: tuple[int, ...]
    """All tokens given, forced text included."""
    hint: tuple[int, ...]
    """Tokens that may follow."""
    max_tokens: int
    audio: int
    """Encoder positions of audio; silence follows."""
    tokens: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    places: list[int] = field(default_factory=list)
    """Per token, the encoder position of the audio that had most attention while the one after
    it was predicted: where it was heard to end."""
    end_probability: float = 0.0
    """Probability of the end where it was accepted; 0 where decoding was cut off."""

    def cut(self, length: int) -> None:
        """Forget all tokens from `length` on."""
        del self.tokens[length:], self.probabilities[length:], self.places[length:]


class Cache:
    """Keys and values of the tokens so far, and which of them count."""

    def __init__(self, sizes: Sizes, batch: int) -> None:
        shape = (batch, sizes.heads, 0, sizes.width // sizes.heads)
        names = [f"{x}_{i}" for x in ("key", "value") for i in range(sizes.decoder_layers)]
        self.states = {name: np.zeros(shape, np.float32) for name in names}
        self.counts = np.zeros((batch, 0), bool)

    def take(self, rows: Sequence[int]) -> None:
        chosen = list(rows)
        self.states = {name: state[chosen] for name, state in self.states.items()}
        self.counts = self.counts[chosen]


class Decoder:
    """The decoder graph with its masks and positions."""

    def __init__(self, session: onnxruntime.InferenceSession, sizes: Sizes) -> None:
        self._session = session
        self.sizes = sizes
        self._outputs = [output.name for output in session.get_outputs()]

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Encoded,
        cache: Cache,
        first_wanted: Sequence[int],
        token_bias: Floats,
    ) -> tuple[Floats, Floats]:
        """Append `blocks`, one per row, to the cache.

        Returns probabilities [batch, r, vocabulary] of what follows the tokens from
        `first_wanted` to the last of each block (repeating the last where a row has fewer),
        and attention [batch, t, n].
        """
        lengths = np.array([len(block) for block in blocks])
        width = int(lengths.max())
        tokens = np.zeros((len(blocks), width), np.int64)
        for row, block in enumerate(blocks):
            tokens[row, : len(block)] = block
        column = np.arange(width)
        real = column < lengths[:, None]
        start = cache.counts.sum(1)[:, None]
        positions = np.where(real, start + column, 0)
        wanted = int((lengths - first_wanted).max())
        rows = np.minimum(np.add.outer(first_wanted, np.arange(wanted)), lengths[:, None] - 1)
        seen = np.concatenate([cache.counts, real], axis=1)[:, None, None]
        past = cache.counts.shape[1]
        causal = np.tri(width, past + width, past, dtype=bool)
        inputs: dict[str, Any] = {
            "tokens": tokens,
            "positions": positions,
            "rows": rows[:, :, None],
            "token_bias": token_bias,
            "bias": np.where(seen & causal, 0, NEVER).astype(np.float32),
            "cross_bias": encoded.bias,
            **encoded.states,
            **{f"past_{name}": state for name, state in cache.states.items()},
        }
        results = dict(zip(self._outputs, self._session.run(None, inputs), strict=True))
        cache.states = {name: results[f"new_{name}"] for name in cache.states}
        cache.counts = np.concatenate([cache.counts, real], axis=1)
        return results["probabilities"], results["attention"]


def token_bias(sizes: Sizes, end: int, suppressed: Sequence[int]) -> Floats:
    """Added to every token's score, float32 [vocabulary]: special tokens are never written."""
    bias = np.zeros(sizes.vocabulary, np.float32)
    bias[list(suppressed)] = NEVER
    bias[end + 1 :] = NEVER
    return bias


class Greedy:
    """Always the likeliest token."""

    def __init__(
        self, decoder: Decoder, end: int, suppressed: Sequence[int], suppressed_first: Sequence[int]
    ) -> None:
        self._decoder = decoder
        self._end = end
        self._suppressed_first = list(suppressed_first)
        self._bias = token_bias(decoder.sizes, end, suppressed)

    def run(self, lines: Sequence[Line], encoded: Encoded, cache: Cache) -> None:
        """Decode all `lines` to their ends; `cache` may already hold their first tokens."""
        active = list(lines)
        blocks = [[*line.prompt, *line.hint] for line in active]
        first = [len(line.prompt) - 1 for line in active]
        while True:
            before = cache.counts.shape[1]
            outputs = self._decoder.feed(blocks, encoded, cache, first, self._bias)
            following = []
            for row, line in enumerate(active):
                block = blocks[row][first[row] + 1 :]
                kept, token = self._advance(line, block, first[row], *(x[row] for x in outputs))
                cache.counts[row, before + first[row] + 1 + kept :] = False
                following.append(token)
            going = [row for row, token in enumerate(following) if token is not None]
            if not going:
                return
            if len(going) < len(active):
                active = [active[row] for row in going]
                encoded = encoded.take(going)
                cache.take(going)
            blocks = [[token] for token in following if token is not None]
            first = [0] * len(active)

    def _advance(
        self, line: Line, guessed: Sequence[int], first: int, odds: Floats, attention: Floats
    ) -> tuple[int, int | None]:
        """Follow the predictions as far as they agree with `guessed`.

        Returns how many guesses hold, and the token to feed next (None: the line is over).
        """
        for index in range(len(guessed) + 1):
            if line.tokens:
                line.places.append(int(attention[first + index, : line.audio].argmax()))
                if (start := loop_start(line.tokens, line.places)) is not None:
                    line.cut(start)
                    return index, None
            token = self._choose(line, odds[index])
            if token is None:
                return index, None
            if index == len(guessed) or guessed[index] != token:
                return index, token
        raise AssertionError("unreachable")

    def _choose(self, line: Line, odds: Floats) -> int | None:
        if not line.tokens:
            odds = odds.copy()
            odds[self._suppressed_first] = 0
        token = int(odds.argmax())
        if token == self._end:
            line.end_probability = float(odds[token])
            return None
        if len(line.tokens) >= line.max_tokens:
            return None
        line.tokens.append(token)
        line.probabilities.append(float(odds[token]))
        return token
