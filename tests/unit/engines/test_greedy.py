from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from oyez.engines.whisper_onnx.bias import NO_TERMS, TermTree
from oyez.engines.whisper_onnx.decode import Greedy, Predicted
from oyez.engines.whisper_onnx.line import Line

A, B, END = 0, 1, 2
PROMPT = 9
ODDS = {(): (0.8, 0.2, 0.0), (A,): (0.1, 0.1, 0.8), (B,): (0.1, 0.3, 0.6), (B, A): (0.0, 0.0, 1.0)}


class TableDecoder:
    """One row; `cache` remembers its text."""

    sizes = SimpleNamespace(vocabulary=10)

    def feed(
        self,
        blocks: Sequence[Sequence[int]],
        encoded: Any,
        cache: Any,
        wanted: Sequence[Sequence[int]],
        token_bias: Any,
    ) -> Predicted:
        (block,), (places,) = blocks, wanted
        kept = [t for t, counts in zip(cache.tokens, cache.counts[0], strict=True) if counts]
        cache.tokens += list(block)
        cache.counts = np.concatenate([cache.counts, np.ones((1, len(block)), bool)], axis=1)
        texts = [tuple(t for t in (*kept, *block[: at + 1]) if t != PROMPT) for at in places]
        odds = np.array([[ODDS.get(text, (0.0, 0.0, 1.0)) for text in texts]])
        order = np.argsort(-odds, axis=2)
        attention = np.eye(1, 50).repeat(len(block), axis=0)[None]
        return Predicted(
            order, np.take_along_axis(odds, order, axis=2), np.zeros((1, 0), np.float32), attention
        )


def write(tree: TermTree = NO_TERMS, hint: tuple[int, ...] = ()) -> list[int]:
    cache = SimpleNamespace(tokens=[], counts=np.zeros((1, 0), bool))
    line = Line((PROMPT,), hint, max_tokens=9, audio=50, tree=tree)
    Greedy(TableDecoder(), END, (), ()).run([line], None, cache)  # type: ignore[arg-type]
    return line.tokens


def test_the_likeliest_token_is_written() -> None:
    assert write() == [A]


def test_a_term_is_preferred_token_by_token() -> None:
    assert write(TermTree([(B, A)])) == [B, A]


def test_a_hint_does_not_change_what_is_preferred() -> None:
    tree = TermTree([(B, A)])
    assert write(tree, (A,)) == write(tree, (B, A)) == write(tree, (B, B)) == [B, A]
