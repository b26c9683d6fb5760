"""Counting what was got wrong."""

from __future__ import annotations

import pytest

from oyez.bench.scoring import Score, count_words, same_words, score


@pytest.mark.parametrize(
    ("language", "reference", "hypothesis", "expected"),
    [
        ("en", "Mr. Smith, the colour isn't twenty-two!", "mister smith the color is not 22", 0),
        ("en", "here and there they go", "hear and there", 3),
        ("de", "Straße, heute!", "STRASSE heute", 0),
        ("zh", "这是篇章的结束。", "這是 偏章的結束", 1),
        ("ja", "今日は、いい天気。", "今日はいい天気", 0),
        ("ko", "취득을 원하시면", "취득 을 원하시면", 0),
        ("th", "ดี ครับ", "ดีครับ", 0),
        ("hi", "वह घर गयी।", "वह घर गया", 1),
        ("ar", "النّمسا", "النمسا", 0),
    ],
)
def test_errors(language: str, reference: str, hypothesis: str, expected: int) -> None:
    assert score(reference, hypothesis, language).errors == expected


def test_units_are_words_or_characters() -> None:
    assert score("old dog", "", "en") == Score(units=2, deletions=2)
    assert score("你好", "你", "zh") == Score(units=2, deletions=1)
    assert score("...", "words", "en") == Score()


def test_scores_add_up() -> None:
    total = Score(10, 1, 2, 3) + Score(10, 0, 0, 4)
    assert total == Score(20, 1, 2, 7)
    assert total.rate == 0.5
    assert Score().rate == 0.0


def test_words_of_any_language_are_counted() -> None:
    assert count_words("Thank you.") == 2
    assert count_words("谢谢 bye, 再见。") == 5
    assert count_words(" … ") == 0


def test_same_words() -> None:
    assert same_words("It was, the be", "it was. The best")
    assert not same_words("It was", "It is")
    assert same_words("", "anything")
