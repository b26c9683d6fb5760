from __future__ import annotations

import pytest

from oyez.engines.whisper.hallucination import (
    confirms,
    is_as_likely_in_silence,
    is_invented,
    is_invented_by_score,
    may_be_echo,
    repetition_start,
    stalled_loop_start,
    without_repeats,
)


@pytest.mark.parametrize(
    ("tokens", "start"),
    [
        ([], None),
        ([1, 2, 3, 4, 5], None),
        ([7, 7, 7], None),
        ([1, 2, 1, 2, 1, 2], None),
        ([5, *[7] * 12], 2),
        ([5, *[7] * 11, 8], None),
        ([9, *[1, 2, 3] * 4], 4),
        ([1, 2, 3, 4, 5, 6, 7, 8] * 4, 8),
    ],
)
def test_repetition_start(tokens: list[int], start: int | None) -> None:
    assert repetition_start(tokens) == start


def test_doubtful_words_where_nobody_may_have_spoken_are_invented() -> None:
    assert is_invented_by_score(no_speech=0.93, mean_log_probability=-0.98)
    assert is_invented_by_score(no_speech=0.3, mean_log_probability=-1.2)
    assert not is_invented_by_score(no_speech=0.3, mean_log_probability=-0.5)
    assert not is_invented_by_score(no_speech=0.01, mean_log_probability=-1.4)


def test_terms_of_a_context_count_once() -> None:
    assert without_repeats("Lorry, Defarge. Lorry, Defarge. Paris\n北京，上海、北京") == (
        "Lorry, Defarge, Paris, 北京, 上海"
    )


def test_words_of_the_context_alone_may_be_an_echo() -> None:
    context = "Madame Defarge, Jarvis Lorry, guillotine"
    assert may_be_echo(" Guillotine.", context)
    assert may_be_echo(" Madame Defarge, Jarvis", context)
    assert not may_be_echo(" I met Madame Defarge.", context)
    assert not may_be_echo("", context)
    assert not may_be_echo(" Hello.", "")


def test_an_echo_is_confirmed_by_the_text_without_the_context() -> None:
    assert confirms(" Madame Defarge.", " Madam de Farge")
    assert not confirms(" guillotine.", " three.")
    assert not confirms(" guillotine.", "")


def test_a_word_said_again_and_again_at_one_place_is_a_loop() -> None:
    assert stalled_loop_start([5, 7, 7, 7, 7], [3, 9, 9, 10, 9]) == 2


def test_a_sentence_said_again_at_the_same_place_is_a_loop() -> None:
    assert stalled_loop_start([1, 2, 3, 4] * 2, [10, 20, 30, 40, 11, 19, 30, 42]) == 4


def test_words_that_are_really_repeated_have_later_positions_and_stay() -> None:
    assert stalled_loop_start([1, 2, 3, 4] * 2, [10, 20, 30, 40, 50, 60, 70, 80]) is None
    assert stalled_loop_start([7] * 4, [10, 25, 40, 55]) is None


def test_unlikely_text_is_invented_sooner_where_nobody_speaks() -> None:
    assert is_invented([1, 2], [0.2, 0.2], no_speech=0.9)
    assert not is_invented([1, 2], [0.2, 0.2], no_speech=0.0)
    assert not is_invented([1, 2], [0.9, 0.8], no_speech=0.9)


def test_sure_text_is_invented_if_silence_would_say_it_too() -> None:
    assert is_as_likely_in_silence([1, 2], [0.8, 0.6], [0.7, 0.6])
    assert not is_as_likely_in_silence([1, 2], [0.8, 0.6], [0.01, 0.1])


def test_repeated_tokens_do_not_count_in_the_comparison_with_silence() -> None:
    assert is_as_likely_in_silence(
        [1, 2, 1, 2, 1, 2], [0.5] * 6, [0.4, 0.4, 0.4, 0.001, 0.001, 0.001]
    )
