"""Greedy search for partials: a batch of rows that start with different tokens and end at different
times."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from oyez.engines.whisper.hallucination import stalled_loop_start
from oyez.engines.whisper_onnx.decoder import (
    MIN_PROBABILITY,
    Cache,
    Decoder,
    Encoded,
    Floats,
    Predicted,
    Row,
    token_bias,
)


class GreedySearch:
    """Always continues with the likeliest token, bonuses for terms included."""

    def __init__(
        self,
        decoder: Decoder,
        end: int,
        suppressed: Sequence[int],
        suppressed_first: Sequence[int],
        discouraged: Sequence[int] = (),
    ) -> None:
        """end: the token that ends a text. suppressed, discouraged: see `token_bias`.
        suppressed_first: tokens that must not be the first."""
        self._decoder = decoder
        self._end = end
        self._suppressed_first = frozenset(suppressed_first)
        self._bias = token_bias(decoder.sizes, end, suppressed, discouraged)

    def run(self, rows: Sequence[Row], encoded: Encoded, cache: Cache) -> Floats:
        """Decode all `rows` to their ends. The cache may already hold their first tokens.

        Returns the probabilities of the decoder's probe tokens after the first token of each
        prompt.
        """
        active: list[Row | None] = list(rows)
        blocks: list[Sequence[int]] = [[*row.prompt, *row.hint] for row in rows]
        # in each block, the index after which the first new token is predicted
        first = [len(row.prompt) - 1 for row in rows]
        probes: Floats | None = None
        while True:
            before = cache.valid.shape[1]
            wanted = [range(first[index], len(block)) for index, block in enumerate(blocks)]
            # the first pass also predicts after the first token, for the probes
            asked = wanted if probes is not None else [[0, *indices] for indices in wanted]
            predicted = self._decoder.feed(blocks, encoded, cache, asked, self._bias)
            skipped = len(asked[0]) - len(wanted[0])
            probes = predicted.probes if probes is None else probes
            latest = [self._end] * len(active)
            for index, row in enumerate(active):
                if row is None:
                    continue
                guessed = blocks[index][first[index] + 1 :]
                predictions = _RowPredictions(predicted, index, skipped)
                kept, token = self._advance(row, guessed, first[index], predictions)
                # rejected tokens of the hint stay in the cache, but are masked
                cache.valid[index, before + first[index] + 1 + kept :] = False
                if token is None:
                    active[index] = None
                else:
                    latest[index] = token
            going = [index for index, row in enumerate(active) if row is not None]
            if not going:
                return probes
            # removing rows copies the others, which pays once half of them have ended
            if len(going) <= len(active) // 2:
                active = [active[index] for index in going]
                latest = [latest[index] for index in going]
                encoded = encoded.take(going)
                cache.take(going)
            blocks = [[token] for token in latest]
            first = [0] * len(active)

    def _advance(
        self, row: Row, guessed: Sequence[int], first: int, predictions: _RowPredictions
    ) -> tuple[int, int | None]:
        """Append predicted tokens as long as they agree with `guessed`, and the first that differs.

        Returns how many guesses were right, and the token to feed next. None means that the row has
        ended.
        """
        for index in range(len(guessed) + 1):
            if row.tokens:
                row.positions.append(predictions.position(first + index, row.audio_positions))
                if (start := stalled_loop_start(row.tokens, row.positions)) is not None:
                    row.truncate(start)
                    return index, None
            token = self._choose(row, *predictions.choices(index))
            if token is None:
                return index, None
            if index == len(guessed) or guessed[index] != token:
                return index, token
        raise AssertionError("unreachable")

    def _choose(self, row: Row, tokens: list[int], probabilities: list[float]) -> int | None:
        """Append the best token to the row and return it, or None if the text ends."""
        allowed = [
            index
            for index, token in enumerate(tokens)
            if row.tokens or token not in self._suppressed_first
        ]
        best = allowed[0]
        if row.terms:
            best = max(allowed, key=lambda at: _score(row, tokens[at], probabilities[at]))
        token, probability = tokens[best], probabilities[best]
        if token == self._end:
            row.end_probability = probability
            return None
        if len(row.tokens) >= row.max_tokens:
            return None
        row.tokens.append(token)
        row.probabilities.append(probability)
        row.term_state = row.terms.step(row.term_state, token)
        return token


def _score(row: Row, token: int, probability: float) -> float:
    """Return the log probability of `token` as the next one, plus its bonus for terms."""
    log_probability = float(np.log(max(probability, MIN_PROBABILITY)))
    return log_probability + row.terms.step(row.term_state, token).bonus


class _RowPredictions(NamedTuple):
    """The predictions for one row, without the first `skipped`."""

    predicted: Predicted
    row: int
    skipped: int

    def choices(self, index: int) -> tuple[list[int], list[float]]:
        """Return the likeliest tokens of a prediction, and their probabilities."""
        at = (self.row, self.skipped + index)
        return self.predicted.tokens[at].tolist(), self.predicted.probabilities[at].tolist()

    def position(self, token: int, audio_positions: int) -> int:
        """Return the position of audio with most attention for a token of the block."""
        return int(self.predicted.attention[self.row, token, :audio_positions].argmax())
