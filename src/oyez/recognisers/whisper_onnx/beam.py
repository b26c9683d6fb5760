"""Beam search for finals: several hypotheses side by side, the likeliest per token wins.

Scores are divided by length (Wu et al. 2016, "Google's Neural Machine Translation System",
section 7, with alpha = 1); the search ends when as many hypotheses have ended as are followed at
most, or none of those left is within reach of the likeliest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from oyez.recognisers.whisper_onnx.decode import (
    Cache,
    Decoder,
    Encoded,
    Floats,
    Ids,
    Line,
    token_bias,
)
from oyez.recognisers.whisper_onnx.stop import loop_start

WIDTH = 5
"""Most hypotheses followed."""
REACH = 1.0
"""Hypotheses this much less likely than the likeliest (in logarithms) are given up. On 254 finals
in 14 languages as good as no such limit, in a third less time: where the model is sure, the search
is greedy. At 0.5 errors grow, at 2.0 only the time does."""
_LEAST = 1e-12
"""Probabilities below are as good as none; their logarithm must exist."""


@dataclass(frozen=True, slots=True)
class Branch:
    """One hypothesis on its way. See `Line` for the fields."""

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    places: tuple[int, ...] = ()
    score: float = 0.0
    """Sum of the logarithms of its probabilities, that of its end included once it has one."""
    end_probability: float = 0.0

    def grow(self, token: int, probability: float) -> Branch:
        return replace(
            self,
            tokens=(*self.tokens, token),
            probabilities=(*self.probabilities, probability),
            score=self.score + float(np.log(probability)),
        )

    def end(self, probability: float) -> Branch:
        score = self.score + float(np.log(probability))
        return replace(self, score=score, end_probability=probability)

    @property
    def merit(self) -> float:
        return self.score / (len(self.tokens) + 1)


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
    ) -> None:
        self._decoder = decoder
        self._end = end
        self._bias = token_bias(decoder.sizes, end, suppressed)
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
        branches, ended = [Branch()], list[Branch]()
        looping: Branch | None = None
        tokens, odds = first.tokens[:, 1], first.odds[:, 1]
        odds[np.isin(tokens, self._suppressed_first)] = 0
        while branches and len(ended) < self._width and len(branches[0].tokens) < line.max_tokens:
            branches, parents = self._grow(branches, tokens, odds, ended)
            if not branches:
                break
            cache.take(parents)
            latest = [[branch.tokens[-1]] for branch in branches]
            heard = self._decoder.feed(latest, encoded, cache, [[0]] * len(branches), self._bias)
            tokens, odds = heard.tokens[:, 0], heard.odds[:, 0]
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

    def _grow(
        self, branches: Sequence[Branch], tokens: Ids, odds: Floats, ended: list[Branch]
    ) -> tuple[list[Branch], list[int]]:
        """The likeliest continuations within reach, and the branch each comes from. Those that end
        join `ended`."""
        # each branch may end, which takes a place in the order but is not followed
        choices, chances = tokens[:, : self._width + 1], np.maximum(odds, _LEAST)
        chances = chances[:, : self._width + 1]
        totals = np.array([branch.score for branch in branches])[:, None] + np.log(chances)
        best = max([totals.max(), *(branch.score for branch in ended)])
        grown: list[Branch] = []
        parents: list[int] = []
        for place in np.argsort(-totals, axis=None, kind="stable"):
            row, column = divmod(int(place), totals.shape[1])
            token, probability = int(choices[row, column]), float(chances[row, column])
            if len(grown) == self._width or totals[row, column] < best - self._reach:
                break
            if token == self._end:
                ended.append(branches[row].end(probability))
            else:
                grown.append(branches[row].grow(token, probability))
                parents.append(row)
        return grown, parents


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
