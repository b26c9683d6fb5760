from __future__ import annotations

import time

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Piece
from oyez.turns.stabilizer import Stabilizer, unseen_part


def heard(text: str, language: str = "en", step_s: float = 0.3) -> Hypothesis:
    """A piece per word (or per character where the script has no spaces), evenly timed."""
    units = list(text) if language in ("zh", "ja") else [f" {word}" for word in text.split()]
    pieces = tuple(
        Piece(unit, (hash(unit),), int((index + 1) * step_s * SAMPLE_RATE), 0.9)
        for index, unit in enumerate(units)
    )
    return Hypothesis(pieces, language)


def seconds(count: float) -> int:
    return int(count * SAMPLE_RATE)


def test_the_first_hypothesis_is_all_unstable() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("it was the"), seconds(1))
    assert (stabilizer.stable_text, stabilizer.unstable_text) == ("", "it was the")


def test_what_two_hypotheses_share_is_confirmed_up_to_the_held_back_tail() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("it was the best"), seconds(1.2))
    stabilizer.add_hypothesis(heard("it was the best of times"), seconds(2.4))
    assert stabilizer.stable_text == "it was the best"
    assert stabilizer.stable_text + stabilizer.unstable_text == "it was the best of times"


def test_a_word_close_to_the_edge_is_held_back_even_if_agreed() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("it was"), seconds(1.4))
    stabilizer.add_hypothesis(heard("it was"), seconds(1.5))
    assert stabilizer.stable_text == "it"


def test_stable_text_survives_a_contradicting_hypothesis() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("it was the best"), seconds(2.1))
    stabilizer.add_hypothesis(heard("it was the best of"), seconds(2.45))
    stable = stabilizer.stable_text
    stabilizer.add_hypothesis(heard("he is a beast of times"), seconds(2.49))
    assert stabilizer.stable_text == stable == "it was the best"
    assert stabilizer.unstable_text == " of times"
    assert stabilizer.confirmed == heard("it was the best").pieces


def test_half_a_word_is_never_confirmed() -> None:
    halves = (
        Piece(" un", (1,), seconds(0.2), 0.9),
        Piece("believ", (2,), seconds(0.4), 0.9),
        Piece("able", (3,), seconds(1.6), 0.9),
    )
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(Hypothesis(halves, "en"), seconds(1.7))
    stabilizer.add_hypothesis(Hypothesis(halves, "en"), seconds(1.8))
    assert stabilizer.stable_text == ""


def test_scripts_without_spaces_are_confirmed_by_character() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("今天天气", "zh"), seconds(1.2))
    stabilizer.add_hypothesis(heard("今天天气不错", "zh"), seconds(2.4))
    assert stabilizer.stable_text == "今天天气"


def test_something_is_confirmed_after_two_and_a_half_seconds_without_agreement() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("one two three"), seconds(2.6))
    assert stabilizer.stable_text == "one"


def test_nothing_is_confirmed_where_nothing_was_recognised() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(Hypothesis((), "en"), seconds(5))
    assert (stabilizer.stable_text, stabilizer.unstable_text) == ("", "")


def test_the_final_makes_everything_stable() -> None:
    stabilizer = Stabilizer()
    stabilizer.add_hypothesis(heard("it was"), seconds(1))
    stabilizer.set_final("It was, yes.")
    assert (stabilizer.stable_text, stabilizer.unstable_text) == ("It was, yes.", "")


def test_words_confirmed_with_the_segment_before_are_not_shown_again() -> None:
    carried_over = heard("of times").pieces
    stabilizer = Stabilizer(carried_over, "en")
    assert (stabilizer.stable_text, stabilizer.unstable_text) == ("", "")
    stabilizer.add_hypothesis(heard("of times it was"), seconds(1.5))
    assert (stabilizer.stable_text, stabilizer.unstable_text) == ("", "it was")
    stabilizer.add_hypothesis(heard("of times it was the worst"), seconds(3))
    assert (stabilizer.stable_text, stabilizer.unstable_text) == ("it was", " the worst")
    stabilizer.set_final("Of times it was the worst.")
    assert stabilizer.stable_text == "it was the worst."


def test_confirmed_words_behind_a_cut_are_whole_and_separate() -> None:
    stabilizer = Stabilizer()
    for _ in range(2):
        stabilizer.add_hypothesis(heard("it was the best of times"), seconds(3))
    assert "".join(piece.text for piece in stabilizer.confirmed_after(seconds(0.9))) == " best of"
    assert stabilizer.confirmed_after(seconds(3)) == ()


def test_a_contradiction_in_endless_repetition_takes_no_time() -> None:
    began_s = time.process_time()
    unseen_part("ha ho " * 300, "ho ha x " * 200)
    assert time.process_time() - began_s < 0.2


def test_the_counterpart_is_found_at_the_end_of_much_text() -> None:
    shown = [f"w{n}" for n in range(500)]
    whole = ["so", *shown[:498], "x", "y", "z"]
    assert unseen_part(" ".join(whole), " ".join(shown)) == " z"


@pytest.mark.parametrize(
    ("whole", "shown", "rest"),
    [
        ("a b c", "a b", " c"),
        ("a b", "a b", ""),
        ("a", "a b", ""),
        ("he is best", "it was", " best"),
        ("it was a season of darkness.", "it was the season of", " darkness."),
        ("so it was the best of times", "it was the", " best of times"),
        ("one two", "it was the best", ""),
        ("天气很好", "今天", "气很好"),
        ("明天天气很好", "今天天气", "很好"),
    ],
)
def test_unseen_part_leaves_neither_gap_nor_repetition(whole: str, shown: str, rest: str) -> None:
    assert unseen_part(whole, shown) == rest
