"""Greedy search for partials, and beam search for finals.

Greedy search decodes a batch of rows that start with different tokens and end at different times.
Beam search follows several hypotheses of one row at the same time. Its scores are divided by length
(Wu et al. 2016, "Google's Neural Machine Translation System", section 7, with alpha = 1). It ends
when as many hypotheses have ended as the beam is wide, or when none of the others is close enough
to the best.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from oyez.engines.whisper.hallucination import stalled_loop_start
from oyez.engines.whisper.tokens import Tokens
from oyez.engines.whisper_onnx.decoder import (
    MIN_PROBABILITY,
    Cache,
    Decoder,
    Encoded,
    Floats,
    Ids,
    Predicted,
    Row,
    take,
    token_bias,
)
from oyez.engines.whisper_onnx.phrase_boost import START, TermState, TermTree

WIDTH = 5
"""Most hypotheses that beam search follows at the same time."""
MAX_GAP = 1.0
"""A hypothesis whose log probability is lower than the best by more than this is dropped. On 254
finals in 14 languages this is about as accurate as no limit and takes a third less time: where the
model is confident, the search is greedy. At 0.5 errors increase; at 2.0 only the time does."""


class Search:
    """What may be written, for both searches."""

    def __init__(
        self,
        decoder: Decoder,
        tokens: Tokens,
        discouraged: Sequence[int] = (),
        boosted: Mapping[int, float] | None = None,
    ) -> None:
        """discouraged, boosted: see `token_bias`."""
        self._decoder = decoder
        self._end = tokens.end
        self._suppressed_first = list(tokens.suppressed_first)
        self._bias = token_bias(decoder.sizes, tokens, discouraged, boosted)


class GreedySearch(Search):
    """Always continues with the likeliest token, bonuses for terms included."""

    def run(self, rows: Sequence[Row], encoded: Encoded) -> Floats:
        """Decode all `rows` to their ends. Return the probabilities of the decoder's probe tokens
        after the first token of each prompt."""
        cache = self._decoder.new_cache(len(rows))
        active: list[Row | None] = list(rows)
        blocks: list[Sequence[int]] = [[*row.prompt, *row.hint] for row in rows]
        # in each block, the index after which the first new token is predicted
        first = [len(row.prompt) - 1 for row in rows]
        probes: Floats | None = None
        while True:
            before = cache.valid.shape[1]
            # the first pass also predicts after the first token, for the probes
            also = [0] if probes is None else []
            asked = [[*also, *range(first[i], len(block))] for i, block in enumerate(blocks)]
            predicted = self._decoder.feed(blocks, encoded, cache, asked, self._bias)
            probes = predicted.probes if probes is None else probes
            latest = [self._end] * len(active)
            for index, row in enumerate(active):
                if row is None:
                    continue
                guessed = blocks[index][first[index] + 1 :]
                after = (index, slice(len(also), None))
                attention = predicted.attention[index, first[index] :, : row.audio_positions]
                kept, token = self._advance(
                    row,
                    guessed,
                    predicted.tokens[after].tolist(),
                    predicted.probabilities[after].tolist(),
                    attention.argmax(axis=1).tolist(),
                )
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
                encoded = take(encoded, going)
                cache.take(going)
            blocks = [[token] for token in latest]
            first = [0] * len(active)

    def _advance(
        self,
        row: Row,
        guessed: Sequence[int],
        tokens: list[list[int]],
        probabilities: list[list[float]],
        positions: list[int],
    ) -> tuple[int, int | None]:
        """Append predicted tokens as long as they agree with `guessed`, and the first that differs.

        tokens, probabilities: for each prediction, the likeliest ones. positions: where in the
        audio each token that was fed had most attention. Returns how many guesses were right, and
        the token to feed next. None means that the row has ended.
        """
        for index, guess in enumerate((*guessed, None)):
            if row.tokens:
                row.positions.append(positions[index])
                if (start := stalled_loop_start(row.tokens, row.positions)) is not None:
                    row.truncate(start)
                    return index, None
            token = self._choose(row, tokens[index], probabilities[index])
            if token is None or token != guess:
                return index, token
        raise AssertionError("unreachable")

    def _choose(self, row: Row, tokens: list[int], probabilities: list[float]) -> int | None:
        """Append the best token to the row and return it, or None if the text ends."""

        def score(at: int) -> float:
            """Return the log probability of a token, plus its bonus for terms."""
            log_probability = float(np.log(max(probabilities[at], MIN_PROBABILITY)))
            return log_probability + row.terms.step(row.term_state, tokens[at]).bonus

        suppressed = () if row.tokens else self._suppressed_first
        allowed = [index for index, token in enumerate(tokens) if token not in suppressed]
        best = max(allowed, key=score) if row.terms else allowed[0]
        token = tokens[best]
        if token == self._end or len(row.tokens) >= row.max_tokens:
            return None
        row.tokens.append(token)
        row.probabilities.append(probabilities[best])
        row.term_state = row.terms.step(row.term_state, token)
        return token


@dataclass(frozen=True, slots=True)
class Branch:
    """One hypothesis of the beam. See `Row` for the fields."""

    tokens: tuple[int, ...] = ()
    probabilities: tuple[float, ...] = ()
    positions: tuple[int, ...] = ()
    log_probability: float = 0.0
    """Sum of the log probabilities of its tokens, and of its end once it has ended."""
    term_state: TermState = START

    @property
    def total(self) -> float:
        """Log probability plus the bonus for terms."""
        return self.log_probability + self.term_state.bonus

    @property
    def score(self) -> float:
        """`total` divided by length, by which ended branches are compared."""
        return self.total / (len(self.tokens) + 1)

    @property
    def loops(self) -> bool:
        """Whether it has just closed a loop."""
        return stalled_loop_start(self.tokens, self.positions) is not None


class BeamSearch(Search):
    """Decodes one row at a time, following at most `width` branches, none of them more than
    `max_gap` behind the best."""

    width = WIDTH
    max_gap = MAX_GAP

    def run(self, row: Row, encoded: Encoded) -> Floats:
        """Decode `row`, the only one of `encoded`, to its end. Return the probabilities of the
        decoder's probe tokens after the first token of the prompt."""
        cache = self._decoder.new_cache(1)
        last = len(row.prompt) - 1
        first = self._decoder.feed([row.prompt], encoded, cache, [[0, last]], self._bias)
        branches, ended = [Branch(term_state=row.term_state)], list[Branch]()
        looping: Branch | None = None
        tokens, probabilities = first.tokens[:, 1], first.probabilities[:, 1]
        probabilities[np.isin(tokens, self._suppressed_first)] = 0
        while branches and len(ended) < self.width and len(branches[0].tokens) < row.max_tokens:
            branches, parents = self._extend(branches, tokens, probabilities, ended, row.terms)
            if not branches:
                break
            cache.take(parents)
            predicted, tokens, probabilities = self._feed(branches, encoded, cache, row.terms)
            positions = predicted.attention[:, 0, : row.audio_positions].argmax(axis=1).tolist()
            branches = [
                replace(branch, positions=(*branch.positions, position))
                for branch, position in zip(branches, positions, strict=True)
            ]
            going = [index for index, branch in enumerate(branches) if not branch.loops]
            if len(going) < len(branches):
                # the best looping branch is the result if no other branch ends
                looping = looping or branches[0]
                branches = [branches[index] for index in going]
                tokens, probabilities = tokens[going], probabilities[going]
                cache.take(going)
        best = max(ended or branches or [looping or Branch()], key=lambda branch: branch.score)
        row.tokens, row.probabilities = list(best.tokens), list(best.probabilities)
        row.positions = list(best.positions)
        if (start := stalled_loop_start(row.tokens, row.positions)) is not None:
            row.truncate(start)
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
        tokens = np.concatenate([tokens, more], 1)
        return predicted, tokens, np.concatenate([probabilities, added], 1)

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
        count = tokens.shape[1] if terms else self.width + 1
        choices = tokens[:, :count]
        chances = np.maximum(probabilities[:, :count], MIN_PROBABILITY)
        logs = np.array([branch.log_probability for branch in branches])[:, None] + np.log(chances)
        states, bonuses, final_bonuses = _term_states(branches, choices, terms)
        totals, certain = logs + bonuses, logs + final_bonuses
        best = max([certain.max(), *(branch.total for branch in ended)])
        extended: list[Branch] = []
        parents: list[int] = []
        for index in _order(totals, certain, self.width):
            row, column = divmod(index, totals.shape[1])
            token, probability = int(choices[row, column]), float(chances[row, column])
            if len(extended) == self.width or totals[row, column] < best - self.max_gap:
                break
            branch = replace(
                branches[row],
                log_probability=branches[row].log_probability + float(np.log(probability)),
                term_state=states[row][column],
            )
            if token == self._end:
                ended.append(branch)
                continue
            parents.append(row)
            added = (*branch.tokens, token), (*branch.probabilities, probability)
            extended.append(replace(branch, tokens=added[0], probabilities=added[1]))
        return extended, parents


def _term_states(
    branches: Sequence[Branch], choices: Ids, terms: TermTree
) -> tuple[list[list[TermState]], Floats, Floats]:
    """Return the term state of each continuation of each branch, its bonus, and its bonus if the
    text ends there."""
    if not terms:
        nothing = np.zeros(choices.shape, np.float32)
        return [[START] * choices.shape[1]] * len(branches), nothing, nothing
    rows = [
        [terms.step(branch.term_state, token) for token in row]
        for branch, row in zip(branches, choices.tolist(), strict=True)
    ]
    bonuses = np.array([[state.bonus for state in row] for row in rows], np.float32)
    final = np.array([[terms.final_bonus(state) for state in row] for row in rows], np.float32)
    return rows, bonuses, final


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
