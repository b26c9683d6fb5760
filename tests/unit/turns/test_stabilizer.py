from __future__ import annotations

import time

import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Piece
from oyez.turns.stabilizer import Passage, Words, glue, remainder


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


def test_the_first_hypothesis_is_all_tentative() -> None:
    words = Words()
    words.hear(heard("it was the"), seconds(1))
    assert (words.promised, words.tentative) == ("", "it was the")


def test_what_two_hypotheses_share_is_promised_up_to_the_held_back_tail() -> None:
    words = Words()
    words.hear(heard("it was the best"), seconds(1.2))
    words.hear(heard("it was the best of times"), seconds(2.4))
    assert words.promised == "it was the best"
    assert words.promised + words.tentative == "it was the best of times"


def test_a_word_close_to_the_edge_is_held_back_even_if_agreed() -> None:
    words = Words()
    words.hear(heard("it was"), seconds(1.4))
    words.hear(heard("it was"), seconds(1.5))
    assert words.promised == "it"


def test_promised_text_survives_a_contradicting_hypothesis() -> None:
    words = Words()
    words.hear(heard("it was the best"), seconds(2.1))
    words.hear(heard("it was the best of"), seconds(2.45))
    promised = words.promised
    words.hear(heard("he is a beast of times"), seconds(2.49))
    assert words.promised == promised == "it was the best"
    assert words.tentative == " of times"
    assert words.confirmed == heard("it was the best").pieces


def test_half_a_word_is_never_promised() -> None:
    halves = (
        Piece(" un", (1,), seconds(0.2), 0.9),
        Piece("believ", (2,), seconds(0.4), 0.9),
        Piece("able", (3,), seconds(1.6), 0.9),
    )
    words = Words()
    words.hear(Hypothesis(halves, "en"), seconds(1.7))
    words.hear(Hypothesis(halves, "en"), seconds(1.8))
    assert words.promised == ""


def test_scripts_without_spaces_are_promised_by_character() -> None:
    words = Words()
    words.hear(heard("今天天气", "zh"), seconds(1.2))
    words.hear(heard("今天天气不错", "zh"), seconds(2.4))
    assert words.promised == "今天天气"


def test_something_is_promised_after_two_and_a_half_seconds_without_agreement() -> None:
    words = Words()
    words.hear(heard("one two three"), seconds(2.6))
    assert words.promised == "one"


def test_nothing_is_promised_where_nothing_was_heard() -> None:
    words = Words()
    words.hear(Hypothesis((), "en"), seconds(5))
    assert (words.promised, words.tentative) == ("", "")


def test_the_final_makes_everything_firm() -> None:
    words = Words()
    words.hear(heard("it was"), seconds(1))
    words.finish("It was, yes.")
    assert (words.promised, words.tentative) == ("It was, yes.", "")


def test_words_promised_with_the_window_before_are_not_shown_again() -> None:
    begun = heard("of times").pieces
    words = Words(begun, "en")
    assert (words.promised, words.tentative) == ("", "")
    words.hear(heard("of times it was"), seconds(1.5))
    assert (words.promised, words.tentative) == ("", "it was")
    words.hear(heard("of times it was the worst"), seconds(3))
    assert (words.promised, words.tentative) == ("it was", " the worst")
    words.finish("Of times it was the worst.")
    assert words.promised == "it was the worst."


def test_confirmed_words_behind_a_cut_are_whole_and_told_apart() -> None:
    words = Words()
    for _ in range(2):
        words.hear(heard("it was the best of times"), seconds(3))
    assert "".join(piece.text for piece in words.confirmed_behind(seconds(0.9))) == " best of"
    assert words.confirmed_behind(seconds(3)) == ()


def test_a_contradiction_in_endless_repetition_takes_no_time() -> None:
    began_s = time.process_time()
    remainder("ha ho " * 300, "ho ha x " * 200)
    assert time.process_time() - began_s < 0.2


def test_the_counterpart_is_found_at_the_end_of_much_text() -> None:
    shown = [f"w{n}" for n in range(500)]
    whole = ["so", *shown[:498], "x", "y", "z"]
    assert remainder(" ".join(whole), " ".join(shown)) == " z"


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
def test_remainder_leaves_neither_gap_nor_repetition(whole: str, shown: str, rest: str) -> None:
    assert remainder(whole, shown) == rest


@pytest.mark.parametrize(
    ("left", "right", "between"),
    [
        ("a.", "b", " "),
        ("", "b", ""),
        ("a", "", ""),
        ("好。", "今", ""),
        ("ครับ", "ผม", ""),
        ("です。", "OK", ""),
        ("안녕.", "네", " "),
    ],
)
def test_glue_knows_scripts_without_spaces(left: str, right: str, between: str) -> None:
    assert glue(left, right) == between


@pytest.mark.parametrize(
    ("texts", "whole"),
    [
        (["the exchange.", "or a connection."], "the exchange or a connection."),
        (["the exchange.", "Or a connection."], "the exchange. Or a connection."),
        (["so...", "it goes"], "so... it goes"),
        (["why?", "because"], "why? because"),
        (["它好。", "他来"], "它好。他来"),
        (["", "one.", "", "two"], "one two"),
    ],
)
def test_a_stop_inside_a_sentence_goes(texts: list[str], whole: str) -> None:
    passage = Passage()
    for text in texts:
        shown = passage.followed_by("")
        for length in range(1, len(text) + 1):
            grown = passage.followed_by(text[:length])
            assert grown.startswith(shown)
            shown = grown
        passage.add(text)
    assert passage.text == whole
