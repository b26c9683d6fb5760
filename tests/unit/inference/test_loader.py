from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from oyez.inference.loader import Engines, LoadError, load_engines
from oyez.testing import FakeRecogniser


def load(**changes: Any) -> Engines:
    choice: dict[str, Any] = {
        "engine": "fake",
        "model": "base",
        "device": "cpu",
        "threads": 1,
        "cache_dir": Path("unused"),
        "vad": "energy",
    }
    return load_engines(**{**choice, **changes})


def test_what_is_loaded_is_warm() -> None:
    lines: list[str] = []
    engines = load(progress=lines.append)
    assert isinstance(engines.recogniser, FakeRecogniser)
    assert engines.recogniser.warm
    assert engines.session_cost < 0.01
    assert lines[0] == "loading fake (base) on cpu"


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"engine": "none"}, "fake"),
        ({"vad": "none"}, "energy"),
        ({"device": "cuda"}, "--engine whisper-ct2"),
        ({"engine": "whisper-onnx", "model": "openai/tiny"}, "--engine whisper-ct2"),
    ],
)
def test_what_cannot_be_had_is_told_with_what_to_do(changes: dict[str, str], advice: str) -> None:
    with pytest.raises(LoadError, match=advice):
        load(**changes)


def test_an_engine_that_fails_to_warm_up_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FakeRecogniser) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(FakeRecogniser, "warm_up", fail)
    with pytest.raises(LoadError, match="engine fake with model base: no room"):
        load()
