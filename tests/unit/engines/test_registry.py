from __future__ import annotations

import pytest

from oyez.engines.registry import find_recogniser


def test_an_unknown_engine_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="whisper-onnx"):
        find_recogniser("nonsense")
