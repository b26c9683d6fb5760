from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from oyez.recognisers.whisper_onnx.beam import Beam
from oyez.recognisers.whisper_onnx.decode import Line, Predicted

A, B, END = 0, 1, 2
POSITIONS = 50


class TableDecoder:
    """Knows what may follow each text; remembers each row's text as a real cache would."""

    sizes = SimpleNamespace(vocabulary=3)

    def __init__(self, table: dict[tuple[int, ...], tuple[float, float, float]]) -> None:
        self._table = table
        self.most_rows = 0

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Any,
        cache: TextCache,
        wanted: Sequence[Sequence[int]],
        token_bias: Any,
    ) -> Predicted:
        first = cache.texts is None
        texts = [()] if first else [(*t, *b) for t, b in zip(cache.texts, blocks, strict=True)]
        cache.texts = texts
        self.most_rows = max(self.most_rows, len(texts))
        odds = np.array([self._table.get(text, (0.001, 0.001, 0.998)) for text in texts])
        order = np.argsort(-odds, axis=1)
        asked = [1, len(wanted[0]), 1]
        attention = np.zeros((len(texts), 1, POSITIONS))
        for row, text in enumerate(texts):
            attention[row, 0, min(10 * len(text), POSITIONS - 1)] = 1
        return Predicted(
            np.tile(order[:, None], asked),
            np.tile(np.take_along_axis(odds, order, axis=1)[:, None], asked),
            np.zeros((len(texts), 0), np.float32),
            attention,
        )


class TextCache:
    texts: list[tuple[int, ...]] | None = None

    def take(self, rows: Sequence[int]) -> None:
        assert self.texts is not None
        self.texts = [self.texts[row] for row in rows]


def search(table: dict[tuple[int, ...], tuple[float, float, float]], width: int) -> Line:
    line = Line(prompt=(0,), hint=(), max_tokens=20, audio=POSITIONS)
    beam = Beam(TableDecoder(table), END, (), (), width)  # type: ignore[arg-type]
    beam.run(line, None, TextCache())  # type: ignore[arg-type]
    return line


GARDEN_PATH = {(): (0.6, 0.4, 0.0), (A,): (0.3, 0.3, 0.4), (B,): (0.005, 0.005, 0.99)}


def test_the_likelier_whole_beats_the_likelier_beginning() -> None:
    assert search(GARDEN_PATH, 2).tokens == [B]


def test_a_width_of_one_is_greedy() -> None:
    greedy = search(GARDEN_PATH | {(A, A): (0.01, 0.01, 0.98)}, 1)
    assert greedy.tokens[0] == A


def test_what_is_far_behind_is_not_followed() -> None:
    trap = {(): (0.9, 0.1, 0.0), (B,): (0.0, 0.0, 1.0)}
    decoder = TableDecoder(trap)
    line = Line(prompt=(0,), hint=(), max_tokens=20, audio=POSITIONS)
    Beam(decoder, END, (), (), 2, reach=1.0).run(line, None, TextCache())  # type: ignore[arg-type]
    assert line.tokens == [A]
    assert decoder.most_rows == 1


def test_a_line_tells_how_sure_and_where_each_token_was() -> None:
    line = search(GARDEN_PATH, 2)
    assert line.probabilities == [0.4]
    assert line.places == [10]
    assert line.end_probability == 0.99


def test_audio_without_words_ends_at_once() -> None:
    assert search({(): (0.05, 0.05, 0.9)}, 2).tokens == []


def test_a_search_that_never_ends_is_bounded() -> None:
    endless = {(A,) * n: (0.9, 0.1, 0.0) for n in range(40)}
    assert len(search(endless, 2).tokens) <= 20
