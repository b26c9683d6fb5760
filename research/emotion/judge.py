"""How well emotions of unknown speakers and corpora are recognised, in first and later utterances.

The figure is unweighted recall: the mean over the emotions of the share that was named rightly, so
that naming the commonest one gains nothing. Sessions are made of one speaker's recordings in random
order. What is judged is what a server would answer; `neutral` for want of evidence is an answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import EMOTIONS, Emotion, EmotionTracker, Features
from oyez.engines.emotion import LinearClassifier
from research.emotion.recordings import CLEAN, LabelledFeatures

ORDERS = 3
"""The number of random orders of each speaker's recordings."""
WARM_AFTER = (1, 3, 5, 10)
WARM = 5
CALIBRATION_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What the classifier answers for one recording."""

    index: int
    before: int
    """The number of earlier recordings of the speaker in the session."""
    named: int
    """An index of EMOTIONS."""
    likeliest: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Result:
    """One corpus, judged by a classifier that was not trained on its speakers."""

    corpus: str
    trained_on: tuple[str, ...]
    labels: NDArray[np.int64]
    """The emotions of all recordings, by index."""
    speakers: int
    cold: Sequence[Answer]
    """Every recording as the first utterance of a session."""
    session: Sequence[Answer]
    """The recordings in their sessions."""
    changed: Mapping[str, tuple[float, float]]
    """By condition: the share of answers that change, and the recall of later utterances."""

    def recall(self, answers: Sequence[Answer]) -> float:
        """Return the unweighted recall."""
        return unweighted_recall(self.labels, answers)

    def after(self, count: int) -> list[Answer]:
        """Return the answers that at least `count` recordings of the speaker precede."""
        return [answer for answer in self.session if answer.before >= count]


def judge(
    corpus: str,
    trained_on: Sequence[str],
    labelled: LabelledFeatures,
    classifier: LinearClassifier,
    seed: int,
) -> Result:
    """Classify every recording of `corpus`, under every condition."""
    chosen = np.flatnonzero(labelled.of([corpus]))
    labels = np.array([each.emotion for each in labelled.recordings])
    orders = sessions(labelled, chosen, seed)
    cold = [
        _ask(classifier, classifier.new_tracker().probabilities(labelled.features[CLEAN][i]), i, 0)
        for i in chosen.tolist()
    ]
    answers = _sessions(labelled, CLEAN, classifier, orders)
    changed = {}
    for condition in labelled.features:
        if condition == CLEAN:
            continue
        others = _sessions(labelled, condition, classifier, orders)
        flips = [a.named != b.named for a, b in zip(answers, others, strict=True)]
        warm = [answer for answer in others if answer.before >= WARM]
        changed[condition] = (float(np.mean(flips)), unweighted_recall(labels, warm))
    speakers = len({labelled.recordings[i].speaker for i in chosen.tolist()})
    return Result(corpus, tuple(trained_on), labels, speakers, cold, answers, changed)


def sessions(labelled: LabelledFeatures, chosen: NDArray[np.int64], seed: int) -> list[list[int]]:
    """Return each speaker's recordings among `chosen`, in ORDERS random orders."""
    random = np.random.default_rng(seed)
    by_speaker: dict[str, list[int]] = {}
    for index in chosen.tolist():
        by_speaker.setdefault(labelled.recordings[index].speaker, []).append(index)
    return [
        random.permutation(indices).tolist()
        for _ in range(ORDERS)
        for _, indices in sorted(by_speaker.items())
    ]


def unweighted_recall(labels: NDArray[np.int64], answers: Sequence[Answer]) -> float:
    """Return the mean over the emotions of the share named rightly; NaN without answers."""
    rights: dict[int, list[bool]] = {}
    for answer in answers:
        label = int(labels[answer.index])
        rights.setdefault(label, []).append(answer.named == label)
    return float(np.mean([np.mean(each) for each in rights.values()])) if rights else float("nan")


def calibration_error(labels: NDArray[np.int64], answers: Sequence[Answer]) -> float:
    """Return the expected calibration error (Guo et al. 2017); 0 is perfect.

    It is the mean distance between the confidence and the share of right answers, over ten ranges
    of confidence.
    """
    sure = np.array([answer.confidence for answer in answers])
    right = np.array([answer.likeliest == labels[answer.index] for answer in answers])
    ranges = np.minimum(sure / CALIBRATION_STEP, 9).astype(int)
    groups = [ranges == number for number in range(10)]
    gaps = [abs(right[g].mean() - sure[g].mean()) * g.mean() for g in groups if g.any()]
    return float(sum(gaps))


def confusion(labels: NDArray[np.int64], answers: Sequence[Answer]) -> NDArray[np.float64]:
    """Return the share of each emotion (row) that was named each (column), float64 [7, 7].

    A row is NaN if its emotion does not occur.
    """
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    for answer in answers:
        counts[int(labels[answer.index]), answer.named] += 1
    with np.errstate(invalid="ignore"):
        shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


class CountingListener:
    """Passes utterances on to another listener and keeps its answers."""

    def __init__(self, make: Callable[[], EmotionTracker]) -> None:
        self.finals: list[tuple[bool, Emotion]] = []
        """For each utterance, whether it was the first of its session, and its emotion."""
        self._make = make
        self._listener = make()
        self._first = True

    def next_session(self) -> None:
        """Begin a new session."""
        self._listener, self._first = self._make(), True

    def guess(self, features: Features | None) -> Emotion:
        """Answer as the other listener does; keep nothing."""
        return self._listener.guess(features)

    def update(self, features: Features | None) -> Emotion:
        """Answer as the other listener does, and keep the answer."""
        named = self._listener.update(features)
        self.finals.append((self._first, named))
        self._first = False
        return named


def _sessions(
    labelled: LabelledFeatures,
    condition: str,
    classifier: LinearClassifier,
    orders: Sequence[Sequence[int]],
) -> list[Answer]:
    answers = []
    for order in orders:
        listener = classifier.new_tracker()
        for before, index in enumerate(order):
            features = labelled.features[condition][index]
            answers.append(_ask(classifier, listener.probabilities(features), index, before))
            listener.update(features)
    return answers


def _ask(
    classifier: LinearClassifier, probabilities: NDArray[np.float32], index: int, before: int
) -> Answer:
    named = EMOTIONS.index(classifier.choose(probabilities))
    return Answer(index, before, named, int(probabilities.argmax()), float(probabilities.max()))
