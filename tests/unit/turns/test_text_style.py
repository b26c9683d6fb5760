"""Text in the style of its own language."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.base import LANGUAGES
from oyez.turns.text_style import TextJoiner, separator, stable_prefix, styled, with_full_stop

STYLED = [
    ("en", "  Hello ,  world . ", "Hello, world."),
    ("en", " It costs .5 or 3,000 ... maybe", "It costs .5 or 3,000... maybe"),
    ("fr", " Ça va ? Oui !", "Ça va ? Oui !"),
    ("fr", " Oui , bien .", "Oui, bien."),
    ("es", " ¿Qué tal?", "¿Qué tal?"),
    ("zh", "這並不是告別,這是一個偏章的結束.", "这并不是告别，这是一个偏章的结束。"),
    ("zh", "打坏了,乾隆皇帝看著著名的顯著", "打坏了，乾隆皇帝看着著名的显著"),
    ("zh", "早晨7.5到9.5,有3,000人, 12:30见!", "早晨7.5到9.5，有3,000人，12:30见！"),
    ("zh", "我用 Python, Java 和 www.example.com 写.", "我用 Python, Java 和 www.example.com 写。"),
    ("zh", "我用Python.他用Java。", "我用Python。他用Java。"),
    ("zh", "你 好 吗 ?", "你好吗？"),
    ("zh", "等等...我来", "等等……我来"),
    ("zh", "Hello, world.", "Hello, world."),
    ("yue", "后来发现头发干净,只有一只", "後來發現頭髮乾淨，只有一隻"),
    ("yue", "我哋今日去邊度食飯呀?", "我哋今日去邊度食飯呀？"),
    ("ja", "今日は,いい天気ですね. ありがとう!", "今日は、いい天気ですね。ありがとう！"),
    ("ko", "안녕하세요。 16,000명이，있어요？", "안녕하세요. 16,000명이, 있어요?"),
    ("ar", "كيف حالك? بخير, شكرا", "كيف حالك؟ بخير، شكرا"),
    ("ar", "العدد 3,000 صحيح?", "العدد 3,000 صحيح؟"),
    ("hi", "वह घर गया |", "वह घर गया।"),
    ("hi", "वह घर गया।", "वह घर गया।"),
    ("th", "มันเป็นเรื่องที่ดี  ไหม ?", "มันเป็นเรื่องที่ดี ไหม?"),
]  # fmt: skip


@pytest.mark.parametrize(("language", "text", "expected"), STYLED)
def test_styled(language: str, text: str, expected: str) -> None:
    assert styled(text, language) == expected


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("en", "Hello", "Hello."),
        ("en", "Hello!", "Hello!"),
        ("en", "It is 50%", "It is 50%."),
        ("en", "", ""),
        ("zh", "你好", "你好。"),
        ("zh", "你好？", "你好？"),
        ("zh", "OK", "OK."),
        ("ja", "そうです", "そうです。"),
        ("hi", "वह घर गयी", "वह घर गयी।"),
        ("th", "ดีครับ", "ดีครับ"),
        ("ar", "شكرا", "شكرا."),
        ("ko", "네", "네."),
    ],
)
def test_with_full_stop(language: str, text: str, expected: str) -> None:
    assert with_full_stop(text, language) == expected


LETTERS = "aBé7你好这後里發发カのはสวนी한국ںشक"
texts = st.text(alphabet=LETTERS + " ,.?!:;…。，、？！|।乾隆坏于著名", max_size=12)


@given(texts, st.sampled_from(LANGUAGES))
def test_styling_twice_changes_nothing(text: str, language: str) -> None:
    assert styled(styled(text, language), language) == styled(text, language)


@given(texts, texts, st.sampled_from(LANGUAGES))
def test_the_stable_prefix_stays_whatever_follows(text: str, more: str, language: str) -> None:
    assert styled(text + more, language).startswith(stable_prefix(text, language))


@given(texts, st.sampled_from(LANGUAGES))
def test_no_letter_is_lost(text: str, language: str) -> None:
    def letters(text: str) -> int:
        return sum(char.isalnum() for char in text)

    assert letters(styled(text, language)) == letters(text)


@given(st.text(max_size=40), st.sampled_from(LANGUAGES))
def test_any_text_is_styled(text: str, language: str) -> None:
    assert with_full_stop(styled(text, language), language).strip() == with_full_stop(
        styled(text, language), language
    )


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
def test_the_separator_depends_on_scripts_without_spaces(
    left: str, right: str, between: str
) -> None:
    assert separator(left, right) == between


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
    joiner = TextJoiner()
    for text in texts:
        shown = joiner.with_next("")
        for length in range(1, len(text) + 1):
            grown = joiner.with_next(text[:length])
            assert grown.startswith(shown)
            shown = grown
        joiner.add(text)
    assert joiner.text == whole
