from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oyez.engines.whisper_onnx.decoder import Predicted, text_probabilities


class CountingDecoder:
    """Behind token n comes n + 1, else n + 2, else n + 3."""

    def new_cache(self, rows: int) -> None:
        return None

    def feed(self, blocks: Any, encoded: Any, cache: Any, wanted: Any, bias: Any) -> Predicted:
        places = [blocks[0][place] for place in wanted[0]]
        tokens = np.array([[[token + step for step in (1, 2, 3)] for token in places]])
        probabilities = np.tile(np.array([0.7, 0.2, 0.05]), (1, len(places), 1))
        none = np.zeros((1, 0), np.float32)
        return Predicted(tokens, probabilities, none, none)


def in_silence(prompt: list[int], tokens: list[int]) -> list[float]:
    decoder: Any = CountingDecoder()
    nothing: Any = None
    return text_probabilities(decoder, nothing, nothing, prompt, tokens)


def test_each_token_is_weighed_behind_those_before_it() -> None:
    assert in_silence([100, 7], [8, 10]) == pytest.approx([0.7, 0.2])


def test_an_unlikely_token_gets_the_most_it_can_have() -> None:
    assert in_silence([7], [50, 51]) == pytest.approx([0.05, 0.7])
