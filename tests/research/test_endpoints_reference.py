"""How turns are held against the reference."""

from __future__ import annotations

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import WINDOW_SAMPLES, Scores, VoiceDetector
from oyez.testing import FakeDetector
from oyez.turns.endpointing import EndpointerSettings
from research.endpoints.reference import (
    DetectedTurn,
    EndpointErrors,
    probabilities,
    reference,
    turns,
)

MS = SAMPLE_RATE // 1000
SECOND = SAMPLE_RATE


class _SlowDetector(VoiceDetector):
    """Comes to believe what it hears, and to doubt it, by a third each window."""

    def initial_state(self) -> object:
        return 0.0

    def score(self, samples: Samples, state: object) -> Scores:
        assert isinstance(state, float)
        beliefs = []
        for loudness in np.max(np.abs(samples.reshape(-1, WINDOW_SAMPLES)), axis=1):
            state += (float(loudness > 0.01) - state) / 3
            beliefs.append(state)
        return np.array(beliefs, np.float32), state


def clip(*parts: tuple[float, int]) -> Samples:
    """Seconds of loudness one and zero."""
    return np.concatenate(
        [np.full(round(seconds * SECOND), 0.3 * loud, np.float32) for seconds, loud in parts]
    )


def errors(
    heard: list[DetectedTurn], spans: list[tuple[int, int]], silence_ms: int = 400
) -> EndpointErrors:
    found = EndpointErrors()
    found.add(heard, spans, 10 * SECOND, silence_ms * MS)
    return found


def turn(onset: int, speech_end: int, *, announced: int | None = None) -> DetectedTurn:
    return DetectedTurn(
        onset, announced or onset + 96 * MS, speech_end, onset - 300 * MS, speech_end + 400 * MS
    )


def test_the_reference_is_in_time_where_the_detector_is_late() -> None:
    samples = clip((1.0, 0), (2.0, 1), (1.5, 0))
    ((start, end),) = reference(_SlowDetector(), samples)
    assert abs(start - SECOND) <= 16 * MS
    assert abs(end - 3 * SECOND) <= 16 * MS
    settings = EndpointerSettings.from_wire(0.2, 400, 300)
    (heard,) = turns(_SlowDetector(), samples, settings)
    assert heard.onset - start >= 60 * MS and heard.speech_end - end >= 20 * MS


def test_the_reference_leaves_out_clicks_and_closes_gaps() -> None:
    samples = clip((1, 0), (0.03, 1), (1, 0), (1, 1), (0.05, 0), (1, 1), (1, 0))
    assert len(reference(FakeDetector(), samples)) == 1


def test_probabilities_cover_the_clip_whatever_its_length() -> None:
    for length in (0, 100, 128, 5_000, 5_119):
        found = probabilities(FakeDetector(), clip((1, 1))[:length])
        assert len(found) == length // 128


def test_turns_are_those_of_the_edges_and_end_with_the_audio() -> None:
    settings = EndpointerSettings.from_wire(0.2, 400, 300)
    heard = turns(FakeDetector(), clip((1, 0), (1, 1), (1, 0), (1, 1)), settings)
    assert [round((one.speech_end - one.onset) / SECOND) for one in heard] == [1, 1]
    assert all(one.announced - one.onset == 3 * WINDOW_SAMPLES for one in heard)
    assert heard[-1].end == 4 * SECOND


def test_errors_of_edges_are_late_where_they_are_positive() -> None:
    found = errors([turn(1_000 * MS, 2_050 * MS)], [(960 * MS, 2_000 * MS)])
    assert (found.start_ms, found.start_announced_ms, found.end_ms) == ([40], [136], [50])
    assert found.end_announced_ms == [450]
    assert (found.missed_samples, found.false_starts, found.splits, found.late) == (0, 0, 0, 0)


def test_speech_outside_of_turns_is_missed() -> None:
    found = errors(
        [turn(2_000 * MS, 3_000 * MS)], [(1_000 * MS, 3_000 * MS), (5_000 * MS, 6_000 * MS)]
    )
    assert found.missed_samples == (700 + 1_000) * MS
    assert found.speech_samples == 3_000 * MS


def test_a_turn_without_speech_is_a_false_start() -> None:
    assert errors([turn(4_000 * MS, 5_000 * MS)], [(1_000 * MS, 2_000 * MS)]).false_starts == 1


def test_turns_parted_by_a_short_pause_are_split() -> None:
    heard = [turn(1_000 * MS, 1_500 * MS), turn(2_100 * MS, 3_000 * MS)]
    assert errors(heard, [(1_000 * MS, 3_000 * MS)]).splits == 1
    assert errors(heard, [(1_000 * MS, 1_700 * MS), (2_000 * MS, 3_000 * MS)]).splits == 1
    assert errors(heard, [(1_000 * MS, 1_500 * MS), (2_000 * MS, 3_000 * MS)]).splits == 0


def test_a_turn_over_a_long_pause_runs_on() -> None:
    heard = [turn(1_000 * MS, 4_000 * MS)]
    assert errors(heard, [(1_000 * MS, 2_000 * MS), (2_600 * MS, 4_000 * MS)]).late == 1
    assert errors(heard, [(1_000 * MS, 2_000 * MS), (2_500 * MS, 4_000 * MS)]).late == 0
