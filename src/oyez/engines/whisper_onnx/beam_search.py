"""Beam search for finals: follows several hypotheses at the same time.

Scores are divided by length (Wu et al. 2016, "Google's Neural Machine Translation System",
section 7, with alpha = 1). The search ends when as many hypotheses have ended as the beam is wide,
or when none of the others is close enough to the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from oyez.engines.whisper.hallucination import stalled_loop_start
from oyez.engines.whisper_onnx.decoder import (
    MIN_PROBABILITY,
    Cache,
    Decoder,
    Encoded,
    Floats,
    Ids,
    Predicted,
    Row,
    token_bias,
)
from oyez.engines.whisper_onnx.phrase_boost import START, TermState, TermTree

WIDTH = 5
"""Most hypotheses that are followed at the same time."""
MAX_GAP = 1.0
"""A hypothesis whose log probability is lower than the best by more than this is dropped. On 254
finals in 14 languages this is about as accurate as no limit and takes a third less time: where the
model is confident, the search is greedy. At 0.5 errors increase; at 2.0 only the time does."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One hypothesis of the beam. See `Row` for the fields."""

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    positions: tuple[int, ...] = ()
    log_probability: float = 0.0
    """Sum of the log probabilities of its tokens, and of its end once it has ended."""
    end_probability: float = 0.0
    term_state: TermState = START

    def extended(self, token: int, probability: float, term_state: TermState) -> Branch:
        """Return this branch with one more token."""
        return replace(
            self,
            tokens=(*self.tokens, token),
            probabilities=(*self.probabilities, probability),
            log_probability=self.log_probability + float(np.log(probability)),
            term_state=term_state,
        )

    def ended(self, probability: float, term_state: TermState) -> Branch:
        """Return this branch with its end."""
        return replace(
            self,
            log_probability=self.log_probability + float(np.log(probability)),
            end_probability=probability,
            term_state=term_state,
        )

    @property
    def total(self) -> float:
        """Log probability plus the bonus for terms."""
        return self.log_probability + self.term_state.bonus

    @property
    def score(self) -> float:
        """`total` divided by length, by which ended branches are compared."""
        return self.total / (len(self.tokens) + 1)


class BeamSearch:
    """Decodes one row at a time, following at most `width` branches, none of them more than
    `max_gap` behind the best."""

    def __init__(
        self,
        decoder: Decoder,
        end: int,
        suppressed: Sequence[int],
        suppressed_first: Sequence[int],
        width: int = WIDTH,
        max_gap: float = MAX_GAP,
        discouraged: Sequence[int] = (),
        boosted: Mapping[int, float] | None = None,
    ) -> None:
        """end: the token that ends a text. suppressed, discouraged, boosted: see `token_bias`.
        suppressed_first: tokens that must not be the first."""
        self._decoder = decoder
        self._end = end
        self._bias = token_bias(decoder.sizes, end, suppressed, discouraged, boosted)
        self._suppressed_first = list(suppressed_first)
        self._width = width
        self._max_gap = max_gap

    def run(self, row: Row, encoded: Encoded, cache: Cache) -> Floats:
        """Decode `row` to its end. `encoded` and `cache` have one row; the cache may already hold
        its first tokens.

        Returns the probabilities of the decoder's probe tokens after the first token of the prompt.
        """
        last = len(row.prompt) - 1
        first = self._decoder.feed([row.prompt], encoded, cache, [[0, last]], self._bias)
        branches, ended = [Branch(term_state=row.term_state)], list[Branch]()
        looping: Branch | None = None
        tokens, probabilities = first.tokens[:, 1], first.probabilities[:, 1]
        probabilities[np.isin(tokens, self._suppressed_first)] = 0
        while branches and len(ended) < self._width and len(branches[0].tokens) < row.max_tokens:
            branches, parents = self._extend(branches, tokens, probabilities, ended, row.terms)
            if not branches:
                break
            cache.take(parents)
            predicted, tokens, probabilities = self._feed(branches, encoded, cache, row.terms)
            attention = predicted.attention[:, 0, : row.audio_positions]
            branches = [
                replace(branch, positions=(*branch.positions, position))
                for branch, position in zip(
                    branches, attention.argmax(axis=1).tolist(), strict=True
                )
            ]
            going = [index for index, branch in enumerate(branches) if not _loops(branch)]
            if len(going) < len(branches):
                # the best looping branch is the result if no other branch ends
                looping = looping or branches[0]
                branches = [branches[index] for index in going]
                tokens, probabilities = tokens[going], probabilities[going]
                cache.take(going)
        _write(row, max(ended or branches or [looping or Branch()], key=lambda b: b.score))
        return first.probes

    def _feed(
        self, branches: Sequence[Branch], encoded: Encoded, cache: Cache, terms: TermTree
    ) -> tuple[Predicted, Ids, Floats]:
        """Append the latest token of each branch to the cache.

        Returns the predictions, and the tokens that may follow with their probabilities: the
        likeliest tokens and those that continue a term, both [branches, n].
        """
        latest = [[branch.tokens[-1]] for branch in branches]
        continuations = [terms.continuations(branch.term_state) for branch in branches]
        probes = sorted({token for tokens in continuations for token in tokens})
        once = [[0]] * len(branches)
        predicted = self._decoder.feed(latest, encoded, cache, once, self._bias, probes or None)
        tokens, probabilities = predicted.tokens[:, 0], predicted.probabilities[:, 0]
        if not probes:
            return predicted, tokens, probabilities
        more = np.tile(np.array(probes, np.int64), (len(branches), 1))
        known = (more[:, :, None] == tokens[:, None, :]).any(axis=2)
        own = np.array([[probe in tokens for probe in probes] for tokens in continuations])
        added = np.where(own & ~known, predicted.probes, 0).astype(np.float32)
        return (
            predicted,
            np.concatenate([tokens, more], 1),
            np.concatenate([probabilities, added], 1),
        )

    def _extend(
        self,
        branches: Sequence[Branch],
        tokens: Ids,
        probabilities: Floats,
        ended: list[Branch],
        terms: TermTree,
    ) -> tuple[list[Branch], list[int]]:
        """Return the best continuations that are close enough to the best one, and the index of the
        branch that each continues. Continuations that end are added to `ended`."""
        # Each branch may end, which counts among the best but is not followed. With terms, any
        # token may become the best.
        count = tokens.shape[1] if terms else self._width + 1
        choices = tokens[:, :count]
        chances = np.maximum(probabilities[:, :count], MIN_PROBABILITY)
        logs = np.array([branch.log_probability for branch in branches])[:, None] + np.log(chances)
        states = _term_states(branches, choices, terms)
        totals, certain = logs + states.bonuses, logs + states.final_bonuses
        best = max([certain.max(), *(branch.total for branch in ended)])
        extended: list[Branch] = []
        parents: list[int] = []
        for index in _order(totals, certain, self._width):
            row, column = divmod(index, totals.shape[1])
            token, probability = int(choices[row, column]), float(chances[row, column])
            if len(extended) == self._width or totals[row, column] < best - self._max_gap:
                break
            state = states.rows[row][column]
            if token == self._end:
                ended.append(branches[row].ended(probability, state))
            else:
                extended.append(branches[row].extended(token, probability, state))
                parents.append(row)
        return extended, parents


class _TermStates(NamedTuple):
    """The term state of each continuation of each branch, and its bonuses."""

    rows: list[list[TermState]]
    bonuses: Floats
    final_bonuses: Floats


def _term_states(branches: Sequence[Branch], choices: Ids, terms: TermTree) -> _TermStates:
    if not terms:
        nothing = np.zeros(choices.shape, np.float32)
        return _TermStates([[START] * choices.shape[1]] * len(branches), nothing, nothing)
    rows = [
        [terms.step(branch.term_state, token) for token in row]
        for branch, row in zip(branches, choices.tolist(), strict=True)
    ]
    bonuses = np.array([[state.bonus for state in row] for row in rows], np.float32)
    final = np.array([[terms.final_bonus(state) for state in row] for row in rows], np.float32)
    return _TermStates(rows, bonuses, final)


def _order(totals: Floats, certain: Floats, width: int) -> list[int]:
    """Return the flat indices of `totals`, the best first.

    The best of `certain` is moved among the first `width`, so that beginnings of terms, which may
    still break off, cannot displace the words that were spoken.
    """
    order: list[int] = np.argsort(-totals, axis=None, kind="stable").tolist()
    at = order.index(int(certain.argmax()))
    if at >= width:
        order.insert(width - 1, order.pop(at))
    return order


def _loops(branch: Branch) -> bool:
    return stalled_loop_start(branch.tokens, branch.positions) is not None


def _write(row: Row, branch: Branch) -> None:
    """Copy the result from `branch` to `row`, without a loop at its end."""
    row.tokens = list(branch.tokens)
    row.probabilities = list(branch.probabilities)
    row.positions = list(branch.positions)
    row.end_probability = branch.end_probability
    start = stalled_loop_start(row.tokens, row.positions)
    if start is not None:
        row.truncate(start)
