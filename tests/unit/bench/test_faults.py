from __future__ import annotations

import pytest

from oyez.bench.scoring import Faults, find_faults

SAID = "it was the best of times it was the worst of times it was the age of wisdom"


@pytest.mark.parametrize(
    ("written", "left_out"),
    [
        (SAID, 0),
        ("it was the best of times it was the age of wisdom", 1),
        ("it was the best of times, it was the worst of times.", 1),
        ("it was the best of times it was worst times it was the age wisdom", 0),
        ("", 1),
    ],
)
def test_a_sentence_left_out_is_found_and_a_word_is_not(written: str, left_out: int) -> None:
    assert find_faults(SAID, written, "en").left_out == left_out


def test_characters_count_where_there_are_no_spaces() -> None:
    said = "今天天气很好我们一起去公园散步吧"
    assert find_faults(said, "今天天气很好吧", "zh").left_out == 0
    assert find_faults(said, "今天吧", "zh").left_out == 1


@pytest.mark.parametrize(
    ("written", "language", "loops"),
    [
        ("Thank you. Thank you. Thank you.", "en", 1),
        ("No, no, no!", "en", 0),
        ("and so on and so on", "en", 0),
        ("我们去吧我们去吧我们去吧", "zh", 1),
        ("哈哈哈哈哈", "zh", 0),
        ("then he said then he said then he said it", "en", 1),
    ],
)
def test_a_loop_is_more_than_emphasis(written: str, language: str, loops: int) -> None:
    assert find_faults("", written, language).loops == loops


def test_faults_add_up() -> None:
    assert Faults(1, 0) + Faults(2, 1) == Faults(3, 1)
