from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from oyez.engines.whisper_onnx.decoder import Predicted, Row
from oyez.engines.whisper_onnx.phrase_boost import NO_TERMS, TermTree
from oyez.engines.whisper_onnx.search import BeamSearch

A, B, END = 0, 1, 2
RULES: Any = SimpleNamespace(end=END, suppressed=(), suppressed_first=())
POSITIONS = 50


class TableDecoder:
    """Knows what may follow each text, and names the likeliest; remembers each row's text as a
    real cache would."""

    sizes = SimpleNamespace(vocabulary=3)

    def __init__(
        self, table: dict[tuple[int, ...], tuple[float, float, float]], named: int = 3
    ) -> None:
        self._table = table
        self._named = named
        self.most_rows = 0

    def new_cache(self, rows: int) -> TextCache:
        return TextCache()

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Any,
        cache: TextCache,
        wanted: Sequence[Sequence[int]],
        token_bias: Any,
        probes: Any = None,
    ) -> Predicted:
        texts: list[tuple[int, ...]] = [()]
        if cache.texts is not None:
            texts = [(*t, *b) for t, b in zip(cache.texts, blocks, strict=True)]
        cache.texts = texts
        self.most_rows = max(self.most_rows, len(texts))
        probabilities = np.array([self._table.get(text, (0.001, 0.001, 0.998)) for text in texts])
        order = np.argsort(-probabilities, axis=1)[:, : self._named]
        asked = [1, len(wanted[0]), 1]
        attention = np.zeros((len(texts), 1, POSITIONS), np.float32)
        for row, text in enumerate(texts):
            attention[row, 0, min(10 * len(text), POSITIONS - 1)] = 1
        return Predicted(
            np.tile(order[:, None], asked),
            np.tile(np.take_along_axis(probabilities, order, axis=1)[:, None], asked),
            probabilities[:, probes or []],
            attention,
        )


class TextCache:
    texts: list[tuple[int, ...]] | None = None

    def take(self, rows: Sequence[int]) -> None:
        assert self.texts is not None
        self.texts = [self.texts[row] for row in rows]


def search(
    table: dict[tuple[int, ...], tuple[float, float, float]],
    width: int,
    tree: TermTree = NO_TERMS,
    named: int = 3,
) -> Row:
    row = Row(prompt=(0,), hint=(), max_tokens=20, audio_positions=POSITIONS, terms=tree)
    beam = BeamSearch(TableDecoder(table, named), RULES)  # type: ignore[arg-type]
    beam.width = width
    beam.run(row, {})
    return row


GARDEN_PATH = {(): (0.6, 0.4, 0.0), (A,): (0.3, 0.3, 0.4), (B,): (0.005, 0.005, 0.99)}


def test_the_likelier_whole_beats_the_likelier_beginning() -> None:
    assert search(GARDEN_PATH, 2).tokens == [B]


def test_a_width_of_one_is_greedy() -> None:
    greedy = search(GARDEN_PATH | {(A, A): (0.01, 0.01, 0.98)}, 1)
    assert greedy.tokens[0] == A


def test_what_is_far_behind_is_not_followed() -> None:
    trap = {(): (0.9, 0.1, 0.0), (B,): (0.0, 0.0, 1.0)}
    decoder = TableDecoder(trap)
    row = Row(prompt=(0,), hint=(), max_tokens=20, audio_positions=POSITIONS)
    beam = BeamSearch(decoder, RULES)  # type: ignore[arg-type]
    beam.run(row, {})
    assert row.tokens == [A]
    assert decoder.most_rows == 1


def test_a_row_has_the_probability_and_the_position_of_each_token() -> None:
    row = search(GARDEN_PATH, 2)
    assert row.probabilities == [0.4]
    assert row.positions == [10]


def test_audio_without_words_ends_at_once() -> None:
    assert search({(): (0.05, 0.05, 0.9)}, 2).tokens == []


def test_a_search_that_never_ends_is_bounded() -> None:
    endless = {(A,) * n: (0.9, 0.1, 0.0) for n in range(40)}
    assert len(search(endless, 2).tokens) <= 20


NAME = {
    (): (0.9, 0.1, 0.0),
    (A,): (0.0, 0.0, 1.0),
    (B,): (0.1, 0.1, 0.8),
    (B, A): (0.0, 0.0, 1.0),
}


def test_a_term_is_found_though_other_words_are_likelier() -> None:
    assert search(NAME, 2).tokens == [A]
    row = search(NAME, 2, TermTree([(B, A)]))
    assert row.tokens == [B, A]
    assert row.probabilities == [0.1, 0.1]


def test_a_term_goes_on_though_its_token_is_not_among_the_likeliest() -> None:
    rarely = NAME | {(B,): (0.1, 0.2, 0.7)}
    assert search(rarely, 2, TermTree([(B, A)]), named=2).tokens == [B, A]


def test_what_begins_like_a_term_is_not_preferred() -> None:
    nearly = NAME | {(B,): (0.0, 0.2, 0.8), (B, B): (0.0, 0.0, 1.0)}
    assert search(nearly, 2, TermTree([(B, A, A)])).tokens == [A]


def test_terms_that_begin_alike_do_not_drive_out_what_was_said() -> None:
    many = {(): (0.7, 0.3, 0.0), (B,): (0.5, 0.5, 0.0), (A,): (0.0, 0.0, 1.0)}
    many |= {(B, A): (0.5, 0.5, 0.0), (B, B): (0.5, 0.5, 0.0)}
    tree = TermTree([(B, A, A, A, A), (B, A, B, A, A), (B, B, A, A, A), (B, B, B, A, A)])
    assert search(many, 2, tree).tokens == [A]


def test_a_term_that_was_not_spoken_is_not_written() -> None:
    assert search(NAME, 2, TermTree([(A, B, B)])).tokens == [A]


class BiasedDecoder(TableDecoder):
    def feed(self, *inputs: Any) -> Predicted:
        predicted = super().feed(*inputs)
        probabilities = predicted.probabilities * np.exp(inputs[4])[predicted.tokens]
        order = np.argsort(-probabilities, axis=-1)
        return predicted._replace(
            tokens=np.take_along_axis(predicted.tokens, order, -1),
            probabilities=np.take_along_axis(probabilities, order, -1),
        )


def test_a_boosted_token_is_written_though_less_likely() -> None:
    def written(boosted: dict[int, float]) -> list[int]:
        decoder = BiasedDecoder({(): (0.8, 0.15, 0.05)})
        decoder.sizes = SimpleNamespace(vocabulary=3)
        row = Row(prompt=(0,), hint=(), max_tokens=20, audio_positions=POSITIONS)
        beam = BeamSearch(decoder, RULES, boosted=boosted)  # type: ignore[arg-type]
        beam.run(row, {})
        return row.tokens

    assert written({}) == [A]
    assert written({B: 2.0}) == [B]
