"""Beam search for finals: several hypotheses side by side, the likeliest per token wins.

Scores are divided by length (Wu et al. 2016, "Google's Neural Machine Translation System",
section 7, with alpha = 1); the search ends when as many hypotheses have ended as are followed at
most, or none of those left is within reach of the likeliest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from oyez.engines.whisper_onnx.bias import START, State, TermTree
from oyez.engines.whisper_onnx.decode import (
    LEAST,
    Cache,
    Decoder,
    Encoded,
    Floats,
    Ids,
    Predicted,
    token_bias,
)
from oyez.engines.whisper_onnx.line import Line
from oyez.engines.whisper_onnx.stop import loop_start

WIDTH = 5
"""Most hypotheses followed."""
REACH = 1.0
"""Hypotheses this much less likely than the likeliest (in logarithms) are given up. On 254 finals
in 14 languages as good as no such limit, in a third less time: where the model is sure, the search
is greedy. At 0.5 errors grow, at 2.0 only the time does."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One hypothesis on its way. See `Line` for the fields."""

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    places: tuple[int, ...] = ()
    score: float = 0.0
    """Sum of the logarithms of its probabilities, that of its end included once it has one."""
    end_probability: float = 0.0
    state: State = START
    """Where in the tree of terms it ends, and the bonus for terms."""

    def grow(self, token: int, probability: float, state: State) -> Branch:
        return replace(
            self,
            tokens=(*self.tokens, token),
            probabilities=(*self.probabilities, probability),
            score=self.score + float(np.log(probability)),
            state=state,
        )

    def end(self, probability: float, state: State) -> Branch:
        score = self.score + float(np.log(probability))
        return replace(self, score=score, end_probability=probability, state=state)

    @property
    def total(self) -> float:
        return self.score + self.state.bonus

    @property
    def merit(self) -> float:
        return self.total / (len(self.tokens) + 1)


class Beam:
    """Follows the likeliest hypotheses of one line at a time: at most `width`, none of them more
    than `reach` behind."""

    def __init__(
        self,
        decoder: Decoder,
        end: int,
        suppressed: Sequence[int],
        suppressed_first: Sequence[int],
        width: int = WIDTH,
        reach: float = REACH,
        unlikely: Sequence[int] = (),
        welcome: Mapping[int, float] | None = None,
    ) -> None:
        self._decoder = decoder
        self._end = end
        self._bias = token_bias(decoder.sizes, end, suppressed, unlikely, welcome)
        self._suppressed_first = list(suppressed_first)
        self._width = width
        self._reach = reach

    def run(self, line: Line, encoded: Encoded, cache: Cache) -> Floats:
        """Decode `line` to its end; `encoded` and `cache` have one row, which may already hold
        its first tokens.

        Returns the probabilities of the decoder's marks after the first token of the prompt.
        """
        last = len(line.prompt) - 1
        first = self._decoder.feed([line.prompt], encoded, cache, [[0, last]], self._bias)
        branches, ended = [Branch(state=line.state)], list[Branch]()
        looping: Branch | None = None
        tokens, odds = first.tokens[:, 1], first.odds[:, 1]
        odds[np.isin(tokens, self._suppressed_first)] = 0
        while branches and len(ended) < self._width and len(branches[0].tokens) < line.max_tokens:
            branches, parents = self._grow(branches, tokens, odds, ended, line.tree)
            if not branches:
                break
            cache.take(parents)
            heard, tokens, odds = self._feed(branches, encoded, cache, line.tree)
            places = heard.attention[:, 0, : line.audio].argmax(axis=1).tolist()
            branches = [
                replace(branch, places=(*branch.places, place))
                for branch, place in zip(branches, places, strict=True)
            ]
            going = [row for row, branch in enumerate(branches) if not _loops(branch)]
            if len(going) < len(branches):
                looping = looping or branches[0]
                branches, tokens, odds = (
                    [branches[row] for row in going],
                    tokens[going],
                    odds[going],
                )
                cache.take(going)
        _write(line, max(ended or branches or [looping or Branch()], key=lambda b: b.merit))
        return first.marks

    def _feed(
        self, branches: Sequence[Branch], encoded: Encoded, cache: Cache, tree: TermTree
    ) -> tuple[Predicted, Ids, Floats]:
        """Append each branch's latest token to the cache. Returns also the tokens that may follow
        with their probabilities: the likeliest, and those that continue a term, [branches, n]."""
        latest = [[branch.tokens[-1]] for branch in branches]
        following = [tree.following(branch.state) for branch in branches]
        marks = sorted({token for tokens in following for token in tokens})
        once = [[0]] * len(branches)
        heard = self._decoder.feed(latest, encoded, cache, once, self._bias, marks or None)
        tokens, odds = heard.tokens[:, 0], heard.odds[:, 0]
        if not marks:
            return heard, tokens, odds
        more = np.tile(np.array(marks, np.int64), (len(branches), 1))
        known = (more[:, :, None] == tokens[:, None, :]).any(axis=2)
        own = np.array([[mark in tokens for mark in marks] for tokens in following])
        chances = np.where(own & ~known, heard.marks, 0).astype(np.float32)
        return heard, np.concatenate([tokens, more], 1), np.concatenate([odds, chances], 1)

    def _grow(
        self,
        branches: Sequence[Branch],
        tokens: Ids,
        odds: Floats,
        ended: list[Branch],
        tree: TermTree,
    ) -> tuple[list[Branch], list[int]]:
        """The best continuations within reach, and the branch each comes from. Those that end
        join `ended`."""
        # each branch may end, which takes a place in the order but is not followed; and a term
        # may lift any token
        count = tokens.shape[1] if tree else self._width + 1
        choices, chances = tokens[:, :count], np.maximum(odds[:, :count], LEAST)
        scores = np.array([branch.score for branch in branches])[:, None] + np.log(chances)
        states = _states(branches, choices, tree)
        totals, sure = scores + states.bonuses, scores + states.settled
        best = max([sure.max(), *(branch.total for branch in ended)])
        grown: list[Branch] = []
        parents: list[int] = []
        for place in _order(totals, sure, self._width):
            row, column = divmod(place, totals.shape[1])
            token, probability = int(choices[row, column]), float(chances[row, column])
            if len(grown) == self._width or totals[row, column] < best - self._reach:
                break
            state = states.rows[row][column]
            if token == self._end:
                ended.append(branches[row].end(probability, state))
            else:
                grown.append(branches[row].grow(token, probability, state))
                parents.append(row)
        return grown, parents


class _States(NamedTuple):
    """What each continuation of each branch is in the tree of terms, and gains."""

    rows: list[list[State]]
    bonuses: Floats
    settled: Floats


def _states(branches: Sequence[Branch], choices: Ids, tree: TermTree) -> _States:
    if not tree:
        nothing = np.zeros(choices.shape, np.float32)
        return _States([[START] * choices.shape[1]] * len(branches), nothing, nothing)
    rows = [
        [tree.step(branch.state, token) for token in row]
        for branch, row in zip(branches, choices.tolist(), strict=True)
    ]
    bonuses = np.array([[state.bonus for state in row] for row in rows], np.float32)
    settled = np.array([[tree.settled(state) for state in row] for row in rows], np.float32)
    return _States(rows, bonuses, settled)


def _order(totals: Floats, sure: Floats, width: int) -> list[int]:
    """Places in `totals`, the best first. Among the first `width` is the best of `sure`: terms
    that break off after all must not have driven out what was said."""
    order: list[int] = np.argsort(-totals, axis=None, kind="stable").tolist()
    at = order.index(int(sure.argmax()))
    if at >= width:
        order.insert(width - 1, order.pop(at))
    return order


def _loops(branch: Branch) -> bool:
    return loop_start(branch.tokens, branch.places) is not None


def _write(line: Line, branch: Branch) -> None:
    line.tokens = list(branch.tokens)
    line.probabilities = list(branch.probabilities)
    line.places = list(branch.places)
    line.end_probability = branch.end_probability
    start = loop_start(line.tokens, line.places)
    if start is not None:
        line.cut(start)
