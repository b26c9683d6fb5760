"""Features and labels → weights of the linear classifier.

Multinomial logistic regression on features from which each speaker's mean was taken. Every emotion
counts the same, and within an emotion every corpus.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from oyez.engines.base import EMOTIONS
from oyez.engines.emotion.weights import EmotionWeights
from oyez.training.features import CLEAN, VARIED, Heard

STRENGTH = 0.004
"""Inverse of the regularisation."""
NEVER_SEEN = -50.0
"""Bias of an emotion that is in no training data."""
MAX_ITERATIONS = 1000

Floats = NDArray[np.float64]


class FitError(Exception):
    """These recordings are not enough; the message says what is missing."""


def fit(heard: Heard, corpora: Sequence[str], about: dict[str, object]) -> EmotionWeights:
    """Weights from the recordings of `corpora`. The same features give the same weights.

    Raises FitError.
    """
    chosen = heard.of(corpora)
    recordings = [each for each, used in zip(heard.recordings, chosen, strict=True) if used]
    labels = np.array([each.emotion for each in recordings])
    if len(set(labels.tolist())) < 2:
        raise FitError("a classifier needs recordings of two emotions at least")
    clean = heard.features[CLEAN][chosen].astype(np.float64)
    centre, scale = clean.mean(axis=0), clean.std(axis=0) + 1e-6
    speakers = [each.speaker for each in recordings]
    kinds = [
        relative_to_speaker((heard.features[name][chosen] - centre) / scale, speakers)
        for name in (CLEAN, VARIED)
    ]
    weights = balanced(labels, [each.corpus for each in recordings])
    model = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS, tol=1e-6)
    model.fit(np.concatenate(kinds), np.tile(labels, 2), np.tile(weights / 2, 2))
    matrix, bias = _rows(model, clean.shape[1])
    return EmotionWeights(
        space=heard.space,
        centre=_stored(centre),
        scale=_stored(scale),
        matrix=_stored(matrix),
        bias=_stored(bias),
        offsets=_stored(_offsets(kinds[0], labels, weights)),
        about=about,
    )


def relative_to_speaker(features: Floats, speakers: Sequence[str]) -> Floats:
    """Features [n, m] without the mean of each speaker's."""
    _, numbers = np.unique(speakers, return_inverse=True)
    sums = np.zeros((numbers.max() + 1, features.shape[1]))
    np.add.at(sums, numbers, features)
    relative: Floats = features - (sums / np.bincount(numbers)[:, None])[numbers]
    return relative


def balanced(labels: NDArray[np.int64], corpora: Sequence[str]) -> Floats:
    """A weight for each recording, 1 on average: emotions weigh the same, and in each emotion
    every corpus that has it."""
    weights = np.zeros(len(labels))
    names = np.array(corpora)
    for label in set(labels.tolist()):
        having = sorted(set(names[labels == label].tolist()))
        for corpus in having:
            group = (labels == label) & (names == corpus)
            weights[group] = 1 / (len(having) * group.sum())
    weights *= len(weights) / weights.sum()
    return weights


def _rows(model: LogisticRegression, size: int) -> tuple[Floats, Floats]:
    """Coefficients [7, size] and biases [7]; two emotions only are told apart by one row."""
    matrix, bias = np.zeros((len(EMOTIONS), size)), np.full(len(EMOTIONS), NEVER_SEEN)
    rows, biases = model.coef_, model.intercept_
    if len(model.classes_) == 2:
        rows, biases = np.concatenate([-rows, rows]) / 2, np.concatenate([-biases, biases]) / 2
    matrix[model.classes_], bias[model.classes_] = rows, biases
    return matrix, bias


def _offsets(relative: Floats, labels: NDArray[np.int64], weights: Floats) -> Floats:
    offsets = np.zeros((len(EMOTIONS), relative.shape[1]))
    for label in set(labels.tolist()):
        group = labels == label
        offsets[label] = np.average(relative[group], axis=0, weights=weights[group])
    return offsets


def _stored(array: Floats) -> NDArray[np.float32]:
    """Rounded to what matters, so that the last digits of another machine's arithmetic do not."""
    rounded: NDArray[np.float32] = np.round(array, 4).astype(np.float32)
    return rounded
