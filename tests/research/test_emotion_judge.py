from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from oyez.engines.base import EMOTIONS
from oyez.engines.emotion import EmotionWeights, LinearClassifier
from research.emotion.judge import (
    Answer,
    CountingListener,
    calibration_error,
    confusion,
    judge,
    sessions,
    unweighted_recall,
)
from research.emotion.measure import report
from research.emotion.recordings import CLEAN, LabelledFeatures, Recording

SIZE = len(EMOTIONS)


def classifier() -> LinearClassifier:
    """Feature n speaks for emotion n."""
    zeros, ones = np.zeros(SIZE, np.float32), np.ones(SIZE, np.float32)
    unit = np.eye(SIZE, dtype=np.float32)
    weights = EmotionWeights("toy", zeros, ones, np.float32(4) * unit, zeros, unit)
    return LinearClassifier(weights, 0.3)


def heard(speakers: int = 3) -> LabelledFeatures:
    """Speakers who all sound sad by nature, and everything of theirs as telephones deliver it."""
    recordings, rows = [], []
    for speaker in range(speakers):
        for emotion in list(range(SIZE)) * 2:
            recordings.append(Recording(Path("x"), "plays", f"plays/{speaker}", emotion))
            row = np.zeros(SIZE, np.float32)
            row[3] = 1.5
            row[emotion] += 1
            rows.append(row)
    clean = np.stack(rows)
    return LabelledFeatures(recordings, {CLEAN: clean, "telephone": clean * 0}, "toy")


def answers(*pairs: tuple[int, int]) -> tuple[np.ndarray, list[Answer]]:
    """(label, named) of each."""
    labels = np.array([label for label, _ in pairs])
    return labels, [Answer(i, 0, named, named, 0.5) for i, (_, named) in enumerate(pairs)]


def test_naming_the_commonest_gains_nothing() -> None:
    labels, found = answers((1, 1), (1, 1), (1, 1), (5, 1))
    assert unweighted_recall(labels, found) == 0.5


def test_recall_without_answers_is_not_a_number() -> None:
    assert np.isnan(unweighted_recall(np.array([1]), []))


def test_confusion_is_shares_of_each_emotion() -> None:
    labels, found = answers((1, 1), (1, 5), (5, 5))
    shares = confusion(labels, found)
    assert shares[1].tolist() == [0, 0.5, 0, 0, 0, 0.5, 0]
    assert np.isnan(shares[0]).all()


def test_calibration_compares_confidence_with_truth() -> None:
    labels, found = answers((1, 1), (1, 5))
    assert calibration_error(labels, found) == pytest.approx(0.0)
    labels, found = answers((1, 5), (1, 5))
    assert calibration_error(labels, found) == pytest.approx(0.5)


def test_sessions_are_of_one_speaker_each() -> None:
    material = heard()
    orders = sessions(material, np.arange(len(material.recordings)), seed=1)
    assert len(orders) == 9
    for order in orders:
        assert len({material.recordings[i].speaker for i in order}) == 1
        assert len(order) == len(set(order)) == 14
    assert orders == sessions(material, np.arange(len(material.recordings)), seed=1)
    assert orders != sessions(material, np.arange(len(material.recordings)), seed=2)


def test_later_utterances_are_judged_by_what_is_known_of_the_speaker() -> None:
    result = judge("plays", ["others"], heard(), classifier(), seed=1)
    assert result.recall(result.cold) < 0.4
    assert result.recall(result.after(10)) > result.recall(result.cold) + 0.2
    assert len(result.cold) == 42
    assert len(result.after(10)) == 9 * 4
    flips, recall = result.changed["telephone"]
    assert flips > 0.3 and recall < result.recall(result.after(5))


def test_the_report_shows_what_was_found() -> None:
    result = judge("plays", ["others"], heard(), classifier(), seed=1)
    text = report([result], [(True, "neutral"), (False, "angry"), (False, "neutral")])
    cold = f"{result.recall(result.cold):.2f}"
    assert re.search(rf"\| plays +\| others +\| 3 +\| +42 \| {cold} \|", text)
    assert "telephone" in text
    assert "| later              |          2 |" in text and "50 %" in text


def test_first_utterances_are_counted_apart_from_later_ones() -> None:
    listener = CountingListener(classifier().new_tracker)
    sad, angry = np.eye(SIZE, dtype=np.float32)[[3, 5]]
    listener.next_session()
    listener.update(sad)
    listener.guess(angry)
    listener.update(angry)
    listener.next_session()
    listener.update(angry)
    assert listener.finals == [(True, "sad"), (False, "angry"), (True, "angry")]
