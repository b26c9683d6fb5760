from __future__ import annotations

import numpy as np
import pytest

from oyez.engines.base import EMOTIONS, Features
from oyez.engines.emotion import EmotionWeights, LinearClassifier, softmax

SIZE = len(EMOTIONS)
ANGRY, SAD = EMOTIONS.index("angry"), EMOTIONS.index("sad")


def classifier(min_confidence: float = 0.3) -> LinearClassifier:
    """Each feature speaks for one emotion."""
    weights = EmotionWeights(
        "toy",
        centre=np.zeros(SIZE, np.float32),
        scale=np.ones(SIZE, np.float32),
        matrix=2 * np.eye(SIZE, dtype=np.float32),
        bias=np.zeros(SIZE, np.float32),
        offsets=2 * np.eye(SIZE, dtype=np.float32),
    )
    return LinearClassifier(weights, min_confidence)


def voice(emotion: int, strength: float = 2.0, *, like: int | None = None) -> Features:
    """How somebody sounds in an emotion, whose voice always sounds `like` another one."""
    features = np.zeros(SIZE, np.float32)
    features[emotion] += strength
    if like is not None:
        features[like] += 3
    return features


def test_a_first_utterance_is_judged_by_the_average_speaker() -> None:
    assert classifier().new_tracker().update(voice(ANGRY)) == "angry"


def test_nothing_to_judge_is_neutral() -> None:
    tracker = classifier().new_tracker()
    assert tracker.update(None) == "neutral"
    assert tracker.guess(None) == "neutral"


def test_thin_evidence_is_neutral() -> None:
    weak = voice(ANGRY, 0.3)
    assert classifier(0.0).new_tracker().update(weak) == "angry"
    assert classifier(0.3).new_tracker().update(weak) == "neutral"


def test_a_speaker_who_always_sounds_sad_becomes_known() -> None:
    tracker = classifier().new_tracker()
    assert tracker.update(voice(ANGRY, like=SAD)) == "sad"
    for emotion in (0, 1, 2, 4, 6, 0, 1, 2):
        tracker.update(voice(emotion, like=SAD))
    assert tracker.update(voice(ANGRY, like=SAD)) == "angry"


def test_a_speaker_in_one_mood_keeps_it() -> None:
    tracker = classifier(0.8).new_tracker()
    assert {tracker.update(voice(ANGRY)) for _ in range(30)} == {"angry"}


def test_a_new_speaker_is_known_after_a_few_utterances() -> None:
    tracker = classifier().new_tracker()
    for emotion in range(SIZE):
        tracker.update(voice(emotion, like=SAD))
    for emotion in (0, 1, 2, 3, 4, 6) * 2:
        tracker.update(voice(emotion, like=0))
    assert tracker.update(voice(ANGRY, like=0)) == "angry"


def test_a_guess_leaves_no_trace() -> None:
    one, other = classifier().new_tracker(), classifier().new_tracker()
    for _ in range(20):
        one.guess(voice(SAD, 4))
    assert np.array_equal(one.probabilities(voice(ANGRY)), other.probabilities(voice(ANGRY)))


def test_sessions_know_nothing_of_each_other() -> None:
    shared = classifier()
    one, other = shared.new_tracker(), shared.new_tracker()
    for _ in range(5):
        one.update(voice(0, like=SAD))
    assert np.array_equal(
        other.probabilities(voice(SAD)), shared.new_tracker().probabilities(voice(SAD))
    )


def test_features_of_any_shape_are_taken() -> None:
    flat = voice(ANGRY)
    assert classifier().new_tracker().update(flat.reshape(1, SIZE)) == "angry"


@pytest.mark.parametrize("scale", [1.0, 1e4])
def test_probabilities_are_probabilities(scale: float) -> None:
    tracker = classifier().new_tracker()
    for emotion in range(SIZE):
        probabilities = tracker.probabilities(voice(emotion, scale))
        assert probabilities.sum() == pytest.approx(1)
        assert (probabilities >= 0).all()
        tracker.update(voice(emotion, scale))


def test_softmax_of_large_scores() -> None:
    assert softmax(np.array([1000.0, 1000.0], np.float32)).tolist() == [0.5, 0.5]


def test_what_is_like_nothing_known_is_neutral() -> None:
    """Alike in all that tells emotions apart, and far from every recording there was."""
    strange = voice(ANGRY) + np.float32(5)
    assert classifier().new_tracker().update(voice(ANGRY)) == "angry"
    assert classifier().new_tracker().update(strange) == "neutral"
