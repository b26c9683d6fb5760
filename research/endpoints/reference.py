"""Where turns begin and end, compared with where speech is.

**The reference** is the detector itself with what a live stream cannot have. Each clip is scored
whole, forwards and backwards, at four offsets, and every 8 ms get the mean of all eight scores.
Backwards the detector is late where it is early forwards, so the delays cancel. What comes after a
moment counts as much as what came before it, and none of the rules that are measured has smoothed
the scores. The reference is taken from the clip as it is. Noise, distance and level are added
afterwards, because they do not move speech. Speech that the detector does not find even so is not
counted as missed: that needs a human reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import WINDOW_SAMPLES, VoiceDetector
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart
from research.audio import as_sent

Span = tuple[int, int]
"""The first sample, and the one behind the last."""

HOP_SAMPLES = 128
_HOPS = WINDOW_SAMPLES // HOP_SAMPLES
_PIECE_SAMPLES = 64 * WINDOW_SAMPLES
"""How much is scored at once, so that hours need no more memory than seconds."""
_SPEECH_PROBABILITY = 0.5
_SHORTEST_HOPS = 12
"""96 ms: a shorter sound is not a word, and a shorter gap is not a pause."""
LATE_SAMPLES = SAMPLE_RATE // 5
"""A turn that is still open so long after the silence that ends it has missed its end."""
SAMPLES_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class DetectedTurn:
    """A turn by its positions in the clip, in samples."""

    onset: int
    """The beginning of its speech."""
    announced: int
    """How much audio there was when its start was announced."""
    speech_end: int
    start: int
    end: int


@dataclass(slots=True)
class EndpointErrors:
    """The errors over many clips. A positive time means late."""

    audio_samples: int = 0
    speech_samples: int = 0
    missed_samples: int = 0
    turns: int = 0
    false_starts: int = 0
    """Turns without reference speech."""
    splits: int = 0
    """Turns that ended in a pause shorter than the silence that ends a turn."""
    late: int = 0
    """Pauses that should have ended a turn and did not."""
    start_ms: list[float] = field(default_factory=list)
    """The error of each onset."""
    start_announced_ms: list[float] = field(default_factory=list)
    """From the beginning of speech until the start was announced."""
    end_ms: list[float] = field(default_factory=list)
    """The error of each end of speech."""
    end_announced_ms: list[float] = field(default_factory=list)
    """From the end of speech until the end was announced, if the audio went on so long."""

    def add(
        self,
        turns: Sequence[DetectedTurn],
        spans: Sequence[Span],
        audio_samples: int,
        silence_samples: int,
    ) -> None:
        """Compare the turns of one clip with the spans of its reference.

        silence_samples: the silence that ends a turn.
        """
        self.audio_samples += audio_samples
        self.speech_samples += sum(end - start for start, end in spans)
        self.missed_samples += sum(_outside(span, turns) for span in spans)
        self.turns += len(turns)
        spoken = [_within(turn, spans) for turn in turns]
        self.false_starts += spoken.count([])
        announced: set[Span] = set()
        for turn, inside in zip(turns, spoken, strict=True):
            self.late += sum(
                after[0] - before[1] >= silence_samples + LATE_SAMPLES
                for before, after in pairwise(inside)
            )
            if inside and inside[0] not in announced:
                self.start_ms.append((turn.onset - inside[0][0]) / SAMPLES_PER_MS)
                self.start_announced_ms.append((turn.announced - inside[0][0]) / SAMPLES_PER_MS)
            if inside:
                self.end_ms.append((turn.speech_end - inside[-1][1]) / SAMPLES_PER_MS)
            if inside and turn.end < audio_samples:
                self.end_announced_ms.append((turn.end - inside[-1][1]) / SAMPLES_PER_MS)
            announced.update(inside)
        for before, after in pairwise(inside for inside in spoken if inside):
            self.splits += after[0][0] - before[-1][1] < silence_samples


def reference(detector: VoiceDetector, samples: Samples) -> list[Span]:
    """Return where speech is in a clip; see the module."""
    speech = probabilities(detector, samples) >= _SPEECH_PROBABILITY
    spans = _runs(~_without_short(~speech))
    long_enough = [(a, b) for a, b in spans if b - a >= _SHORTEST_HOPS]
    return [(a * HOP_SAMPLES, b * HOP_SAMPLES) for a, b in long_enough]


def probabilities(detector: VoiceDetector, samples: Samples) -> NDArray[np.float64]:
    """Return how probable speech is in each HOP_SAMPLES, from the whole clip; float64 [n]."""
    count = len(samples) // HOP_SAMPLES
    total = np.zeros(count)
    whole = samples[: count * HOP_SAMPLES]
    for shift in range(_HOPS):
        for direction in (1, -1):
            before = np.zeros(shift * HOP_SAMPLES, np.float32)
            behind = np.zeros((-shift - count) % _HOPS * HOP_SAMPLES, np.float32)
            scores = score(detector, np.concatenate([before, whole[::direction], behind]))
            total += np.repeat(scores, _HOPS)[shift : shift + count][::direction]
    return total / (2 * _HOPS)


def score(detector: VoiceDetector, samples: Samples) -> NDArray[np.float32]:
    """Return the probability of speech in each whole window, float32 [n]."""
    whole = np.ascontiguousarray(samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES])
    state = detector.initial_state()
    scores = [np.zeros(0, np.float32)]
    for start in range(0, len(whole), _PIECE_SAMPLES):
        found, state = detector.score(whole[start : start + _PIECE_SAMPLES], state)
        scores.append(found)
    return np.concatenate(scores)


def turns(
    detector: VoiceDetector, samples: Samples, settings: EndpointerSettings
) -> list[DetectedTurn]:
    """Return the turns of a session that is sent these samples."""
    edges = Endpointer(settings)
    found: list[DetectedTurn] = []
    begun: tuple[TurnStart, int] | None = None
    scores = score(detector, as_sent(samples)).tolist()
    for edge in chain(map(edges.feed, scores), _last(edges, len(samples))):
        if isinstance(edge, TurnStart):
            begun = edge, edges.position_samples
        elif edge and begun:
            started, announced = begun
            found.append(
                DetectedTurn(
                    started.onset_samples,
                    announced,
                    edge.speech_end_samples,
                    started.at_samples,
                    edge.at_samples,
                )
            )
    return found


def _last(edges: Endpointer, end: int) -> Iterator[TurnStart | TurnEnd]:
    """Yield the edges at the end of the audio, after all windows were fed."""
    yield from edges.finish(end)


def _outside(span: Span, turns: Iterable[DetectedTurn]) -> int:
    covered = sum(max(0, min(span[1], t.end) - max(span[0], t.start)) for t in turns)
    return span[1] - span[0] - covered


def _within(turn: DetectedTurn, spans: Iterable[Span]) -> list[Span]:
    """Return the spans that overlap the speech of the turn."""
    return [span for span in spans if span[0] < turn.speech_end and turn.onset < span[1]]


def _without_short(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    kept = mask.copy()
    for start, end in _runs(mask):
        if end - start < _SHORTEST_HOPS:
            kept[start:end] = False
    return kept


def _runs(mask: NDArray[np.bool_]) -> list[Span]:
    steps = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    starts, ends = np.flatnonzero(steps == 1).tolist(), np.flatnonzero(steps == -1).tolist()
    return list(zip(starts, ends, strict=True))
