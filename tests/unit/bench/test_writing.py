"""Judging script and punctuation."""

from __future__ import annotations

import pytest

from oyez.bench.scoring import Writing, judge


@pytest.mark.parametrize(
    ("language", "text", "closed"),
    [
        ("en", "It was.", True),
        ("en", 'He said "no!"', True),
        ("en", "It was", False),
        ("en", "It was,", False),
        ("en", "It was。", False),
        ("zh", "结束了。", True),
        ("zh", "结束了？”", True),
        ("zh", "结束了.", False),
        ("ja", "終わりました.", False),
        ("yue", "完咗！", True),
        ("hi", "वह घर गया।", True),
        ("hi", "वह घर गया.", False),
        ("ar", "أين هو؟", True),
        ("ar", "أين هو?", False),
    ],
)
def test_texts_end_in_marks_of_their_own_language(language: str, text: str, closed: bool) -> None:
    judged = judge(text, language)
    assert (judged.closable, judged.closed) == (1, closed)


def test_thai_is_not_asked_for_a_mark() -> None:
    assert judge("สวัสดีครับ", "th") == Writing(texts=1)


@pytest.mark.parametrize(
    ("language", "text", "expected"),
    [
        ("zh", "今天天气很好，我们一起去公园散步，好不好呢。", (1, 1)),
        ("zh", "今天天气很好我们一起去公园散步好不好呢你说。", (1, 0)),
        ("zh", "今天天气很好, 我们一起去公园散步好不好呢。", (1, 0)),
        ("zh", "今天，好。", (0, 0)),
        ("ja", "今日はいい天気ですから、公園へ散歩に行きましょう。", (1, 1)),
        ("de", "Heute ist das Wetter schön, also gehen wir.", (0, 0)),
    ],
)
def test_long_chinese_and_japanese_has_marks_inside(
    language: str, text: str, expected: tuple[int, int]
) -> None:
    judged = judge(text, language)
    assert (judged.long, judged.divided) == expected


@pytest.mark.parametrize(
    ("language", "text", "wrong"),
    [
        ("hi", "vah ghar gaya", True),
        ("hi", "वह WhatsApp पर है।", False),
        ("hi", "मेरा video call", True),
        ("ru", "Privet.", True),
        ("uk", "Привіт!", False),
        ("ar", "مرحبا", False),
        ("ar", "marhaba", True),
        ("ko", "안녕하세요", False),
        ("ko", "你好", True),
        ("th", "ดีครับ", False),
        ("en", "Привет", True),
        ("vi", "cả hai bên hãy cố gắng", False),
        ("ja", "Custom Speech には", False),
        ("ja", "人々", False),
        ("ja", "ｶﾀｶﾅ", False),
        ("ja", "annyeong", True),
        ("zh", "我用 Microsoft Azure 工作", False),
        ("zh", "结束了", False),
        ("zh", "結束了", True),
        ("zh", "皇后真坏", False),
        ("yue", "結束咗", False),
        ("yue", "结束咗", True),
        ("yue", "皇后喺台灣", False),
        ("yue", "說話", False),
    ],
)
def test_wrong_script(language: str, text: str, wrong: bool) -> None:
    assert judge(text, language).wrong_script == wrong


def test_texts_without_letters_do_not_count() -> None:
    assert judge("", "en") == judge(" 12. ", "zh") == Writing()


def test_judgements_add_up() -> None:
    total = judge("结束了。", "zh") + judge("結束", "zh") + judge("สวัสดี", "th")
    assert total == Writing(texts=3, closable=2, closed=1, wrong_script=1)
