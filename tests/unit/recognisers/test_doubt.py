from __future__ import annotations

import pytest

from oyez.recognisers.whisper_onnx.decode import Line
from oyez.recognisers.whisper_onnx.transcribe import is_doubtful


def line(probabilities: list[float], end: float) -> Line:
    line = Line(prompt=(0,), hint=(), max_tokens=20, audio=50)
    line.probabilities = probabilities
    line.end_probability = end
    return line


@pytest.mark.parametrize(
    ("probabilities", "end", "doubtful"),
    [
        pytest.param([0.9, 0.95, 0.99], 0.9, False, id="all sure"),
        pytest.param([0.5, 0.4, 0.6], 0.5, False, id="nothing very unlikely"),
        pytest.param([0.99] * 20 + [0.25], 0.99, False, id="one slip in much that is sure"),
        pytest.param([0.9, 0.2, 0.7], 0.9, True, id="an unlikely token among a few"),
        pytest.param([0.9, 0.9], 0.1, True, id="an unlikely end"),
        pytest.param([], 0.9, False, id="surely nothing"),
        pytest.param([], 0.2, True, id="perhaps nothing"),
        pytest.param([0.0], 0.0, True, id="impossible"),
    ],
)
def test_what_is_searched(probabilities: list[float], end: float, doubtful: bool) -> None:
    assert is_doubtful(line(probabilities, end)) is doubtful
