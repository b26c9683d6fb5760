from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import LANGUAGES
from oyez.engines.language_prior import (
    FLAT,
    Prior,
    is_possible,
    likeliest,
    prior_after,
    prior_favouring,
    uniform_over,
)


def seconds(count: float) -> int:
    return int(count * SAMPLE_RATE)


def mostly(language: str, score: float) -> dict[str, float]:
    rest = (1 - score) / (len(LANGUAGES) - 1)
    return {code: score if code == language else rest for code in LANGUAGES}


def said(*utterances: tuple[str, float]) -> Prior:
    prior = FLAT
    for language, length_s in utterances:
        prior = prior_after(prior, mostly(language, 0.97), seconds(length_s))
    return prior


GERMAN = said(("de", 3), ("de", 3))


def test_first_of_all_the_best_score_counts() -> None:
    assert likeliest(FLAT, mostly("ja", 0.1), seconds(0.5)) == "ja"


@pytest.mark.parametrize("length_s", [0.5, 1.0, 1.4])
def test_a_short_word_does_not_change_the_language(length_s: float) -> None:
    assert likeliest(GERMAN, mostly("en", 0.97), seconds(length_s)) == "de"


@pytest.mark.parametrize("length_s", [3, 5, 20])
def test_a_long_clear_utterance_changes_it_at_once(length_s: float) -> None:
    assert likeliest(GERMAN, mostly("en", 0.97), seconds(length_s)) == "en"


def test_a_long_utterance_that_could_be_either_does_not() -> None:
    unsure = {"en": 0.6, "de": 0.35, "nl": 0.05}
    assert likeliest(GERMAN, unsure, seconds(5)) == "de"


def test_short_words_change_it_together() -> None:
    prior, heard = GERMAN, []
    for _ in range(5):
        heard.append(likeliest(prior, mostly("en", 0.97), seconds(1.5)))
        prior = prior_after(prior, mostly("en", 0.97), seconds(1.5))
    assert heard[0] == "de" and heard[-1] == "en"


def test_a_short_first_word_taken_wrongly_does_not_outweigh_what_follows() -> None:
    assert likeliest(said(("fil", 0.6)), mostly("de", 0.7), seconds(2)) == "de"


def test_without_scores_nothing_is_learned() -> None:
    assert prior_after(GERMAN, {}, seconds(5)) is GERMAN


scores = st.dictionaries(
    st.sampled_from(LANGUAGES), st.floats(0, 1), min_size=1, max_size=len(LANGUAGES)
)


@given(st.lists(st.tuples(scores, st.integers(0, seconds(30))), max_size=30))
def test_no_history_makes_a_change_of_language_impossible(
    history: list[tuple[Mapping[str, float], int]],
) -> None:
    prior = FLAT
    for heard, samples in history:
        prior = prior_after(prior, heard, samples)
    assert sum(prior.values()) == pytest.approx(1 if history else 0)
    for code in LANGUAGES:
        assert likeliest(prior, mostly(code, 0.99), seconds(4)) == code


def test_what_is_shown_changes_language_on_clear_evidence_only() -> None:
    shown_in_english = prior_favouring(FLAT, "en")
    nearly = {"en": 0.45, "de": 0.55}
    clearly = {"en": 0.1, "de": 0.9}
    assert likeliest(FLAT, nearly, seconds(3)) == "de"
    assert likeliest(shown_in_english, nearly, seconds(3)) == "en"
    assert likeliest(shown_in_english, clearly, seconds(3)) == "de"


def test_before_anything_is_shown_nothing_leans() -> None:
    assert prior_favouring(GERMAN, None) is GERMAN


@given(
    st.lists(st.sampled_from(LANGUAGES), min_size=1, unique=True),
    st.lists(st.tuples(scores, st.integers(0, seconds(30))), max_size=10),
    scores,
)
def test_a_language_that_is_not_allowed_never_becomes_possible(
    allowed: list[str], history: list[tuple[Mapping[str, float], int]], heard: Mapping[str, float]
) -> None:
    prior = uniform_over(allowed)
    for before, samples in history:
        prior = prior_after(
            prior_favouring(prior, likeliest(prior, before, samples)), before, samples
        )
    assert {code for code in LANGUAGES if is_possible(prior, code)} == set(allowed)
    assert likeliest(prior, heard, seconds(5)) in allowed


def test_among_allowed_languages_the_best_score_counts() -> None:
    scores = {"en": 0.9, "de": 0.07, "fr": 0.03}
    assert likeliest(uniform_over(("de", "fr")), scores, seconds(5)) == "de"
    assert uniform_over(()) is FLAT
