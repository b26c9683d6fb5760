from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from oyez.engines.base import EMOTIONS
from oyez.engines.emotion import (
    SHIPPED,
    EmotionWeights,
    EmotionWeightsError,
    LinearClassifier,
    Neutral,
    find_weights,
)
from oyez.engines.registry import load_emotion_classifier


def weights(size: int = 4) -> EmotionWeights:
    random = np.random.default_rng(0)
    count = len(EMOTIONS)

    def some(*shape: int) -> np.ndarray:
        return random.standard_normal(shape).astype(np.float32)

    return EmotionWeights(
        "toy", some(size), some(size), some(count, size), some(count), some(count, size),
        {"corpora": ["one"], "seed": 1},
    )  # fmt: skip


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    before, file = weights(), tmp_path / "w.npz"
    before.save(file)
    after = EmotionWeights.load(file)
    assert (after.space, after.about) == ("toy", {"corpora": ["one"], "seed": 1})
    for name in ("centre", "scale", "matrix", "bias", "offsets"):
        assert np.array_equal(getattr(after, name), getattr(before, name))


def test_equal_weights_make_equal_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        weights().save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a file of numpy", b"PK\x03\x04 broken"])
def test_a_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "w.npz"
    file.write_bytes(content)
    with pytest.raises(EmotionWeightsError, match=r"w\.npz: not emotion weights"):
        EmotionWeights.load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(EmotionWeightsError, match=r"none\.npz: No such file"):
        EmotionWeights.load(tmp_path / "none.npz")


def test_a_file_without_an_array_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "w.npz"
    np.savez(file, about=np.frombuffer(b'{"space": "toy"}', np.uint8), centre=np.zeros(3))
    with pytest.raises(EmotionWeightsError, match="scale"):
        EmotionWeights.load(file)


def test_shapes_must_agree() -> None:
    good = weights()
    with pytest.raises(EmotionWeightsError, match=r"matrix: expected .* \(7, 3\)"):
        EmotionWeights("toy", good.centre[:3], good.scale[:3], good.matrix, good.bias,
                       good.offsets)  # fmt: skip


def test_numbers_must_be_finite() -> None:
    good = weights()
    with pytest.raises(EmotionWeightsError, match="bias"):
        EmotionWeights("toy", good.centre, good.scale, good.matrix, good.bias * np.nan,
                       good.offsets)  # fmt: skip


def test_a_file_of_weights_is_a_classifier(tmp_path: Path) -> None:
    weights().save(tmp_path / "w.npz")
    loaded = load_emotion_classifier(str(tmp_path / "w.npz"), "toy", 0.4)
    assert isinstance(loaded, LinearClassifier)
    assert loaded.min_confidence == 0.4


def test_features_of_another_kind_are_not_judged(tmp_path: Path) -> None:
    weights().save(tmp_path / "w.npz")
    assert isinstance(load_emotion_classifier(str(tmp_path / "w.npz"), "other", 0.4), Neutral)


def test_off_needs_no_file() -> None:
    off = load_emotion_classifier("off", "", 0.4).new_tracker()
    assert off.update(np.ones(4, np.float32)) == off.guess(np.ones(4, np.float32)) == "neutral"


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_say_where_they_come_from(name: str) -> None:
    file = find_weights(name)
    loaded = EmotionWeights.load(file)
    card = file.with_suffix(".md").read_text()
    assert file.stat().st_size < 1_000_000
    assert loaded.about["corpora"] and loaded.about["licences"]
    for corpus in loaded.about["corpora"]:
        assert re.search(corpus, card, re.IGNORECASE)


def test_only_the_research_weights_have_seen_research_data() -> None:
    about = EmotionWeights.load(find_weights("open")).about
    assert not [licence for licence in about["licences"] if "NC" in licence]
    assert any("NC" in licence for licence in EmotionWeights.load(
        find_weights("research")).about["licences"])  # fmt: skip
