from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from oyez.engines import registry
from oyez.engines.base import EngineOptions
from oyez.engines.emotion import EmotionWeights, LinearClassifier, Neutral, find_weights
from oyez.runtime.loader import Engines, LoadError, load_engines
from oyez.settings import Settings
from oyez.testing import FakeRecogniser


def load(**changes: Any) -> Engines:
    """changes: of the settings, also to what no setting may be."""
    progress = changes.pop("progress", lambda line: None)
    settings = Settings(engine="fake", threads=1, vad="energy", emotion="off")
    folders = {"cache_dir": Path("unused"), "models_dir": Path("unused")}
    return load_engines(settings.model_copy(update={**folders, **changes}), progress)


def with_features(space: str) -> FakeRecogniser:
    engine = FakeRecogniser()
    engine.info = replace(engine.info, feature_space=space)
    return engine


def test_what_is_loaded_is_warm() -> None:
    lines: list[str] = []
    engines = load(progress=lines.append)
    assert isinstance(engines.recogniser, FakeRecogniser)
    assert engines.recogniser.warm
    assert engines.session_cost < 0.01
    assert lines[0] == "loading fake (base) on cpu"


@pytest.mark.parametrize("place", ["here/cache", "here"])
def test_a_cache_that_cannot_be_written_says_which_setting_helps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    (tmp_path / "here").touch()

    def prepares(options: EngineOptions) -> FakeRecogniser:
        Path(options.cache_dir).mkdir(parents=True)
        return FakeRecogniser()

    monkeypatch.setattr(FakeRecogniser, "load", prepares)
    with pytest.raises(LoadError, match=r"cache_dir .*here.* cannot be used: .*--cache-dir"):
        load(cache_dir=tmp_path / place)


def test_weights_for_other_models_are_reported_and_not_used() -> None:
    lines: list[str] = []
    engines = load(emotion="open", progress=lines.append)
    assert isinstance(engines.emotion, Neutral)
    assert any("every utterance will be neutral" in line for line in lines)


def test_the_classifier_asked_for_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    space = EmotionWeights.load(find_weights("open")).space
    monkeypatch.setattr(FakeRecogniser, "load", lambda *_: with_features(space))
    emotion = load(emotion="research", emotion_confidence=0.7).emotion
    assert isinstance(emotion, LinearClassifier)
    assert emotion.min_confidence == 0.7
    assert "ravdess" in emotion.weights.about["corpora"]
    assert isinstance(load(emotion="off").emotion, Neutral)


@pytest.mark.parametrize(
    ("changes", "advice"),
    [
        ({"engine": "none"}, "fake"),
        ({"vad": "none"}, "energy"),
        ({"emotion": "none.npz"}, "none.npz: No such file"),
        ({"device": "cuda"}, "--engine whisper-ct2"),
        ({"engine": "whisper-onnx", "model": "openai/tiny"}, "--engine whisper-ct2"),
    ],
)
def test_what_cannot_be_loaded_is_reported_with_what_to_do(
    changes: dict[str, str], advice: str
) -> None:
    with pytest.raises(LoadError, match=advice):
        load(**changes)


def test_an_engine_that_fails_to_warm_up_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: FakeRecogniser) -> None:
        raise MemoryError("no room")

    monkeypatch.setattr(FakeRecogniser, "warm_up", fail)
    with pytest.raises(LoadError, match="engine fake with model base: no room"):
        load()


@pytest.mark.parametrize(
    ("engine", "model", "text", "starts"),
    [
        ("whisper-onnx", "base", " It was the best of times", True),
        ("whisper-onnx", "base", "", False),
        ("whisper-onnx", "base", "Untertitel der Amara.org", False),
        ("whisper-ct2", "base", "", False),
        ("whisper-ct2", "small", "", False),
        ("whisper-ct2", "small", "es war die beste der Zeiten", True),
        ("fake", "base", "", True),
    ],
)
def test_an_engine_that_does_not_recognise_its_sentence_is_not_served(
    monkeypatch: pytest.MonkeyPatch, engine: str, model: str, text: str, starts: bool
) -> None:
    class Understands(FakeRecogniser):
        @classmethod
        def load(cls, *_: object) -> FakeRecogniser:
            recogniser = FakeRecogniser(lambda request: text)
            recogniser.info = replace(recogniser.info, has_speech_model=engine != "fake")
            return recogniser

    monkeypatch.setattr(registry, "find_recogniser", lambda name: Understands)
    if starts:
        assert load(engine=engine, model=model)
        return
    with pytest.raises(LoadError, match="does not recognise the sentence .* oyez models verify"):
        load(engine=engine, model=model)
