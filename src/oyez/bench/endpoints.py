"""Where turns begin and end, against where speech really is.

**The reference** is the detector itself with everything a live stream cannot have: each clip is
scored whole, forwards and backwards, at four offsets, and every 8 ms get the mean of all eight
scores. Going backwards it is late where forwards it is early, so the delays cancel; what comes
after a moment counts as much as what came before; and nothing is smoothed by the rules that are
measured. It is taken from the clip as it is. Noise, distance and level are added afterwards: they
do not move speech. What the detector cannot hear in a clip even so is nowhere missed: that takes
another ear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, pairwise

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.sounds import as_sent
from oyez.engines.base import WINDOW_SAMPLES, VoiceDetector
from oyez.turns.endpointing import EdgeDetector, EdgeSettings, Started, Stopped

Span = tuple[int, int]
"""First sample, and the one behind the last."""

HOP_SAMPLES = 128
_HOPS = WINDOW_SAMPLES // HOP_SAMPLES
_PIECE_SAMPLES = 64 * WINDOW_SAMPLES
"""Scored at once: hours need no more memory than seconds."""
_EVEN_ODDS = 0.5
_SHORTEST_HOPS = 12
"""96 ms: what is shorter is neither a word nor a pause."""
LATE_SAMPLES = SAMPLE_RATE // 5
"""A turn that is open so long after its silence is over has missed its end."""
SAMPLES_PER_MS = SAMPLE_RATE // 1000


@dataclass(frozen=True, slots=True)
class Heard:
    """A turn, in samples."""

    onset: int
    told: int
    """How much audio there was when its start was told."""
    speech_end: int
    start: int
    end: int


@dataclass(slots=True)
class Tally:
    """What was seen over many clips. Errors are late where they are positive."""

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
    """Of the onset."""
    told_ms: list[float] = field(default_factory=list)
    """From the beginning of speech until the start was told."""
    end_ms: list[float] = field(default_factory=list)
    """Of the end of speech."""
    end_told_ms: list[float] = field(default_factory=list)
    """From the end of speech until the end was told, where the audio went on so long."""

    def add(self, turns: Sequence[Heard], spans: Sequence[Span], audio_samples: int,
            silence_samples: int) -> None:  # fmt: skip
        """One clip: the turns heard, and its reference."""
        self.audio_samples += audio_samples
        self.speech_samples += sum(end - start for start, end in spans)
        self.missed_samples += sum(_outside(span, turns) for span in spans)
        self.turns += len(turns)
        spoken = [_within(turn, spans) for turn in turns]
        self.false_starts += spoken.count([])
        told_of: set[Span] = set()
        for turn, inside in zip(turns, spoken, strict=True):
            self.late += sum(
                after[0] - before[1] >= silence_samples + LATE_SAMPLES
                for before, after in pairwise(inside)
            )
            if inside and inside[0] not in told_of:
                self.start_ms.append((turn.onset - inside[0][0]) / SAMPLES_PER_MS)
                self.told_ms.append((turn.told - inside[0][0]) / SAMPLES_PER_MS)
            if inside:
                self.end_ms.append((turn.speech_end - inside[-1][1]) / SAMPLES_PER_MS)
            if inside and turn.end < audio_samples:
                self.end_told_ms.append((turn.end - inside[-1][1]) / SAMPLES_PER_MS)
            told_of.update(inside)
        for before, after in pairwise(inside for inside in spoken if inside):
            self.splits += after[0][0] - before[-1][1] < silence_samples


def reference(detector: VoiceDetector, samples: Samples) -> list[Span]:
    """Where speech is in a clip: see the module."""
    speech = likelihoods(detector, samples) >= _EVEN_ODDS
    spans = _runs(~_without_short(~speech))
    long_enough = [(a, b) for a, b in spans if b - a >= _SHORTEST_HOPS]
    return [(a * HOP_SAMPLES, b * HOP_SAMPLES) for a, b in long_enough]


def likelihoods(detector: VoiceDetector, samples: Samples) -> NDArray[np.float64]:
    """How likely each HOP_SAMPLES are speech, knowing the whole clip; [n]."""
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
    """Of each whole window."""
    whole = np.ascontiguousarray(samples[: len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES])
    state = detector.initial_state()
    scores = [np.zeros(0, np.float32)]
    for start in range(0, len(whole), _PIECE_SAMPLES):
        found, state = detector.score(whole[start : start + _PIECE_SAMPLES], state)
        scores.append(found)
    return np.concatenate(scores)


def turns(detector: VoiceDetector, samples: Samples, settings: EdgeSettings) -> list[Heard]:
    """The turns a session would have, were it sent these samples."""
    edges = EdgeDetector(settings)
    found: list[Heard] = []
    begun: tuple[Started, int] | None = None
    scores = score(detector, as_sent(samples)).tolist()
    for edge in chain(map(edges.feed, scores), _last(edges, len(samples))):
        if isinstance(edge, Started):
            begun = edge, edges.position_samples
        elif edge and begun:
            found.append(_heard(*begun, edge.speech_end_samples, edge.at_samples))
    return found


def _last(edges: EdgeDetector, end: int) -> Iterator[Started | Stopped]:
    """Asked for once all windows have been fed."""
    yield from edges.finish(end)


def _heard(begun: Started, told: int, speech_end: int, end: int) -> Heard:
    return Heard(begun.onset_samples, told, speech_end, begun.at_samples, end)


def _outside(span: Span, turns: Iterable[Heard]) -> int:
    covered = sum(max(0, min(span[1], t.end) - max(span[0], t.start)) for t in turns)
    return span[1] - span[0] - covered


def _within(turn: Heard, spans: Iterable[Span]) -> list[Span]:
    """Those that overlap the turn's speech."""
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
