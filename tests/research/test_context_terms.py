from __future__ import annotations

import pytest

from research.context.terms import MAX_TERMS, rare_terms, spoken_terms


@pytest.mark.parametrize(
    ("text", "language", "terms"),
    [
        ("It was the best of times.", "en", []),
        ("We met Jarvis Lorry at the guillotine. Again!", "en", ["Jarvis", "Lorry", "guillotine"]),
        ("Rakousko Belgie Kuba", "cs", ["Rakousko", "Belgie", "Kuba"]),
        ("Call 12345678 or 1234-5678.", "en", []),
        ("これはオーディオのGitHub", "ja", ["オーディオ", "GitHub"]),
        ("他在阿里巴巴的新办公室", "zh", ["阿里巴巴", "新办公室"]),
        ("النّمسا", "ar", ["النمسا"]),
    ],
)
def test_terms_are_what_a_client_would_list(text: str, language: str, terms: list[str]) -> None:
    assert spoken_terms(text, language) == terms


def test_a_term_counts_once() -> None:
    assert spoken_terms("guillotine, Guillotine, GUILLOTINE", "en") == ["guillotine"]


def test_the_longest_are_kept() -> None:
    words = [f"{'abcdefgh'}{'x' * length}" for length in range(2 * MAX_TERMS)]
    assert spoken_terms(" ".join(words), "en") == words[MAX_TERMS:]


def test_what_many_recordings_share_is_no_term() -> None:
    texts = {f"{number}": f"conference {'abcdefgh'}{number:x}a" for number in range(10)}
    assert all("conference" not in terms for terms in rare_terms(texts, "en").values())
    assert rare_terms({"1": texts["1"]}, "en")["1"][0] == "conference"
