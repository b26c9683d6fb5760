from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.whisper_onnx.phrase_boost import MAX_TERMS, terms_of


@pytest.mark.parametrize(
    ("context", "terms"),
    [
        ("", []),
        ("Kubernetes, Saravanan", ["Kubernetes", "Saravanan"]),
        ("Jarvis Lorry; guillotine.", ["Jarvis Lorry", "guillotine"]),
        ("- GitHub\n- Inter-Asterisk\n* O'Neill", ["GitHub", "Inter-Asterisk", "O'Neill"]),
        ("热词：阿里云、通义千问", ["热词", "阿里云", "通义千问"]),
        ("오이에즈, 쿠버네티스", ["오이에즈", "쿠버네티스"]),
        ("Dr. Manette, J. Lorry", ["Dr. Manette", "J. Lorry"]),
        ("1, 2, 3, ...", []),
    ],
)
def test_every_part_of_a_list_is_a_term(context: str, terms: list[str]) -> None:
    assert terms_of(context) == terms


@pytest.mark.parametrize(
    ("context", "terms"),
    [
        (
            "The doctor, whose name was Alexandre Manette, had lived near the Bastille.",
            ["Alexandre", "Manette", "Bastille"],
        ),
        ("he paid with the iPhone at the counter", ["iPhone"]),
        ("they all met in the old hippodrome again", ["hippodrome"]),
        (
            "他在去年秋天的会议上为大家介绍了“百炼平台”的最新进展，以及Qwen三个版本的历史和它们的许多用处",
            ["百炼平台", "Qwen"],
        ),
        ("このツールを使用するとオーディオを再生することができます", ["ツール", "オーディオ"]),
    ],
)
def test_of_prose_only_names_and_long_words_are_terms(context: str, terms: list[str]) -> None:
    assert terms_of(context) == terms


def test_a_list_and_prose_may_be_mixed_by_line() -> None:
    context = "Lorry, Cruncher\nThe bank he worked for was that of a certain Tellson in London."
    assert terms_of(context) == ["Lorry", "Cruncher", "Tellson", "London"]


def test_one_long_part_does_not_make_prose_of_a_list() -> None:
    names = ["Lorry", "Cruncher", "tea", "Manette", "Tellson", "Madame Defarge", "Evrémonde"]
    context = ", ".join([*names, "Society for the Protection of Beavers"])
    assert terms_of(context) == [*names, "Protection", "Beavers"]


def test_a_term_counts_once_whatever_its_case() -> None:
    assert terms_of("Defarge, DEFARGE, defarge") == ["Defarge"]


def test_the_first_terms_are_used() -> None:
    terms = terms_of(", ".join(f"term{number}" for number in range(2 * MAX_TERMS)))
    assert terms == [f"term{number}" for number in range(MAX_TERMS)]


@given(st.text(alphabet="aB é中ア.,;-\n'“”1", max_size=200))
def test_terms_are_short_and_have_letters(context: str) -> None:
    for term in terms_of(context):
        assert 0 < len(term) <= 200
        assert any(char.isalpha() for char in term)
        assert term == " ".join(term.split())
