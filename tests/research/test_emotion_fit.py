from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from oyez.engines.base import EMOTIONS
from oyez.engines.emotion import LinearClassifier
from research.emotion.fit import FitError, balanced, fit, relative_to_speaker
from research.emotion.recordings import CLEAN, VARIED, LabelledFeatures, Recording

SIZE = 12


def heard(emotions: tuple[int, ...] = tuple(range(7)), corpora: int = 2) -> LabelledFeatures:
    """Speakers whose voices differ far more than their emotions do."""
    random = np.random.default_rng(4)
    directions = random.standard_normal((len(EMOTIONS), SIZE))
    recordings, rows = [], []
    for corpus in range(corpora):
        for speaker in range(8):
            voice = 3 * random.standard_normal(SIZE)
            for emotion in emotions * 3:
                name = f"{corpus}/{speaker}"
                recordings.append(Recording(Path("x.wav"), f"c{corpus}", name, emotion))
                rows.append(voice + 2 * directions[emotion] + 0.3 * random.standard_normal(SIZE))
    features = np.array(rows, np.float32)
    return LabelledFeatures(recordings, {CLEAN: features, VARIED: features + 0.1}, "toy")


def test_emotions_are_learnt_apart_from_voices() -> None:
    material = heard()
    classifier = LinearClassifier(fit(material, ["c0"], {}), 0.0)
    chosen = np.flatnonzero(material.of(["c1"]))
    tracker, named = classifier.new_tracker(), []
    for index in chosen[:21].tolist():
        named.append(tracker.update(material.features[CLEAN][index]))
    truth = [EMOTIONS[material.recordings[i].emotion] for i in chosen[:21].tolist()]
    assert sum(a == b for a, b in zip(named[7:], truth[7:], strict=True)) >= 12


def test_the_same_recordings_give_the_same_weights() -> None:
    one, other = fit(heard(), ["c0", "c1"], {}), fit(heard(), ["c0", "c1"], {})
    assert np.array_equal(one.matrix, other.matrix)
    assert one.space == "toy"


def test_an_emotion_without_training_data_is_never_named() -> None:
    material = heard(emotions=(1, 3, 5))
    weights = fit(material, ["c0"], {})
    tracker = LinearClassifier(weights, 0.0).new_tracker()
    named = {tracker.update(row) for row in material.features[CLEAN]}
    assert named <= {EMOTIONS[1], EMOTIONS[3], EMOTIONS[5]}
    assert len(named) == 3


def test_two_emotions_are_enough() -> None:
    material = heard(emotions=(1, 5))
    classifier = LinearClassifier(fit(material, ["c0"], {}), 0.0)
    rows = material.features[CLEAN][material.of(["c0"])][:6]
    tracker = classifier.new_tracker()
    assert [tracker.update(row) for row in rows][2:] == ["neutral", "angry", "neutral", "angry"]


def test_one_emotion_is_not() -> None:
    with pytest.raises(FitError, match="two emotions"):
        fit(heard(emotions=(1,)), ["c0"], {})


def test_each_speakers_mean_is_taken() -> None:
    rows = np.array([[1.0], [3.0], [10.0]])
    assert relative_to_speaker(rows, ["a", "a", "b"]).tolist() == [[-1.0], [1.0], [0.0]]


def test_emotions_and_corpora_weigh_the_same() -> None:
    labels = np.array([0, 0, 0, 1, 0])
    corpora = ["x", "x", "x", "x", "y"]
    weights = balanced(labels, corpora)
    assert weights.mean() == pytest.approx(1)
    assert weights[labels == 0].sum() == pytest.approx(weights[labels == 1].sum())
    assert weights[:3].sum() == pytest.approx(weights[4])


def test_what_a_voice_sounds_like_anyway_is_not_taken_for_emotion() -> None:
    """Those with one voice were angry more often; in each speaker only the second number tells."""
    recordings, rows = [], []
    for speaker in range(20):
        voice = 5.0 if speaker % 2 else -5.0
        for emotion in (5, 5, 1) if speaker % 2 else (5, 1, 1):
            recordings.append(Recording(Path("x.wav"), "c", f"c/{speaker}", emotion))
            rows.append([voice, 1.0 if emotion == 5 else -1.0])
    features = np.array(rows, np.float32)
    weights = fit(
        LabelledFeatures(recordings, {CLEAN: features, VARIED: features}, "toy"), ["c"], {}
    )
    voice_weights, telling_weights = np.abs(weights.matrix).T
    assert voice_weights.max() < telling_weights.max() / 100
