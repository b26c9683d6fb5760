from __future__ import annotations

from itertools import pairwise

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.turns.segment import (
    INTERVAL_BEFORE_WORDS_SAMPLES,
    REPLACE_AFTER_SAMPLES,
    RecognitionNeed,
    SegmentSettings,
)
from oyez.turns.turn import Turn

SETTINGS = SegmentSettings(release=0.4)


def play(turn: Turn, probabilities: list[float], start: int = 0) -> list[RecognitionNeed]:
    needs = []
    for index, probability in enumerate(probabilities):
        needs += turn.feed(probability, start + (index + 1) * WINDOW_SAMPLES)
    return needs


def windows(seconds: float) -> int:
    return int(seconds * SAMPLE_RATE / WINDOW_SAMPLES)


def words(text: str, language: str = "en") -> Hypothesis:
    pieces = tuple(
        Piece(f" {word}", (1,), (index + 1) * 4000, 0.9) for index, word in enumerate(text.split())
    )
    return Hypothesis(pieces, language)


def test_a_turn_without_speech_settles_without_asking() -> None:
    turn = Turn(0, SETTINGS)
    assert play(turn, [0.1] * 100) == []
    assert turn.close(51_200) == []
    assert turn.settled and turn.transcript == ""


def test_the_next_partial_waits_for_the_answer_to_the_last() -> None:
    turn = Turn(0, SETTINGS)
    (first,) = play(turn, [0.9] * windows(1.3))
    assert first.purpose is Purpose.PARTIAL
    turn.on_result(first, words("one"))
    (second,) = play(turn, [0.9] * 2, windows(1.3) * WINDOW_SAMPLES)
    assert second.end > first.end
    assert second.hint == words("one").pieces


def test_a_fresher_partial_takes_the_place_of_one_not_answered_for_a_second() -> None:
    turn = Turn(0, SETTINGS)
    asked = play(turn, [0.9] * windows(4))
    steps = [after.end - before.end for before, after in pairwise(asked)]
    assert len(steps) == 3
    assert all(0 <= step - REPLACE_AFTER_SAMPLES < WINDOW_SAMPLES for step in steps)


def test_partials_go_on_soon_after_speech_resumes_though_neither_answer_came() -> None:
    turn = Turn(0, SETTINGS)
    partial, final = play(turn, [0.9] * 12 + [0.0] * 8)
    assert (partial.purpose, final.purpose) == (Purpose.PARTIAL, Purpose.FINAL)
    resumed = 20 * WINDOW_SAMPLES
    (again,) = play(turn, [0.9] * windows(0.35), resumed)
    assert again.purpose is Purpose.PARTIAL
    assert again.end - resumed <= INTERVAL_BEFORE_WORDS_SAMPLES + 2 * WINDOW_SAMPLES


@pytest.mark.parametrize(
    ("silence_s", "shown", "asked_after_windows"),
    [
        pytest.param(0.8, "one", 10, id="a hesitation is waited for"),
        pytest.param(0.4, "one", 7, id="not if the turn ends soon"),
        pytest.param(0.2, "one", 6, id="nor before the tail is there"),
        pytest.param(0.8, "", 6, id="first words are not put off"),
    ],
)
def test_when_a_final_is_asked_for(silence_s: float, shown: str, asked_after_windows: int) -> None:
    settings = SegmentSettings(release=0.4, silence_samples=round(silence_s * SAMPLE_RATE))
    turn = Turn(0, settings)
    (partial,) = play(turn, [0.9] * 12)
    turn.on_result(partial, words(shown))
    silence = 12 * WINDOW_SAMPLES
    assert play(turn, [0.0] * (asked_after_windows - 1), silence) == []
    (final,) = play(turn, [0.0], silence + (asked_after_windows - 1) * WINDOW_SAMPLES)
    assert final.speculative
    assert final.end == silence + settings.tail_samples


def test_the_answer_to_a_partial_is_shown_though_the_final_was_asked_for() -> None:
    turn = Turn(0, SETTINGS)
    partial, final = play(turn, [0.9] * 12 + [0.0] * 8)
    assert turn.on_result(partial, words("one")) and turn.unstable_text == "one"
    turn.on_result(final, words("one two"))
    assert not turn.on_result(partial, words("other")), "it comes too late"
    turn.close(25 * WINDOW_SAMPLES)
    assert turn.transcript == "one two."


def test_only_the_final_that_counts_is_awaited() -> None:
    turn = Turn(0, SETTINGS)
    partial, early = play(turn, [0.9] * 12 + [0.0] * 8)
    segment = early.segment
    assert segment.is_awaited(early) and not segment.is_awaited(partial)
    *_, late = play(turn, [0.9] * 12 + [0.0] * 8, 20 * WINDOW_SAMPLES)
    assert segment.is_awaited(late) and not segment.is_awaited(early)
    turn.on_result(late, words("one"))
    assert not segment.is_awaited(late)


def test_the_final_is_asked_for_when_silence_begins_and_covers_its_tail() -> None:
    turn = Turn(0, SETTINGS)
    speech = windows(1)
    needs = play(turn, [0.9] * speech + [0.0] * 20)
    final = needs[-1]
    assert final.purpose is Purpose.FINAL and final.speculative
    assert final.end == speech * WINDOW_SAMPLES + SETTINGS.tail_samples
    turn.on_result(final, words("done"))
    assert turn.close((speech + 25) * WINDOW_SAMPLES) == []
    assert turn.settled and turn.transcript == "done."


def test_speech_that_resumes_discards_the_early_final() -> None:
    turn = Turn(0, SETTINGS)
    early = play(turn, [0.9] * 30 + [0.0] * 8 + [0.9] * 30)
    finals = [need for need in early if need.purpose is Purpose.FINAL]
    for need in finals:
        turn.on_result(need, words("early"))
    (final,) = turn.close(68 * WINDOW_SAMPLES)
    assert not final.speculative and final.end == 68 * WINDOW_SAMPLES
    assert not turn.settled
    turn.on_result(final, words("early and late"))
    assert turn.transcript == "early and late."


def test_a_long_turn_is_cut_at_a_pause() -> None:
    turn = Turn(0, SETTINGS)
    needs = play(turn, [0.9] * windows(11) + [0.0] * 7 + [0.9] * 30)
    finals = [need for need in needs if need.purpose is Purpose.FINAL]
    assert len(finals) == 1 and not finals[0].speculative
    last = turn.close((windows(11) + 37) * WINDOW_SAMPLES)[0]
    assert last.start >= finals[0].end - SETTINGS.lead_samples
    turn.on_result(last, words("second part"))
    assert turn.transcript == "", "the first part is still missing"
    turn.on_result(finals[0], words("first part"))
    assert turn.transcript == "first part second part."


def test_a_turn_without_pauses_is_cut_where_speech_is_least_likely() -> None:
    dip_at = windows(17)
    probabilities = [0.9] * windows(21)
    probabilities[dip_at - 1 : dip_at + 2] = [0.6, 0.5, 0.6]
    needs = play(Turn(0, SETTINGS), probabilities)
    final = next(need for need in needs if need.purpose is Purpose.FINAL)
    assert abs(final.end - dip_at * WINDOW_SAMPLES) <= 2 * WINDOW_SAMPLES


def test_cut_turns_lose_and_double_no_audio() -> None:
    turn = Turn(0, SETTINGS)
    needs = play(turn, [0.9] * windows(65))
    finals = [need for need in needs if need.purpose is Purpose.FINAL]
    finals += turn.close(windows(65) * WINDOW_SAMPLES)
    for before, after in zip(finals, finals[1:], strict=False):
        assert before.end == after.start
    assert finals[0].start == 0 and finals[-1].end == windows(65) * WINDOW_SAMPLES


def numbered(need: RecognitionNeed) -> Hypothesis:
    """A word each 0.4 s, numbered; one that is not whole in the audio is not heard."""
    first = need.prefix[-1].tokens[0] + 1 if need.prefix else -(-need.start // 6400)
    pieces = tuple(
        Piece(f" {n}", (n,), (n + 1) * 6400 - need.start, 0.9)
        for n in range(first, need.end // 6400)
    )
    return Hypothesis((*need.prefix, *pieces), "en")


@pytest.mark.parametrize("dip_s", [14.1, 16.0, 17.3, 19.0])
def test_no_word_is_shown_twice_around_a_cut_in_unbroken_speech(dip_s: float) -> None:
    turn, shown = Turn(0, SETTINGS), ""
    probabilities = [0.9] * windows(25)
    probabilities[windows(dip_s)] = 0.5
    late: list[RecognitionNeed] = []
    for index, probability in enumerate(probabilities):
        for need in turn.feed(probability, (index + 1) * WINDOW_SAMPLES):
            late.append(need)
        for need in late[: -1 if index % 30 else None]:
            late.remove(need)
            turn.on_result(need, numbered(need))
            assert turn.stable_text.startswith(shown)
            shown = turn.stable_text
            numbers = [int(word) for word in (turn.stable_text + turn.unstable_text).split()]
            assert numbers == sorted(set(numbers)), "twice or out of order"
    assert len(turn._segments) <= 2 and len(shown.split()) > 50


def test_text_of_later_segments_is_unstable_until_the_first_is_final() -> None:
    turn = Turn(0, SETTINGS)
    needs = play(turn, [0.9] * windows(21))
    first = next(need for need in needs if need.purpose is Purpose.FINAL)
    later = needs[-1]
    assert later.segment is not first.segment
    turn.on_result(later, words("later"))
    assert (turn.stable_text, turn.unstable_text) == ("", "later")
    turn.on_result(first, words("first"))
    assert (
        turn.stable_text.startswith("first")
        and turn.stable_text + turn.unstable_text == "first later"
    )


def test_a_failure_of_one_segment_is_the_turns_failure() -> None:
    turn = Turn(0, SETTINGS)
    play(turn, [0.9] * 40)
    (final,) = turn.close(40 * WINDOW_SAMPLES)
    turn.on_result(final, RuntimeError("broken"))
    assert turn.settled and isinstance(turn.failure, RuntimeError)


def test_the_language_is_the_one_most_was_said_in() -> None:
    turn = Turn(0, SETTINGS)
    needs = play(turn, [0.9] * windows(21))
    first = next(need for need in needs if need.purpose is Purpose.FINAL)
    turn.on_result(first, words("viele deutsche Wörter hier", "de"))
    (last,) = turn.close(windows(21) * WINDOW_SAMPLES)
    turn.on_result(last, words("ok", "en"))
    assert turn.language == "de"
