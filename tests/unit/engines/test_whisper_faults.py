"""Whisper's known faults are recognised."""

from __future__ import annotations

import pytest

from oyez.engines.whisper_faults import (
    confirms,
    is_invented,
    loop_start,
    may_be_echo,
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
def test_loop_start(tokens: list[int], start: int | None) -> None:
    assert loop_start(tokens) == start


def test_doubtful_words_where_nobody_may_have_spoken_are_invented() -> None:
    assert is_invented(no_speech=0.93, mean_log_probability=-0.98)
    assert is_invented(no_speech=0.3, mean_log_probability=-1.2)
    assert not is_invented(no_speech=0.3, mean_log_probability=-0.5)
    assert not is_invented(no_speech=0.01, mean_log_probability=-1.4)


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


def test_an_echo_is_confirmed_by_what_is_heard_without_the_context() -> None:
    assert confirms(" Madame Defarge.", " Madam de Farge")
    assert not confirms(" guillotine.", " three.")
    assert not confirms(" guillotine.", "")
