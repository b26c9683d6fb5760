"""How well emotions are told apart: speakers and corpora never heard before, first utterances and
later ones.

The figure is unweighted recall: the mean over emotions of the share that was named rightly, so that
naming the commonest gains nothing. Sessions are made of one speaker's recordings in random order;
what is judged is what a server would answer, `neutral` for want of evidence included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import EMOTIONS, Emotion, EmotionTracker, Features
from oyez.engines.emotion.linear import LinearClassifier
from oyez.training.features import CLEAN, Heard

ORDERS = 3
"""Random orders of each speaker's recordings."""
WARM_AFTER = (1, 3, 5, 10)
WARM = 5
CALIBRATION_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of one recording."""

    index: int
    before: int
    """Recordings of the speaker heard before."""
    named: int
    """Index in EMOTIONS."""
    likeliest: int
    confidence: float


@dataclass(frozen=True, slots=True)
class Result:
    """One corpus, judged by a classifier that has not seen its speakers."""

    corpus: str
    trained_on: tuple[str, ...]
    labels: NDArray[np.int64]
    """Of all recordings, by index."""
    speakers: int
    cold: Sequence[Answer]
    """Every recording as a first utterance."""
    session: Sequence[Answer]
    """Recordings in the sessions they were put in."""
    changed: Mapping[str, tuple[float, float]]
    """By condition: share of answers that change, and warm recall."""

    def recall(self, answers: Sequence[Answer]) -> float:
        """Unweighted recall."""
        return unweighted_recall(self.labels, answers)

    def after(self, count: int) -> list[Answer]:
        """Answers about speakers of whom `count` recordings at least were heard before."""
        return [answer for answer in self.session if answer.before >= count]


def judge(corpus: str, trained_on: Sequence[str], heard: Heard, classifier: LinearClassifier,
          seed: int) -> Result:  # fmt: skip
    """Have every recording of `corpus` named."""
    chosen = np.flatnonzero(heard.of([corpus]))
    labels = np.array([each.emotion for each in heard.recordings])
    orders = sessions(heard, chosen, seed)
    cold = [
        _ask(classifier, classifier.new_tracker().probabilities(heard.features[CLEAN][i]), i, 0)
        for i in chosen.tolist()
    ]
    answers = _sessions(heard, CLEAN, classifier, orders)
    changed = {}
    for condition in heard.features:
        if condition == CLEAN:
            continue
        others = _sessions(heard, condition, classifier, orders)
        flips = [a.named != b.named for a, b in zip(answers, others, strict=True)]
        warm = [answer for answer in others if answer.before >= WARM]
        changed[condition] = (float(np.mean(flips)), unweighted_recall(labels, warm))
    speakers = len({heard.recordings[i].speaker for i in chosen.tolist()})
    return Result(corpus, tuple(trained_on), labels, speakers, cold, answers, changed)


def sessions(heard: Heard, chosen: NDArray[np.int64], seed: int) -> list[list[int]]:
    """Each speaker's recordings among `chosen`, in ORDERS random orders."""
    random = np.random.default_rng(seed)
    by_speaker: dict[str, list[int]] = {}
    for index in chosen.tolist():
        by_speaker.setdefault(heard.recordings[index].speaker, []).append(index)
    return [
        random.permutation(indices).tolist()
        for _ in range(ORDERS)
        for _, indices in sorted(by_speaker.items())
    ]


def unweighted_recall(labels: NDArray[np.int64], answers: Sequence[Answer]) -> float:
    """Mean over the emotions there are of the share named rightly; NaN without answers."""
    rights: dict[int, list[bool]] = {}
    for answer in answers:
        label = int(labels[answer.index])
        rights.setdefault(label, []).append(answer.named == label)
    return float(np.mean([np.mean(each) for each in rights.values()])) if rights else float("nan")


def calibration_error(labels: NDArray[np.int64], answers: Sequence[Answer]) -> float:
    """Expected calibration error (Guo et al. 2017): mean distance between how sure the classifier
    is and how often it is right, over ten ranges of confidence. 0 is perfect."""
    sure = np.array([answer.confidence for answer in answers])
    right = np.array([answer.likeliest == labels[answer.index] for answer in answers])
    ranges = np.minimum(sure / CALIBRATION_STEP, 9).astype(int)
    groups = [ranges == number for number in range(10)]
    gaps = [abs(right[g].mean() - sure[g].mean()) * g.mean() for g in groups if g.any()]
    return float(sum(gaps))


def confusion(labels: NDArray[np.int64], answers: Sequence[Answer]) -> NDArray[np.float64]:
    """[7, 7]: of each emotion (row), the share named each (column); NaN where there was none."""
    counts = np.zeros((len(EMOTIONS), len(EMOTIONS)))
    for answer in answers:
        counts[int(labels[answer.index]), answer.named] += 1
    with np.errstate(invalid="ignore"):
        shares: NDArray[np.float64] = counts / counts.sum(axis=1, keepdims=True)
    return shares


class Tally:
    """A listener that counts what another answers, for recordings without labels."""

    def __init__(self, make: Callable[[], EmotionTracker]) -> None:
        self.finals: list[tuple[bool, Emotion]] = []
        """Whether it was a session's first utterance, and its name."""
        self._make = make
        self._listener = make()
        self._first = True

    def next_session(self) -> None:
        self._listener, self._first = self._make(), True

    def guess(self, features: Features | None) -> Emotion:
        return self._listener.guess(features)

    def update(self, features: Features | None) -> Emotion:
        named = self._listener.update(features)
        self.finals.append((self._first, named))
        self._first = False
        return named


def _sessions(
    heard: Heard, condition: str, classifier: LinearClassifier, orders: Sequence[Sequence[int]]
) -> list[Answer]:
    answers = []
    for order in orders:
        listener = classifier.new_tracker()
        for before, index in enumerate(order):
            features = heard.features[condition][index]
            answers.append(_ask(classifier, listener.probabilities(features), index, before))
            listener.update(features)
    return answers


def _ask(
    classifier: LinearClassifier, probabilities: NDArray[np.float32], index: int, before: int
) -> Answer:
    named = EMOTIONS.index(classifier.choose(probabilities))
    return Answer(index, before, named, int(probabilities.argmax()), float(probabilities.max()))
