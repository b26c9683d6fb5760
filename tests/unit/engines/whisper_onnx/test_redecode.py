from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Hypothesis, Piece, Purpose, Request
from oyez.engines.whisper.tokens import Tokens
from oyez.engines.whisper_onnx.redecode import (
    COMMAS,
    LEAD_SAMPLES,
    lacks_punctuation,
    plan_redecoding,
)

MAX_SAMPLES = 29 * SAMPLE_RATE


def request(seconds: float, purpose: Purpose = Purpose.FINAL, prefix: bool = False) -> Request:
    samples = np.ones(int(seconds * SAMPLE_RATE), np.float32)
    pieces = (Piece(" a", (1,), 0, 1.0),) if prefix else ()
    return Request(samples, purpose, "en", "Names, terms", pieces)


def answer(*words: tuple[str, float], no_speech: float = 0.1, sure: float = 0.9) -> Hypothesis:
    pieces = tuple(Piece(f" {text}", (1,), int(s * SAMPLE_RATE), sure) for text, s in words)
    return Hypothesis(pieces, "en", no_speech=no_speech)


def test_a_final_that_covers_its_audio_is_not_decoded_again() -> None:
    assert (
        plan_redecoding(request(5), answer(("well", 1.5), ("and", 3), ("done", 4.6)), MAX_SAMPLES)
        is None
    )


def test_partials_and_finals_with_a_prefix_are_not_decoded_again() -> None:
    assert plan_redecoding(request(9, Purpose.PARTIAL), answer(("one", 1)), MAX_SAMPLES) is None
    assert plan_redecoding(request(9, prefix=True), answer(("one", 1)), MAX_SAMPLES) is None


def test_what_lies_behind_the_last_word_is_decoded_by_itself() -> None:
    plan = plan_redecoding(request(9), answer(("one", 3)), MAX_SAMPLES)
    assert plan is not None and len(plan.request.samples) == 6 * SAMPLE_RATE
    merged = plan.merge(answer(("one", 3)), answer(("two", 2), ("three", 5)))
    assert merged.text == " one two three"
    assert [piece.end_samples / SAMPLE_RATE for piece in merged.pieces] == [3, 5, 8]


def test_a_word_at_the_seam_is_said_once() -> None:
    first = answer(("the", 1), ("year", 2))
    plan = plan_redecoding(request(9), first, MAX_SAMPLES)
    assert plan is not None
    assert plan.merge(first, answer(("Year,", 0.2), ("ends", 1))).text == " the year ends"


def test_a_stretch_passed_over_is_decoded_by_itself() -> None:
    first = answer(("one", 0.5), ("four", 4), ("five", 4.6))
    plan = plan_redecoding(request(5), first, MAX_SAMPLES)
    assert plan is not None and len(plan.request.samples) == 3.5 * SAMPLE_RATE
    merged = plan.merge(first, answer(("hundred", 1), ("thirty", 2)))
    assert merged.text == " one hundred thirty four five"
    assert [piece.end_samples / SAMPLE_RATE for piece in merged.pieces] == [0.5, 1.5, 2.5, 4, 4.6]


def test_a_leap_of_attention_is_no_gap_where_all_words_could_not_be_said_in_the_rest() -> None:
    crowded = answer(*((f"word{n}", 3.0 + n * 0.05) for n in range(30)))
    assert plan_redecoding(request(4.6), crowded, MAX_SAMPLES) is None
    spoken = answer(*((f"word{n}", 3.0 + n * 0.3) for n in range(6)))
    assert plan_redecoding(request(4.6), spoken, MAX_SAMPLES) is not None


def test_a_final_that_begins_too_late_is_given_its_beginning() -> None:
    first = answer(("the", 9), ("end", 9.5))
    plan = plan_redecoding(request(10), first, MAX_SAMPLES)
    assert plan is not None
    merged = plan.merge(first, answer(("first", 1), ("this", 2), ("the", 8.9)))
    assert merged.text == " first this the end"


def test_words_a_final_has_already_are_not_said_again() -> None:
    first = answer(("many", 0.5), ("people", 4), ("believe", 4.2), ("it", 4.6))
    plan = plan_redecoding(request(5), first, MAX_SAMPLES)
    assert plan is not None
    assert plan.merge(first, answer(("people", 1), ("belief", 2))) == first


def test_what_the_model_is_unsure_of_is_not_put_between_words() -> None:
    first = answer(("one", 0.5), ("four", 4.6))
    plan = plan_redecoding(request(5), first, MAX_SAMPLES)
    assert plan is not None
    assert plan.merge(first, answer(("hundred", 1), sure=0.5)) == first
    thrice = (*answer(("thanks", 1), sure=0.4).pieces, *answer(("thanks", 2), ("thanks", 3)).pieces)
    assert plan.merge(first, Hypothesis(thrice, "en")) == first


def test_a_small_move_of_attention_is_not_decoded_again() -> None:
    assert plan_redecoding(request(5), answer(("one", 1.9), ("two", 3.8)), MAX_SAMPLES) is None


def test_speech_without_words_is_decoded_again_behind_silence() -> None:
    plan = plan_redecoding(request(4), answer(), MAX_SAMPLES)
    assert plan is not None
    assert not plan.request.samples[:LEAD_SAMPLES].any()
    assert len(plan.request.samples) == 4 * SAMPLE_RATE + LEAD_SAMPLES
    (piece,) = plan.merge(answer(), answer(("yes", 1.5))).pieces
    assert piece.end_samples == SAMPLE_RATE


def test_terms_are_expected_in_the_rest_but_not_where_they_may_have_spoilt_the_text() -> None:
    rest = plan_redecoding(request(9), answer(("one", 3)), MAX_SAMPLES)
    words = plan_redecoding(request(4), answer(), MAX_SAMPLES)
    assert rest is not None and rest.request.context == "Names, terms"
    assert words is not None and words.request.context == ""


def test_silence_without_words_is_not_decoded_again() -> None:
    assert plan_redecoding(request(4), answer(no_speech=0.9), MAX_SAMPLES) is None
    assert plan_redecoding(request(0.3), answer(), MAX_SAMPLES) is None


def test_no_second_look_outgrows_the_engine() -> None:
    assert plan_redecoding(request(29), answer(), MAX_SAMPLES) is None


def test_what_the_first_look_says_of_languages_stays() -> None:
    scores = {"en": 0.6, "de": 0.4}
    first = replace(answer(("one", 1)), language_scores=scores)
    plan = plan_redecoding(request(9), first, MAX_SAMPLES)
    assert plan is not None
    assert plan.merge(first, answer(("hello", 1))).language_scores == scores


WITHOUT = "今天天气很好我们一起去公园散步吧然后回家吃饭"
WITH = "今天天气很好，我们一起去公园散步吧，然后回家吃饭。"
SPECIAL = [
    "endoftext",
    "startoftranscript",
    "transcribe",
    "startofprev",
    "notimestamps",
    "nospeech",
]


@pytest.mark.parametrize("text", [WITHOUT, WITHOUT + "。", " " + WITHOUT + "3.5?"])
def test_long_chinese_without_a_mark_inside_lacks_punctuation(text: str) -> None:
    assert lacks_punctuation(text, "zh")
    assert lacks_punctuation(text, "yue")


@pytest.mark.parametrize(
    "text", [WITH, WITHOUT.replace("我", ", 我"), WITHOUT[:19], "it was the best of times", ""]
)
def test_what_has_marks_or_is_short_or_foreign_does_not(text: str) -> None:
    assert not lacks_punctuation(text, "zh")


def test_other_languages_do_not_run_on() -> None:
    assert not lacks_punctuation(WITHOUT, "ja")


def test_commas_are_found_in_a_vocabulary() -> None:
    words = ["a", ",", "Ġ,", "ãĢģ", ",,", "ãĢĤ", "Ġa", *(f"<|{name}|>" for name in SPECIAL)]
    vocabulary = {word: token for token, word in enumerate(words)}
    model = {"type": "WordLevel", "vocab": vocabulary, "unk_token": "a"}
    config: dict[str, Any] = {"suppress_ids": [], "suppress_ids_begin": []}
    assert Tokens(json.dumps({"version": "1.0", "model": model}), config).with_text(COMMAS) == (
        1,
        2,
        3,
    )
