"""Runs the decoder graph on a batch, with its masks, positions and cache.

A row's cache may have entries that are not valid: padding, or tokens of a hint that were rejected.
They stay where they are and are masked in attention. So all rows of a batch can be fed different
numbers of tokens in one pass, and rejecting a hint costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from oyez.engines.whisper.tokens import Tokens
from oyez.engines.whisper.weights import Sizes
from oyez.engines.whisper_onnx.phrase_boost import NO_TERMS, START, TermState, TermTree

MASKED = -1e9
"""Added to the attention on a position, or the logit of a token, that is excluded."""
MIN_PROBABILITY = 1e-12
"""Lower probabilities are raised to this before their logarithm is taken."""
DISCOURAGED = -4.0
"""Added to the logits of discouraged tokens. A token that is 50 times likelier is still written."""

Floats = NDArray[np.float32]
Ids = NDArray[np.int64]
Encoded = dict[str, Floats]
"""The encoder's output for a batch, as inputs of the decoder: `cross_bias`, `key_0`, `value_0` and
so on; see `graph.decoder`."""


@dataclass(slots=True)
class Row:
    """One row of a batch: the tokens it starts with, and the result of decoding it."""

    prompt: tuple[int, ...]
    """All given tokens, including those of a forced prefix."""
    hint: tuple[int, ...]
    """Tokens that probably follow the prompt."""
    max_tokens: int
    audio_positions: int
    """Encoder positions of audio; the positions after them are silence."""
    terms: TermTree = NO_TERMS
    """Terms to boost."""
    term_state: TermState = START
    """The state in `terms` at the end of the text."""
    tokens: list[int] = field(default_factory=list)
    probabilities: list[float] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    """For each token, the encoder position with most attention while the next token was predicted.
    It estimates where the token's audio ends."""

    def truncate(self, length: int) -> None:
        """Remove all tokens from `length` on."""
        del self.tokens[length:], self.probabilities[length:], self.positions[length:]


def batched(parts: Sequence[Encoded]) -> Encoded:
    """Join several batches into one. Shorter ones are padded with masked positions."""
    if len(parts) == 1:
        return parts[0]
    joined: Encoded = {}
    for name in parts[0]:
        axis = -2 if name.startswith("value") else -1
        padding = MASKED if name == "cross_bias" else 0
        longest = max(part[name].shape[axis] for part in parts)
        padded = []
        for array in (part[name] for part in parts):
            widths = [(0, 0)] * array.ndim
            widths[axis] = (0, longest - array.shape[axis])
            padded.append(np.pad(array, widths, constant_values=padding))
        joined[name] = np.concatenate(padded)
    return joined


def take(states: dict[str, Floats], rows: list[int]) -> dict[str, Floats]:
    """Return these rows of each array, in this order; a row may be taken several times."""
    return {name: state[rows] for name, state in states.items()}


class Cache:
    """Keys and values of the tokens fed so far."""

    def __init__(self, sizes: Sizes, rows: int) -> None:
        shape = (rows, sizes.heads, 0, sizes.width // sizes.heads)
        names = [f"{x}_{i}" for x in ("key", "value") for i in range(sizes.decoder_layers)]
        self.states = {name: np.zeros(shape, np.float32) for name in names}
        self.valid = np.zeros((rows, 0), bool)
        """Which entries of each row are attended to, [batch, tokens]."""

    def take(self, rows: list[int]) -> None:
        """Keep only these rows, in this order; a row may be taken several times."""
        self.states, self.valid = take(self.states, rows), self.valid[rows]


class Predicted(NamedTuple):
    """Predictions of what follows the tokens that were asked about: see `graph.decoder`."""

    tokens: Ids
    """int64 [batch, r, TOP], the likeliest first."""
    probabilities: Floats
    """float32 [batch, r, TOP], the probabilities of `tokens`."""
    probes: Floats
    """float32 [batch, m], the probabilities of the probe tokens."""
    attention: Floats
    """float32 [batch, t, n]."""


class Decoder:
    """One decoder graph. Thread-safe: all state is in the caller's `Cache`."""

    def __init__(
        self, session: onnxruntime.InferenceSession, sizes: Sizes, probes: Iterable[int]
    ) -> None:
        """probes: tokens whose probabilities `feed` reports unless others are asked for."""
        self._session = session
        self.sizes = sizes
        self._probes = np.array(list(probes), np.int64)
        self._outputs = [output.name for output in session.get_outputs()]

    def new_cache(self, rows: int) -> Cache:
        """Return the cache of a new batch."""
        return Cache(self.sizes, rows)

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Encoded,
        cache: Cache,
        predict_after: Sequence[Sequence[int]],
        token_bias: Floats,
        probes: Sequence[int] | None = None,
    ) -> Predicted:
        """Append `blocks` of tokens, one for each row, to the cache.

        predict_after: for each row, the indices in its block after which predictions are made. The
        last index of a row is repeated if other rows have more. token_bias: see `token_bias`.
        probes: tokens whose probabilities after the first of these indices are reported; by default
        those of the constructor.
        """
        lengths = np.array([len(block) for block in blocks])
        tokens = _rectangle(blocks)
        width, past = tokens.shape[1], cache.valid.shape[1]
        column = np.arange(width)
        real = column < lengths[:, None]
        start = cache.valid.sum(1)[:, None]
        valid = np.concatenate([cache.valid, real], axis=1)
        causal = np.tri(width, past + width, past, dtype=bool)
        inputs: dict[str, Any] = {
            "tokens": tokens,
            "positions": np.where(real, start + column, 0),
            "rows": _rectangle(predict_after)[:, :, None],
            "token_bias": token_bias,
            "marks": self._probes if probes is None else np.array(probes, np.int64),
            "bias": np.where(valid[:, None, None] & causal, 0, MASKED).astype(np.float32),
            **encoded,
            **{f"past_{name}": state for name, state in cache.states.items()},
        }
        results = dict(zip(self._outputs, self._session.run(None, inputs), strict=True))
        cache.states = {name: results[f"new_{name}"] for name in cache.states}
        cache.valid = valid
        return Predicted(
            results["top_tokens"], results["top_odds"], results["mark_odds"], results["attention"]
        )


def _rectangle(rows: Sequence[Sequence[int]]) -> Ids:
    """Return `rows` as an array, with the last value of shorter rows repeated."""
    width = max(len(row) for row in rows)
    return np.array([[*row, *[row[-1]] * (width - len(row))] for row in rows], np.int64)


def token_bias(
    sizes: Sizes,
    tokens: Tokens,
    discouraged: Sequence[int] = (),
    boosted: Mapping[int, float] | None = None,
) -> Floats:
    """Return what is added to every token's logit, float32 [vocabulary]. Suppressed tokens and
    special ones are masked, except the end. boosted: what is added to single tokens."""
    bias = np.zeros(sizes.vocabulary, np.float32)
    for token, bonus in (boosted or {}).items():
        bias[token] = bonus
    bias[list(discouraged)] = DISCOURAGED
    bias[list(tokens.suppressed)] = MASKED
    bias[tokens.end + 1 :] = MASKED
    return bias


def text_probabilities(
    decoder: Decoder, encoded: Encoded, bias: Floats, prompt: Sequence[int], tokens: Sequence[int]
) -> list[float]:
    """Return the probability of each of `tokens` after `prompt` and the tokens before it.

    encoded: one row of audio. The probability of a token that is not among the likeliest ones is
    given as the lowest of theirs, which it cannot exceed.
    """
    block = [*prompt, *tokens]
    predict_after = range(len(prompt) - 1, len(block) - 1)
    predicted = decoder.feed([block], encoded, decoder.new_cache(1), [predict_after], bias)
    likeliest = zip(predicted.tokens[0].tolist(), predicted.probabilities[0].tolist(), strict=True)
    return [
        dict(zip(choices, probabilities, strict=True)).get(token, probabilities[-1])
        for token, (choices, probabilities) in zip(tokens, likeliest, strict=True)
    ]
