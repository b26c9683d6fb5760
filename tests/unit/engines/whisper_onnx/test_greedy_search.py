from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from oyez.engines.whisper_onnx.decoder import Predicted, Row
from oyez.engines.whisper_onnx.phrase_boost import NO_TERMS, TermTree
from oyez.engines.whisper_onnx.search import GreedySearch

A, B, END = 0, 1, 2
RULES: Any = SimpleNamespace(end=END, suppressed=(), suppressed_first=())
PROMPT = 9
PROBABILITIES = {
    (): (0.8, 0.2, 0.0),
    (A,): (0.1, 0.1, 0.8),
    (B,): (0.1, 0.3, 0.6),
    (B, A): (0.0, 0.0, 1.0),
}


class TableDecoder:
    """One row; `cache` remembers its text."""

    sizes = SimpleNamespace(vocabulary=10)

    def new_cache(self, rows: int) -> Any:
        return SimpleNamespace(tokens=[], valid=np.zeros((rows, 0), bool))

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Any,
        cache: Any,
        wanted: Sequence[Sequence[int]],
        token_bias: Any,
    ) -> Predicted:
        (block,), (places,) = blocks, wanted
        kept = [t for t, is_valid in zip(cache.tokens, cache.valid[0], strict=True) if is_valid]
        cache.tokens += list(block)
        cache.valid = np.concatenate([cache.valid, np.ones((1, len(block)), bool)], axis=1)
        texts = [tuple(t for t in (*kept, *block[: at + 1]) if t != PROMPT) for at in places]
        probabilities = np.array([[PROBABILITIES.get(text, (0.0, 0.0, 1.0)) for text in texts]])
        order = np.argsort(-probabilities, axis=2)
        attention = np.eye(1, 50, dtype=np.float32).repeat(len(block), axis=0)[None]
        return Predicted(
            order,
            np.take_along_axis(probabilities, order, axis=2),
            np.zeros((1, 0), np.float32),
            attention,
        )


def write(tree: TermTree = NO_TERMS, hint: tuple[int, ...] = ()) -> list[int]:
    row = Row((PROMPT,), hint, max_tokens=9, audio_positions=50, terms=tree)
    GreedySearch(TableDecoder(), RULES).run([row], {})  # type: ignore[arg-type]
    return row.tokens


def test_the_likeliest_token_is_written() -> None:
    assert write() == [A]


def test_a_term_is_preferred_token_by_token() -> None:
    assert write(TermTree([(B, A)])) == [B, A]


def test_a_hint_does_not_change_what_is_preferred() -> None:
    tree = TermTree([(B, A)])
    assert write(tree, (A,)) == write(tree, (B, A)) == write(tree, (B, B)) == [B, A]
