from __future__ import annotations

from itertools import pairwise

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.turns.segment import Wanted, WindowSettings
from oyez.turns.turn import CutSettings, Turn

SETTINGS = WindowSettings(release=0.4)


def play(turn: Turn, probabilities: list[float], start: int = 0) -> list[Wanted]:
    wanted = []
    for index, probability in enumerate(probabilities):
        wanted += turn.feed(probability, start + (index + 1) * WINDOW_SAMPLES)
    return wanted


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
    turn.hear(first, words("one"))
    (second,) = play(turn, [0.9] * 2, windows(1.3) * WINDOW_SAMPLES)
    assert second.end > first.end
    assert second.hint == words("one").pieces


def test_a_fresher_partial_takes_the_place_of_one_not_answered_for_a_second() -> None:
    turn = Turn(0, SETTINGS)
    asked = play(turn, [0.9] * windows(4))
    steps = [after.end - before.end for before, after in pairwise(asked)]
    assert len(steps) == 3
    assert all(0 <= step - SETTINGS.patience_samples < WINDOW_SAMPLES for step in steps)


def test_partials_go_on_soon_after_speech_resumes_though_neither_answer_came() -> None:
    turn = Turn(0, SETTINGS)
    partial, final = play(turn, [0.9] * 12 + [0.0] * 8)
    assert (partial.purpose, final.purpose) == (Purpose.PARTIAL, Purpose.FINAL)
    resumed = 20 * WINDOW_SAMPLES
    (again,) = play(turn, [0.9] * windows(0.35), resumed)
    assert again.purpose is Purpose.PARTIAL
    assert again.end - resumed <= SETTINGS.eager_samples + 2 * WINDOW_SAMPLES


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
    settings = WindowSettings(release=0.4, silence_samples=round(silence_s * SAMPLE_RATE))
    turn = Turn(0, settings)
    (partial,) = play(turn, [0.9] * 12)
    turn.hear(partial, words(shown))
    silence = 12 * WINDOW_SAMPLES
    assert play(turn, [0.0] * (asked_after_windows - 1), silence) == []
    (final,) = play(turn, [0.0], silence + (asked_after_windows - 1) * WINDOW_SAMPLES)
    assert final.speculative
    assert final.end == silence + settings.tail_samples


def test_the_answer_to_a_partial_is_shown_though_the_final_was_asked_for() -> None:
    turn = Turn(0, SETTINGS)
    partial, final = play(turn, [0.9] * 12 + [0.0] * 8)
    assert turn.hear(partial, words("one")) and turn.stash == "one"
    turn.hear(final, words("one two"))
    assert not turn.hear(partial, words("other")), "it comes too late"
    turn.close(25 * WINDOW_SAMPLES)
    assert turn.transcript == "one two."


def test_only_the_final_that_counts_is_awaited() -> None:
    turn = Turn(0, SETTINGS)
    partial, early = play(turn, [0.9] * 12 + [0.0] * 8)
    window = early.window
    assert window.awaits(early) and not window.awaits(partial)
    *_, late = play(turn, [0.9] * 12 + [0.0] * 8, 20 * WINDOW_SAMPLES)
    assert window.awaits(late) and not window.awaits(early)
    turn.hear(late, words("one"))
    assert not window.awaits(late)


def test_the_final_is_asked_for_when_silence_begins_and_covers_its_tail() -> None:
    turn = Turn(0, SETTINGS)
    speech = windows(1)
    wanted = play(turn, [0.9] * speech + [0.0] * 20)
    final = wanted[-1]
    assert final.purpose is Purpose.FINAL and final.speculative
    assert final.end == speech * WINDOW_SAMPLES + SETTINGS.tail_samples
    turn.hear(final, words("done"))
    assert turn.close((speech + 25) * WINDOW_SAMPLES) == []
    assert turn.settled and turn.transcript == "done."


def test_speech_that_resumes_discards_the_early_final() -> None:
    turn = Turn(0, SETTINGS)
    early = play(turn, [0.9] * 30 + [0.0] * 8 + [0.9] * 30)
    finals = [want for want in early if want.purpose is Purpose.FINAL]
    for want in finals:
        turn.hear(want, words("early"))
    (final,) = turn.close(68 * WINDOW_SAMPLES)
    assert not final.speculative and final.end == 68 * WINDOW_SAMPLES
    assert not turn.settled
    turn.hear(final, words("early and late"))
    assert turn.transcript == "early and late."


def test_a_long_turn_is_cut_at_a_pause() -> None:
    turn = Turn(0, SETTINGS)
    wanted = play(turn, [0.9] * windows(11) + [0.0] * 7 + [0.9] * 30)
    finals = [want for want in wanted if want.purpose is Purpose.FINAL]
    assert len(finals) == 1 and not finals[0].speculative
    last = turn.close((windows(11) + 37) * WINDOW_SAMPLES)[0]
    assert last.start >= finals[0].end - SETTINGS.lead_samples
    turn.hear(last, words("second part"))
    assert turn.transcript == "", "the first part is still missing"
    turn.hear(finals[0], words("first part"))
    assert turn.transcript == "first part second part."


def test_a_turn_without_pauses_is_cut_where_speech_is_least_likely() -> None:
    dip_at = windows(17)
    probabilities = [0.9] * windows(21)
    probabilities[dip_at - 1 : dip_at + 2] = [0.6, 0.5, 0.6]
    wanted = play(Turn(0, SETTINGS), probabilities)
    final = next(want for want in wanted if want.purpose is Purpose.FINAL)
    assert abs(final.end - dip_at * WINDOW_SAMPLES) <= 2 * WINDOW_SAMPLES


def test_cut_turns_lose_and_double_no_audio() -> None:
    turn = Turn(0, SETTINGS, cuts=CutSettings())
    wanted = play(turn, [0.9] * windows(65))
    finals = [want for want in wanted if want.purpose is Purpose.FINAL]
    finals += turn.close(windows(65) * WINDOW_SAMPLES)
    for before, after in zip(finals, finals[1:], strict=False):
        assert before.end == after.start
    assert finals[0].start == 0 and finals[-1].end == windows(65) * WINDOW_SAMPLES


def numbered(wanted: Wanted) -> Hypothesis:
    """A word each 0.4 s, numbered; one that is not whole in the audio is not heard."""
    first = wanted.prefix[-1].tokens[0] + 1 if wanted.prefix else -(-wanted.start // 6400)
    pieces = tuple(
        Piece(f" {n}", (n,), (n + 1) * 6400 - wanted.start, 0.9)
        for n in range(first, wanted.end // 6400)
    )
    return Hypothesis((*wanted.prefix, *pieces), "en")


@pytest.mark.parametrize("dip_s", [14.1, 16.0, 17.3, 19.0])
def test_no_word_is_shown_twice_around_a_cut_in_unbroken_speech(dip_s: float) -> None:
    turn, shown = Turn(0, SETTINGS), ""
    probabilities = [0.9] * windows(25)
    probabilities[windows(dip_s)] = 0.5
    late: list[Wanted] = []
    for index, probability in enumerate(probabilities):
        for want in turn.feed(probability, (index + 1) * WINDOW_SAMPLES):
            late.append(want)
        for want in late[: -1 if index % 30 else None]:
            late.remove(want)
            turn.hear(want, numbered(want))
            assert turn.text.startswith(shown)
            shown = turn.text
            numbers = [int(word) for word in (turn.text + turn.stash).split()]
            assert numbers == sorted(set(numbers)), "twice or out of order"
    assert len(turn._windows) <= 2 and len(shown.split()) > 50


def test_text_of_later_windows_is_shown_as_stash_until_the_first_is_final() -> None:
    turn = Turn(0, SETTINGS)
    wanted = play(turn, [0.9] * windows(21))
    first = next(want for want in wanted if want.purpose is Purpose.FINAL)
    later = wanted[-1]
    assert later.window is not first.window
    turn.hear(later, words("later"))
    assert (turn.text, turn.stash) == ("", "later")
    turn.hear(first, words("first"))
    assert turn.text.startswith("first") and turn.text + turn.stash == "first later"


def test_a_failure_of_one_window_is_the_turns_failure() -> None:
    turn = Turn(0, SETTINGS)
    play(turn, [0.9] * 40)
    (final,) = turn.close(40 * WINDOW_SAMPLES)
    turn.hear(final, RuntimeError("broken"))
    assert turn.settled and isinstance(turn.failure, RuntimeError)


def test_the_language_is_the_one_most_was_said_in() -> None:
    turn = Turn(0, SETTINGS)
    wanted = play(turn, [0.9] * windows(21))
    first = next(want for want in wanted if want.purpose is Purpose.FINAL)
    turn.hear(first, words("viele deutsche Wörter hier", "de"))
    (last,) = turn.close(windows(21) * WINDOW_SAMPLES)
    turn.hear(last, words("ok", "en"))
    assert turn.language == "de"
