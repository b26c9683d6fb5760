"""Which language is heard when nobody names one: in the first seconds, and in a whole turn.

The engine is asked directly, as for the first turn of a session, of which nothing is known yet.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import (
    WINDOW_SAMPLES,
    Purpose,
    Recogniser,
    RecognitionError,
    Request,
    VoiceDetector,
)
from oyez.turns.endpointing import EdgeDetector, EdgeSettings, Started, Stopped

FIRST_S = (1, 2, 3)
TURN = "turn"
PARTS = (*(f"{seconds} s" for seconds in FIRST_S), TURN)
"""What is listened to: seconds from where speech begins, or the turn to its end."""

_EDGES = EdgeSettings.from_wire(threshold=0.2, silence_duration_ms=800, prefix_padding_ms=300)
"""What a session uses when it is told nothing."""
_SHORTEST_SAMPLES = FIRST_S[0] * SAMPLE_RATE


@dataclass(frozen=True, slots=True)
class Turn:
    """A stretch of speech, in samples of its clip."""

    start: int
    """Where the turn begins, a little before the speech."""
    onset: int
    end: int
    """Where the speech ends."""


def detect(
    samples: Samples, *, recogniser: Recogniser, detector: VoiceDetector
) -> dict[str, str | None]:
    """The language heard in the first turn with a second of speech, by PARTS: one of LANGUAGES, or
    None where the engine failed. Parts longer than the turn are left out; all are if there is no
    such turn. A turn is heard as far as one request goes.
    """
    turn = first_turn(samples, detector)
    if turn is None:
        return {}
    ends = {f"{seconds} s": turn.onset + seconds * SAMPLE_RATE for seconds in FIRST_S}
    ends = {part: end for part, end in ends.items() if end <= turn.end}
    ends[TURN] = min(turn.end, turn.start + recogniser.info.max_samples)
    return {part: _language(recogniser, samples[turn.start : end]) for part, end in ends.items()}


def first_turn(samples: Samples, detector: VoiceDetector) -> Turn | None:
    """The first turn with a second of speech between its first and its last."""
    whole = len(samples) // WINDOW_SAMPLES * WINDOW_SAMPLES
    probabilities, _ = detector.score(samples[:whole], detector.initial_state())
    edges = EdgeDetector(_EDGES)
    start = onset = 0
    found = [edge for probability in probabilities if (edge := edges.feed(float(probability)))]
    for edge in [*found, *edges.finish(len(samples))]:
        match edge:
            case Started():
                start, onset = edge.at_samples, edge.onset_samples
            case Stopped() if edge.speech_end_samples - onset >= _SHORTEST_SAMPLES:
                return Turn(start, onset, edge.speech_end_samples)
    return None


def _language(recogniser: Recogniser, samples: Samples) -> str | None:
    request = Request(np.ascontiguousarray(samples), Purpose.PARTIAL)
    (answer,) = recogniser.recognise([request])
    return None if isinstance(answer, RecognitionError) else answer.language
