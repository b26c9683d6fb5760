"""Greedy decoding of a batch whose rows start with different tokens and end at different times.

A row's cache may hold entries that do not count (padding, rejected hint tokens): they stay in
place and are never attended to. So every row of a batch does the same work in one pass, and a
hint that turns out wrong costs nothing to take back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.engines.whisper_onnx.graph import Sizes
from oyez.engines.whisper_onnx.line import Line
from oyez.engines.whisper_onnx.stop import loop_start
from oyez.engines.whisper_onnx.window import NEVER

LEAST = 1e-12
"""Probabilities below are as good as none; their logarithm must exist."""

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Encoded:
    """What the decoder attends to, for a batch."""

    states: dict[str, Floats]
    """key_0, value_0 … as the encoder gives them."""
    bias: Floats

    def take(self, rows: Sequence[int]) -> Encoded:
        chosen = list(rows)
        return Encoded({k: v[chosen] for k, v in self.states.items()}, self.bias[chosen])

    @classmethod
    def together(cls, parts: Sequence[Encoded]) -> Encoded:
        """Several as one batch; the shorter ones are padded with what is never attended to."""
        if len(parts) == 1:
            return parts[0]
        longest = max(part.bias.shape[-1] for part in parts)
        bias = _joined([part.bias for part in parts], -1, longest, NEVER)
        states = {
            name: _joined(
                [part.states[name] for part in parts], -1 if name[0] == "k" else -2, longest, 0
            )
            for name in parts[0].states
        }
        return cls(states, bias)


def _joined(arrays: Sequence[Floats], axis: int, size: int, padding: float) -> Floats:
    shape = list(arrays[0].shape)
    shape[0], shape[axis] = sum(len(array) for array in arrays), size
    whole = np.full(shape, padding, np.float32)
    row = 0
    for array in arrays:
        place: list[slice] = [slice(None)] * len(shape)
        place[0], place[axis] = slice(row, row + len(array)), slice(array.shape[axis])
        whole[tuple(place)] = array
        row += len(array)
    return whole


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


class Predicted(NamedTuple):
    """What follows the tokens asked about: see `graph.decoder`."""

    tokens: Ids
    """int64 [batch, r, TOP], the likeliest first."""
    odds: Floats
    """float32 [batch, r, TOP], their probabilities."""
    marks: Floats
    """float32 [batch, m]."""
    attention: Floats
    """float32 [batch, t, n]."""


class Decoder:
    """The decoder graph with its masks and positions."""

    def __init__(
        self, session: onnxruntime.InferenceSession, sizes: Sizes, marks: Iterable[int]
    ) -> None:
        """marks: tokens whose probabilities `feed` reports where nothing else is asked for."""
        self._session = session
        self.sizes = sizes
        self._marks = np.array(list(marks), np.int64)
        self._outputs = [output.name for output in session.get_outputs()]

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Encoded,
        cache: Cache,
        wanted: Sequence[Sequence[int]],
        token_bias: Floats,
        marks: Sequence[int] | None = None,
    ) -> Predicted:
        """Append `blocks`, one per row, to the cache.

        wanted: per row, the places in its block after which predictions are wanted (the last is
        repeated where a row wants fewer than another). marks: tokens whose probabilities after
        the first of those are wanted, the decoder's own unless given.
        """
        lengths = np.array([len(block) for block in blocks])
        tokens = _rectangle(blocks)
        column = np.arange(tokens.shape[1])
        real = column < lengths[:, None]
        start = cache.counts.sum(1)[:, None]
        seen = np.concatenate([cache.counts, real], axis=1)[:, None, None]
        width, past = tokens.shape[1], cache.counts.shape[1]
        causal = np.tri(width, past + width, past, dtype=bool)
        inputs: dict[str, Any] = {
            "tokens": tokens,
            "positions": np.where(real, start + column, 0),
            "rows": _rectangle(wanted)[:, :, None],
            "token_bias": token_bias,
            "marks": self._marks if marks is None else np.array(marks, np.int64),
            "bias": np.where(seen & causal, 0, NEVER).astype(np.float32),
            "cross_bias": encoded.bias,
            **encoded.states,
            **{f"past_{name}": state for name, state in cache.states.items()},
        }
        results = dict(zip(self._outputs, self._session.run(None, inputs), strict=True))
        cache.states = {name: results[f"new_{name}"] for name in cache.states}
        cache.counts = np.concatenate([cache.counts, real], axis=1)
        return Predicted(
            results["top_tokens"], results["top_odds"], results["mark_odds"], results["attention"]
        )


def _rectangle(rows: Sequence[Sequence[int]]) -> Ids:
    """`rows` as an array, the last value of the shorter ones repeated."""
    width = max(len(row) for row in rows)
    return np.array([[*row, *[row[-1]] * (width - len(row))] for row in rows], np.int64)


RELUCTANCE = -4.0
"""Added to the scores of unlikely tokens: what is 50 times likelier is written all the same."""


def token_bias(
    sizes: Sizes,
    end: int,
    suppressed: Sequence[int],
    unlikely: Sequence[int] = (),
    welcome: Mapping[int, float] | None = None,
) -> Floats:
    """Added to every token's score, float32 [vocabulary]: special tokens are never written.

    welcome: what is added to the scores of single tokens.
    """
    bias = np.zeros(sizes.vocabulary, np.float32)
    for token, bonus in (welcome or {}).items():
        bias[token] = bonus
    bias[list(unlikely)] = RELUCTANCE
    bias[list(suppressed)] = NEVER
    bias[end + 1 :] = NEVER
    return bias


class Greedy:
    """Always the likeliest token, terms preferred."""

    def __init__(
        self,
        decoder: Decoder,
        end: int,
        suppressed: Sequence[int],
        suppressed_first: Sequence[int],
        unlikely: Sequence[int] = (),
    ) -> None:
        self._decoder = decoder
        self._end = end
        self._suppressed_first = frozenset(suppressed_first)
        self._bias = token_bias(decoder.sizes, end, suppressed, unlikely)

    def run(self, lines: Sequence[Line], encoded: Encoded, cache: Cache) -> Floats:
        """Decode all `lines` to their ends; `cache` may already hold their first tokens.

        Returns the probabilities of the decoder's marks after the first token of each prompt.
        """
        active: list[Line | None] = list(lines)
        blocks: list[Sequence[int]] = [[*line.prompt, *line.hint] for line in lines]
        first = [len(line.prompt) - 1 for line in lines]
        marks: Floats | None = None
        while True:
            before = cache.counts.shape[1]
            wanted = [range(first[row], len(block)) for row, block in enumerate(blocks)]
            asked = wanted if marks is not None else [[0, *places] for places in wanted]
            predicted = self._decoder.feed(blocks, encoded, cache, asked, self._bias)
            skipped = len(asked[0]) - len(wanted[0])
            marks = predicted.marks if marks is None else marks
            latest = [self._end] * len(active)
            for row, line in enumerate(active):
                if line is None:
                    continue
                guessed = blocks[row][first[row] + 1 :]
                kept, token = self._advance(
                    line, guessed, first[row], _Row(predicted, row, skipped)
                )
                cache.counts[row, before + first[row] + 1 + kept :] = False
                if token is None:
                    active[row] = None
                else:
                    latest[row] = token
            going = [row for row, line in enumerate(active) if line is not None]
            if not going:
                return marks
            # taking rows out copies the others: it pays once half of them have ended
            if len(going) <= len(active) // 2:
                active = [active[row] for row in going]
                latest = [latest[row] for row in going]
                encoded = encoded.take(going)
                cache.take(going)
            blocks = [[token] for token in latest]
            first = [0] * len(active)

    def _advance(
        self, line: Line, guessed: Sequence[int], first: int, row: _Row
    ) -> tuple[int, int | None]:
        """Follow the predictions as far as they agree with `guessed`.

        Returns how many guesses hold, and the token to feed next (None: the line is over).
        """
        for index in range(len(guessed) + 1):
            if line.tokens:
                line.places.append(row.place(first + index, line.audio))
                if (start := loop_start(line.tokens, line.places)) is not None:
                    line.cut(start)
                    return index, None
            token = self._choose(line, *row.choices(index))
            if token is None:
                return index, None
            if index == len(guessed) or guessed[index] != token:
                return index, token
        raise AssertionError("unreachable")

    def _choose(self, line: Line, tokens: list[int], odds: list[float]) -> int | None:
        allowed = [
            place
            for place, token in enumerate(tokens)
            if line.tokens or token not in self._suppressed_first
        ]
        best = allowed[0]
        if line.tree:
            best = max(allowed, key=lambda at: _merit(line, tokens[at], odds[at]))
        token, probability = tokens[best], odds[best]
        if token == self._end:
            line.end_probability = probability
            return None
        if len(line.tokens) >= line.max_tokens:
            return None
        line.tokens.append(token)
        line.probabilities.append(probability)
        line.state = line.tree.step(line.state, token)
        return token


def _merit(line: Line, token: int, probability: float) -> float:
    """How good a token is as the next, terms preferred."""
    return float(np.log(max(probability, LEAST))) + line.tree.step(line.state, token).bonus


class _Row(NamedTuple):
    """One row of what was predicted, without the first `skipped` predictions."""

    predicted: Predicted
    row: int
    skipped: int

    def choices(self, index: int) -> tuple[list[int], list[float]]:
        at = (self.row, self.skipped + index)
        return self.predicted.tokens[at].tolist(), self.predicted.odds[at].tolist()

    def place(self, token: int, audio: int) -> int:
        return int(self.predicted.attention[self.row, token, :audio].argmax())
