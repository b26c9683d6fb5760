"""Where turns start and stop, given how likely each window is to be speech."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.base import WINDOW_SAMPLES
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart

W = WINDOW_SAMPLES
_SETTINGS = EndpointerSettings(
    threshold=0.6,
    release=0.45,
    silence_samples=10 * W,
    padding_samples=4 * W,
)


def _boundaries(
    *probabilities: float, settings: EndpointerSettings = _SETTINGS
) -> list[TurnStart | TurnEnd]:
    return _feed(Endpointer(settings), *probabilities)


def _feed(endpointer: Endpointer, *probabilities: float) -> list[TurnStart | TurnEnd]:
    return [boundary for each in probabilities if (boundary := endpointer.feed(each))]


def _run(count: int, probability: float) -> list[float]:
    return [probability] * count


@pytest.mark.parametrize(
    ("on_the_wire", "threshold", "release"),
    [
        (0.2, 0.6, 0.45),
        (0.0, 0.5, 0.35),
        (-1.0, 0.05, 0.02),
        (-0.8, 0.1, 0.02),
        (1.0, 0.95, 0.8),
    ],
)
def test_the_threshold_of_the_wire_becomes_a_probability(
    on_the_wire: float, threshold: float, release: float
) -> None:
    settings = EndpointerSettings.from_wire(on_the_wire, 800, 300)
    assert settings.threshold == pytest.approx(threshold)
    assert settings.release == pytest.approx(release)
    assert settings.silence_samples == 12_800
    assert settings.padding_samples == 4_800


def test_a_turn_starts_with_its_prefix_and_stops_with_its_silence() -> None:
    assert _boundaries(*_run(10, 0.1), *_run(20, 0.9), *_run(15, 0.1)) == [
        TurnStart(at_samples=6 * W, onset_samples=10 * W),
        TurnEnd(at_samples=40 * W, speech_end_samples=30 * W),
    ]


def test_the_start_is_reported_as_soon_as_there_is_evidence() -> None:
    endpointer = Endpointer(_SETTINGS)
    assert _feed(endpointer, 0.9, 0.9) == []
    assert endpointer.feed(0.9) == TurnStart(0, 0)


@pytest.mark.parametrize("burst", [[0.99], [0.99, 0.99], [0.99, 0.1, 0.99]])
def test_a_click_or_a_key_stroke_starts_no_turn(burst: list[float]) -> None:
    assert _boundaries(*[*_run(5, 0.1), *burst, *_run(5, 0.1)] * 10) == []


def test_a_short_word_starts_a_turn_even_with_one_window_below_the_threshold() -> None:
    boundaries = _boundaries(*_run(10, 0.1), 0.7, 0.5, 0.8, 0.7, *_run(20, 0.1))
    assert [type(boundary) for boundary in boundaries] == [TurnStart, TurnEnd]
    assert boundaries[0] == TurnStart(at_samples=6 * W, onset_samples=10 * W)


def test_sounds_far_apart_are_no_evidence_together() -> None:
    assert _boundaries(*[0.9, 0.1, 0.1] * 20) == []


def test_less_likely_speech_that_lasts_starts_a_turn() -> None:
    endpointer = Endpointer(_SETTINGS)
    assert _feed(endpointer, *_run(10, 0.1), *_run(5, 0.5)) == []
    assert endpointer.feed(0.5) == TurnStart(at_samples=6 * W, onset_samples=10 * W)


@pytest.mark.parametrize("sounds", [[*[0.5] * 5, 0.4], [0.4]])
def test_less_likely_sounds_that_do_not_last_start_no_turn(sounds: list[float]) -> None:
    assert _boundaries(*sounds * 20) == []


def test_less_likely_sounds_of_one_turn_are_no_evidence_for_the_next() -> None:
    boundaries = _boundaries(*_run(6, 0.5), *_run(10, 0.1), *_run(5, 0.5), 0.1)
    assert [type(boundary) for boundary in boundaries] == [TurnStart, TurnEnd]


def test_the_sustained_threshold_follows_the_threshold() -> None:
    for on_the_wire in (-1.0, -0.5, 0.0, 0.2, 1.0):
        settings = EndpointerSettings.from_wire(on_the_wire, 800, 300)
        above, below = (settings.threshold * share for share in (0.76, 0.74))
        assert _boundaries(*_run(6, above), settings=settings)
        assert not _boundaries(*_run(20, below), settings=settings)


def test_a_turn_never_begins_before_the_audio() -> None:
    assert _boundaries(0.1, *_run(5, 0.9))[0] == TurnStart(at_samples=0, onset_samples=W)


def test_a_turn_never_begins_before_the_end_of_the_one_before() -> None:
    boundaries = _boundaries(*_run(5, 0.9), *_run(11, 0.1), *_run(5, 0.9))
    assert boundaries[1:] == [
        TurnEnd(at_samples=15 * W, speech_end_samples=5 * W),
        TurnStart(at_samples=15 * W, onset_samples=16 * W),
    ]


def test_speech_of_one_turn_is_no_evidence_for_the_next() -> None:
    settings = replace(_SETTINGS, silence_samples=W)
    assert len(_boundaries(*_run(3, 0.9), 0.0, 0.9, 0.9, settings=settings)) == 2


def test_a_breath_shorter_than_the_silence_never_ends_a_turn() -> None:
    boundaries = _boundaries(*[*_run(3, 0.9), *_run(9, 0.0)] * 20)
    assert boundaries == [TurnStart(0, 0)]


_PAUSES_MS = st.lists(st.integers(1, 60).map(lambda windows: 32 * windows), max_size=8)


@given(pauses_ms=_PAUSES_MS, silence_ms=st.sampled_from([200, 400, 800]))
def test_a_pause_ends_a_turn_once_if_it_lasts_and_else_never(
    pauses_ms: list[int], silence_ms: int
) -> None:
    settings = EndpointerSettings.from_wire(0.2, silence_ms, 300)
    probabilities = _run(5, 0.9)
    for pause_ms in pauses_ms:
        probabilities += [*_run(pause_ms // 32, 0.05), *_run(5, 0.9)]
    stops = [
        boundary
        for boundary in _boundaries(*probabilities, settings=settings)
        if type(boundary) is TurnEnd
    ]
    assert len(stops) == sum(pause_ms >= silence_ms for pause_ms in pauses_ms)


def test_speech_that_grows_less_likely_keeps_a_turn_open() -> None:
    assert len(_boundaries(*_run(5, 0.9), *_run(50, 0.5))) == 1
    assert len(_boundaries(*_run(5, 0.9), *_run(50, 0.4))) == 2


def test_silence_is_counted_in_samples_not_in_windows() -> None:
    settings = EndpointerSettings.from_wire(0.2, 400, 300)
    boundaries = _boundaries(*_run(5, 0.9), *_run(20, 0.0), settings=settings)
    assert boundaries[1] == TurnEnd(at_samples=(5 + 13) * W, speech_end_samples=5 * W)  # 416 ms


def test_finish_closes_an_open_turn_where_the_audio_ends() -> None:
    endpointer = Endpointer(_SETTINGS)
    _feed(endpointer, *_run(5, 0.9), *_run(3, 0.1))
    assert endpointer.finish(8 * W + 100) == [TurnEnd(8 * W + 100, 5 * W)]
    assert not endpointer.in_speech
    assert endpointer.finish(8 * W + 100) == []


@pytest.mark.parametrize("ending", [[0.9, 0.9], [0.9, 0.9, 0.2], [0.9, 0.2, 0.9]])
def test_a_word_that_begins_where_the_audio_ends_is_a_turn(ending: list[float]) -> None:
    endpointer = Endpointer(_SETTINGS)
    assert _feed(endpointer, *_run(10, 0.1), *ending) == []
    end = (10 + len(ending)) * W
    assert endpointer.finish(end + 100) == [
        TurnStart(at_samples=6 * W, onset_samples=10 * W),
        TurnEnd(end + 100, end),
    ]
    assert not endpointer.in_speech


@pytest.mark.parametrize("ending", [[0.9], [0.9, 0.9, 0.1, 0.1], [0.9, 0.1, 0.1, 0.9]])
def test_a_click_where_the_audio_ends_is_none(ending: list[float]) -> None:
    endpointer = Endpointer(_SETTINGS)
    _feed(endpointer, *_run(10, 0.1), *ending)
    assert endpointer.finish((10 + len(ending)) * W) == []


def test_closing_forgets_speech_that_was_too_short_to_start_a_turn() -> None:
    endpointer = Endpointer(_SETTINGS)
    _feed(endpointer, 0.9, 0.9)
    assert endpointer.close(2 * W) == []
    assert endpointer.feed(0.9) is None


def test_speech_that_seems_to_resume_holds_the_turn_open() -> None:
    pause = [*_run(9, 0.05), 0.15, 0.2]
    assert len(_boundaries(*_run(5, 0.9), *pause, *_run(5, 0.9))) == 1
    assert len(_boundaries(*_run(5, 0.9), *_run(9, 0.1), 0.15, *_run(5, 0.9))) == 3


def test_speech_that_never_resumes_does_not_hold_the_turn_open_for_long() -> None:
    boundaries = _boundaries(*_run(5, 0.9), *_run(9, 0.05), *_run(20, 0.2))
    assert boundaries[1] == TurnEnd(at_samples=(5 + 10 + 3) * W, speech_end_samples=5 * W)


def test_the_endpointer_shows_where_it_is() -> None:
    endpointer = Endpointer(_SETTINGS)
    assert (endpointer.in_speech, endpointer.silence_samples, endpointer.position_samples) == (
        False,
        0,
        0,
    )
    _feed(endpointer, *_run(4, 0.1))
    assert (endpointer.in_speech, endpointer.silence_samples) == (False, 0)
    _feed(endpointer, *_run(5, 0.9), *_run(3, 0.1))
    assert endpointer.in_speech
    assert endpointer.position_samples == 12 * W
    assert endpointer.last_speech_end_samples == 9 * W
    assert endpointer.silence_samples == 3 * W
    _feed(endpointer, *_run(20, 0.1))
    assert (endpointer.in_speech, endpointer.silence_samples) == (False, 0)
    assert endpointer.position_samples == 32 * W
    assert endpointer.last_speech_end_samples == 9 * W


_PROBABILITIES = st.lists(
    st.tuples(st.integers(1, 15), st.sampled_from([0.0, 0.5, 0.7, 1.0])), max_size=20
).map(lambda runs: [value for count, value in runs for _ in range(count)])


@given(probabilities=_PROBABILITIES)
def test_turns_alternate_and_never_overlap(probabilities: list[float]) -> None:
    endpointer = Endpointer(_SETTINGS)
    boundaries = _feed(endpointer, *probabilities)
    boundaries += endpointer.finish(endpointer.position_samples)
    assert [type(boundary) for boundary in boundaries] == [TurnStart, TurnEnd] * (
        len(boundaries) // 2
    )
    places = [boundary.at_samples for boundary in boundaries]
    assert places == sorted(places)
    assert not places or places[-1] <= endpointer.position_samples
