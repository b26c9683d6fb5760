"""Fits the weights of the linear classifier to features and labels.

The method is multinomial logistic regression on features from which each speaker's mean was taken.
All emotions have the same weight, and within an emotion all corpora.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from oyez.engines.base import EMOTIONS
from oyez.engines.emotion import EmotionWeights
from research.emotion.recordings import CLEAN, VARIED, LabelledFeatures

STRENGTH = 0.004
"""The inverse of the regularisation."""
NEVER_SEEN = -50.0
"""The bias of an emotion that the training data does not hold."""
MAX_ITERATIONS = 1000

Floats = NDArray[np.float64]


class FitError(Exception):
    """The recordings are not enough. The message says what is missing."""


def fit(
    labelled: LabelledFeatures, corpora: Sequence[str], about: dict[str, object]
) -> EmotionWeights:
    """Fit weights to the recordings of `corpora`. The same features give the same weights.

    about: what the file of the weights says about them.

    Raises FitError.
    """
    chosen = labelled.of(corpora)
    recordings = [each for each, used in zip(labelled.recordings, chosen, strict=True) if used]
    labels = np.array([each.emotion for each in recordings])
    if len(set(labels.tolist())) < 2:
        raise FitError("a classifier needs recordings of two emotions at least")
    clean = labelled.features[CLEAN][chosen].astype(np.float64)
    centre, scale = clean.mean(axis=0), clean.std(axis=0) + 1e-6
    speakers = [each.speaker for each in recordings]
    kinds = [
        relative_to_speaker((labelled.features[name][chosen] - centre) / scale, speakers)
        for name in (CLEAN, VARIED)
    ]
    weights = balanced(labels, [each.corpus for each in recordings])
    model = LogisticRegression(C=STRENGTH, max_iter=MAX_ITERATIONS, tol=1e-6)
    model.fit(np.concatenate(kinds), np.tile(labels, 2), np.tile(weights / 2, 2))
    matrix, bias = _rows(model, clean.shape[1])
    return EmotionWeights(
        space=labelled.space,
        centre=_stored(centre),
        scale=_stored(scale),
        matrix=_stored(matrix),
        bias=_stored(bias),
        offsets=_stored(_offsets(kinds[0], labels, weights)),
        about=about,
    )


def relative_to_speaker(features: Floats, speakers: Sequence[str]) -> Floats:
    """Subtract from features [n, m] the mean of each speaker."""
    _, numbers = np.unique(speakers, return_inverse=True)
    sums = np.zeros((numbers.max() + 1, features.shape[1]))
    np.add.at(sums, numbers, features)
    relative: Floats = features - (sums / np.bincount(numbers)[:, None])[numbers]
    return relative


def balanced(labels: NDArray[np.int64], corpora: Sequence[str]) -> Floats:
    """Return a weight for each recording, 1 on average.

    All emotions weigh the same, and within an emotion all corpora that hold it.
    """
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
    """Return coefficients [7, size] and biases [7]. A model of two emotions has only one row."""
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
    """Round, so that the last digits of another machine's arithmetic make no difference."""
    rounded: NDArray[np.float32] = np.round(array, 4).astype(np.float32)
    return rounded
