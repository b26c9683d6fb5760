from __future__ import annotations

from research.context.terms import TermScore, score_terms, written


def test_terms_and_other_words_are_scored_apart() -> None:
    score = score_terms(
        "we met jarvis lorry at the bank", "we met Jarvis Laurie at a bank", "en",
        ["Jarvis Lorry", "bank"],
    )  # fmt: skip
    assert score == TermScore(terms=2, recalled=1, others=4, other_errors=1)


def test_what_is_inserted_counts_against_the_other_words() -> None:
    score = score_terms("lorry", "Lorry, Lorry", "en", ["Lorry"])
    assert score == TermScore(terms=1, recalled=1, others=0, other_errors=1)


def test_every_time_a_term_is_said_counts() -> None:
    assert score_terms("lorry and lorry", "Lorry and lolly", "en", ["Lorry"]).recalled == 1
    assert score_terms("lorry and lorry", "Lorry and lolly", "en", ["Lorry"]).terms == 2


def test_scripts_without_spaces_are_scored_by_character() -> None:
    score = score_terms("在阿里巴巴开会", "在阿狸巴巴开会", "zh", ["阿里巴巴"])
    assert score == TermScore(terms=1, recalled=0, others=3, other_errors=0)


def test_nothing_recognised_and_nothing_said() -> None:
    assert score_terms("met lorry", "", "en", ["Lorry"]) == TermScore(1, 0, 1, 1)
    assert score_terms("", "Lorry", "en", ["Lorry"]) == TermScore()


def test_written_terms_are_found_as_whole_words() -> None:
    assert written(["Ana", "Peru"], "An anaconda, peru!", "en") == {"Peru"}
