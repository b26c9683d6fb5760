"""The language of a session's items, where none was asked for."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import LANGUAGES, Hypothesis, Piece, Purpose, Request
from oyez.engines.language_prior import likeliest
from oyez.protocol.dialect import SessionLimits
from support.driver import Driver, silence, speech
from support.order import check_events
from support.polyglot import ENGLISH, GERMAN, JAPANESE, UNSURE, polyglot


def said(level: float, seconds: float) -> NDArray[np.float32]:
    return np.concatenate([silence(0.5), speech(seconds, level), silence(1.2)])


def heard(*utterances: tuple[float, float]) -> Driver:
    driver = Driver(recognise=polyglot)
    for level, seconds in utterances:
        driver.stream(said(level, seconds))
    driver.finish()
    check_events(driver.events)
    return driver


def languages(driver: Driver) -> list[str]:
    return [event["language"] for event in driver.of("transcription.completed")]


def test_a_short_word_of_another_sound_stays_in_the_language_of_the_session() -> None:
    driver = heard((GERMAN, 4.0), (ENGLISH, 0.5), (GERMAN, 2.0))
    assert languages(driver) == ["de", "de", "de"]
    assert driver.finals[1].startswith("de0")
    interims = driver.of("transcription.text")
    assert {event["language"] for event in interims} == {"de"}


def test_the_same_word_first_of_all_is_what_it_sounds_like() -> None:
    assert languages(heard((ENGLISH, 0.5))) == ["en"]


def test_a_long_clear_utterance_is_followed_at_once_and_remembered() -> None:
    driver = heard((GERMAN, 4.0), (GERMAN, 4.0), (ENGLISH, 4.0), (GERMAN, 0.5))
    assert languages(driver) == ["de", "de", "en", "en"]


def test_what_is_shown_of_a_word_does_not_waver_between_two_languages() -> None:
    count = 0

    def waver(request: Request) -> Hypothesis:
        nonlocal count
        count += 1
        scores = {"de": 0.45 + count % 2 / 10, "en": 0.55 - count % 2 / 10}
        language = request.language or likeliest(
            request.language_prior, scores, len(request.samples)
        )
        return Hypothesis((Piece(f" {language}{count}", (count,), 4800, 0.9),), language, scores)

    driver = Driver(recognise=waver)
    driver.stream(np.concatenate([silence(0.5), speech(3.0)]))
    shown = [event["language"] for event in driver.of("transcription.text")]
    assert len(shown) > 4 and set(shown) == {"de"}


def test_a_language_asked_for_stays() -> None:
    driver = Driver(recognise=polyglot)
    driver.update(input_audio_transcription={"language": "fr"})
    driver.stream(np.concatenate([said(GERMAN, 4.0), said(ENGLISH, 4.0)]))
    assert languages(driver) == ["fr", "fr"]
    assert all(not effect.request.language_prior for effect in driver.requests)


def test_noise_without_words_changes_no_language() -> None:
    driver = Driver(recognise=lambda request: _wordless(polyglot(request)))
    driver.stream(np.concatenate([said(ENGLISH, 4.0), said(ENGLISH, 4.0)]))
    assert all(not effect.request.language_prior for effect in driver.requests if _final(effect))


def test_a_segment_has_the_language_of_the_segments_before_it() -> None:
    driver = Driver(recognise=polyglot)
    rest = np.concatenate([silence(0.3), speech(0.5, ENGLISH), silence(1.2)])
    driver.stream(np.concatenate([silence(0.5), speech(11.0, GERMAN), rest]))
    assert languages(driver) == ["de"]
    assert "en" not in driver.finals[0]


def test_a_window_begins_with_what_is_known_while_the_one_before_it_is_awaited() -> None:
    driver = Driver(recognise=polyglot)
    driver.stream(said(GERMAN, 4.0))
    driver.answer_at_once = False
    driver.stream(np.concatenate([speech(11.0, GERMAN), silence(0.3), speech(1.0, GERMAN)]))
    last = driver.requests[-1]
    assert last.request.language_prior["de"] > 0.8


def test_an_answer_that_came_too_early_is_asked_for_again() -> None:
    driver = Driver(recognise=polyglot, answer_at_once=False)
    driver.stream(np.concatenate([said(GERMAN, 4.0), said(ENGLISH, 0.5)]))
    driver.finish()
    driver.jobs = deque(job for job in reversed(driver.jobs) if _final(job))
    driver.answer(1)
    assert driver.finals == [], "what comes before it is not known yet"
    asked = len(driver.requests)
    driver.answer(1)
    assert len(driver.finals) == 1
    (again,) = driver.requests[asked:]
    assert again.request.language_prior["de"] > 0.8 and not again.speculative
    driver.answer()
    assert languages(driver) == ["de", "de"]
    assert driver.finals == heard((GERMAN, 4.0), (ENGLISH, 0.5)).finals


def test_a_window_answered_before_the_one_in_front_of_it_is_asked_for_again() -> None:
    audio = [silence(0.5)]
    for level in (GERMAN, UNSURE, GERMAN):
        audio += [speech(10.5, level), silence(0.4)]
    driver = Driver(recognise=polyglot, answer_at_once=False)
    driver.stream(np.concatenate([*audio, silence(1.2)]))
    driver.jobs = deque(job for job in reversed(driver.jobs) if _final(job))
    driver.answer()
    assert languages(driver) == ["de"]
    assert "en" not in driver.finals[0]


def test_an_answer_in_the_right_language_is_not_asked_for_again() -> None:
    driver = Driver(recognise=polyglot, answer_at_once=False)
    driver.stream(np.concatenate([said(GERMAN, 4.0), said(GERMAN, 0.5)]))
    driver.finish()
    asked = len(driver.requests)
    driver.jobs.reverse()
    driver.answer()
    assert len(driver.requests) == asked
    assert languages(driver) == ["de", "de"]


def test_answers_held_back_count_as_backlog() -> None:
    driver = Driver(recognise=polyglot, answer_at_once=False)
    driver.stream(np.concatenate([said(GERMAN, 2.0), said(GERMAN, 2.0)]))
    driver.jobs = deque(job for job in reversed(driver.jobs) if _final(job))
    before = driver.session.backlog_samples
    driver.answer(1)
    assert driver.session.backlog_samples == before
    driver.answer()
    assert driver.session.backlog_samples == 0


def _final(effect: object) -> bool:
    return effect.request.purpose is Purpose.FINAL  # type: ignore[attr-defined]


def _wordless(hypothesis: Hypothesis) -> Hypothesis:
    return Hypothesis((), hypothesis.language, hypothesis.language_scores)


def allowed(*codes: str) -> Driver:
    return Driver(recognise=polyglot, limits=SessionLimits(languages=codes))


def test_only_allowed_languages_are_recognised() -> None:
    driver = allowed("de", "ja")
    driver.stream(np.concatenate([said(ENGLISH, 4.0), said(JAPANESE, 4.0), said(ENGLISH, 4.0)]))
    driver.finish()
    check_events(driver.events)
    shown = {event["language"] for event in driver.of("transcription.text")}
    assert shown | set(languages(driver)) <= {"de", "ja"}
    assert languages(driver)[1] == "ja"
    assert driver.finals[0].lower().startswith("ja0")


def test_a_language_asked_for_gives_way_to_allowed_ones_only() -> None:
    driver = allowed("de", "fr")
    driver.update(input_audio_transcription={"language": "fr"})
    driver.stream(said(ENGLISH, 4.0))
    for effect in driver.requests:
        possible = [code for code in LANGUAGES if effect.request.language_prior[code] > 0]
        assert possible == ["de", "fr"]


def test_before_any_words_an_allowed_language_is_named() -> None:
    driver = allowed("de")
    driver.update(turn_detection=None)
    driver.append(silence(1.0))
    driver.commit()
    assert languages(driver) == ["de"]
