"""The states of a segment: when its final is requested, answered, discarded and requested again."""

from __future__ import annotations

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.engines.language_prior import uniform_over
from oyez.turns.segment import RecognitionNeed, Segment, SegmentSettings, State

SETTINGS = SegmentSettings(release=0.4)
W = WINDOW_SAMPLES
SPEECH_WINDOWS = 8
"""Too few for a partial."""
PAUSE_WINDOWS = 6
"""Silence after which a segment without words requests its final."""
SCORES = {"en": 0.5, "de": 0.45, "fr": 0.05}
ERROR = RuntimeError("broken")


def feed(segment: Segment, speech: int, silence: int = 0, start: int = 0) -> list[RecognitionNeed]:
    needs = []
    for index in range(speech + silence):
        segment.feed(0.9 if index < speech else 0.0, start + (index + 1) * W)
        if need := segment.next_request():
            needs.append(need)
    return needs


def hypothesis(*words: str, language: str = "en") -> Hypothesis:
    pieces = (Piece(f" {word}", (1,), (at + 1) * 4000, 0.9) for at, word in enumerate(words))
    return Hypothesis(tuple(pieces), language, SCORES)


def segment_in(state: State) -> tuple[Segment, RecognitionNeed | None]:
    """An open segment in this state, and the request for its final, if it was requested."""
    segment = Segment(0, SETTINGS, None)
    if state is State.SILENT:
        feed(segment, 0, SPEECH_WINDOWS + PAUSE_WINDOWS)
        return segment, None
    if state is State.SPEECH:
        feed(segment, SPEECH_WINDOWS)
        return segment, None
    (final,) = feed(segment, SPEECH_WINDOWS, PAUSE_WINDOWS)
    if state is not State.AWAITING:
        segment.on_result(final, ERROR if state is State.FAILED else hypothesis("one"))
    return segment, final


@pytest.mark.parametrize("state", State)
def test_the_final_or_the_failure_shows_the_state(state: State) -> None:
    segment, final = segment_in(state)
    assert segment._state is state
    assert segment.has_speech == (state is not State.SILENT)
    assert segment.final == (hypothesis("one") if state is State.ANSWERED else None)
    assert segment.failure is (ERROR if state is State.FAILED else None)
    assert (segment.answered_samples > 0) == (state is State.ANSWERED)
    if final is not None:
        assert segment.is_awaited(final) == (state is State.AWAITING)
        assert final.purpose is Purpose.FINAL and final.speculative


@pytest.mark.parametrize("state", State)
def test_speech_discards_any_final(state: State) -> None:
    segment, final = segment_in(state)
    segment.feed(0.9, (SPEECH_WINDOWS + PAUSE_WINDOWS + 1) * W)
    assert segment._state is State.SPEECH
    assert segment.final is None and segment.failure is None
    if final is not None:
        assert not segment.is_awaited(final)


@pytest.mark.parametrize("state", State)
def test_closing_requests_the_final_that_is_missing(state: State) -> None:
    segment, final = segment_in(state)
    need = segment.close((SPEECH_WINDOWS + PAUSE_WINDOWS) * W)
    missing = state in (State.SPEECH, State.FAILED)
    assert (need is not None) == missing
    if need is not None:
        assert not need.speculative and need.due_samples == 0
    assert segment.settled == (state in (State.SILENT, State.ANSWERED))
    if awaited := need or (final if state is State.AWAITING else None):
        segment.on_result(awaited, hypothesis("one"))
        assert segment.settled


@pytest.mark.parametrize("state", [State.AWAITING, State.ANSWERED, State.FAILED])
def test_closing_before_the_end_of_the_final_requests_another_one(state: State) -> None:
    segment, final = segment_in(state)
    assert final is not None
    need = segment.close(final.end - W)
    assert need is not None and need.end == final.end - W
    segment.on_result(final, hypothesis("late"))
    assert segment.final is None and not segment.settled


@pytest.mark.parametrize("state", State)
def test_closing_before_the_speech_leaves_nothing_to_recognise(state: State) -> None:
    segment = Segment(0, SETTINGS, None)
    feed(segment, 0, 20)
    for _ in range(SPEECH_WINDOWS if state is not State.SILENT else 0):
        segment.feed(0.9, segment._position + W)
    if state not in (State.SILENT, State.SPEECH):
        (final,) = feed(segment, 0, PAUSE_WINDOWS, segment._position)
        if state is not State.AWAITING:
            segment.on_result(final, ERROR if state is State.FAILED else hypothesis("one"))
    assert segment._state is state
    assert segment.close(20 * W) is None
    assert segment.settled and not segment.has_speech
    assert segment.speech_spans == []


def test_a_final_in_a_language_that_changed_is_requested_again() -> None:
    segment, final = segment_in(State.ANSWERED)
    assert final is not None
    segment.close((SPEECH_WINDOWS + PAUSE_WINDOWS) * W)
    assert segment.settled
    segment.language_prior = uniform_over(["de", "fr"])
    assert segment.language_changed and not segment.settled
    again = segment.retry()
    assert (again.start, again.end) == (final.start, final.end)
    assert again.language_prior == segment.language_prior and not again.speculative
    assert segment.is_awaited(again) and not segment.settled
    segment.on_result(again, hypothesis("eins", language="de"))
    assert segment.settled and not segment.language_changed


def test_a_failed_partial_changes_no_state() -> None:
    segment = Segment(0, SETTINGS, None)
    (partial,) = feed(segment, 12)
    assert partial.purpose is Purpose.PARTIAL
    assert not segment.on_result(partial, ERROR)
    assert segment._state is State.SPEECH and segment.failure is None


def test_words_behind_the_end_belong_to_the_next_segment() -> None:
    segment = Segment(0, SETTINGS, None)
    (partial,) = feed(segment, 30)
    segment.close(8000)
    segment.on_result(partial, hypothesis("one", "two", "three"))
    assert segment.stabilizer.unstable_text == "one two"


def test_confirmed_words_behind_the_cut_are_carried_over() -> None:
    segment, cut = Segment(0, SETTINGS, None), 2 * SAMPLE_RATE
    words = tuple(Piece(f" w{n}", (n,), (n + 1) * SAMPLE_RATE, 0.9) for n in range(5))
    for _ in range(2):
        segment.stabilizer.add_hypothesis(Hypothesis(words, "en"), 5 * SAMPLE_RATE)
    assert segment.stabilizer.stable_text == "w0 w1 w2"
    successor = Segment(cut, SETTINGS, None)
    feed(successor, 1, start=cut)
    successor.inherit(segment)
    assert [piece.text for piece in successor.stabilizer.confirmed] == [" w2"]
    assert successor.stabilizer.confirmed[0].end_samples == SAMPLE_RATE
    assert successor.stabilizer.stable_text == ""
