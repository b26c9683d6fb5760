"""The emotion of a session's items."""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np
import pytest

from oyez.engines.base import EMOTIONS, Emotion, Features, Hypothesis, Request
from support.driver import Driver, silence, speech, spell
from support.order import check_events


class Ledger:
    """Names utterances by how long they are, and writes down what it heard."""

    def __init__(self) -> None:
        self.guesses: list[float] = []
        self.finals: list[float] = []

    def guess(self, features: Features | None) -> Emotion:
        if features is None:
            return "neutral"
        self.guesses.append(float(features[0]))
        return "surprised"

    def update(self, features: Features | None) -> Emotion:
        assert features is not None
        self.finals.append(float(features[0]))
        return EMOTIONS[len(self.finals) % len(EMOTIONS)]


def measured(request: Request) -> Hypothesis:
    """`spell` with features that tell the level of the audio."""
    level = float(np.abs(request.samples).max())
    return replace(spell(request), features=np.array([level], np.float32))


def said(*seconds_and_levels: tuple[float, float]) -> np.ndarray:
    parts = [np.concatenate([speech(s, level), silence(1.2)]) for s, level in seconds_and_levels]
    return np.concatenate([silence(0.5), *parts])


def heard(audio: np.ndarray, **options: object) -> tuple[Driver, Ledger]:
    ledger = Ledger()
    driver = Driver(recognise=measured, emotions=ledger, **options)  # type: ignore[arg-type]
    driver.stream(audio)
    driver.finish()
    driver.answer()
    check_events(driver.events)
    return driver, ledger


def test_each_final_carries_what_was_made_of_it() -> None:
    driver, ledger = heard(said((2, 0.1), (2, 0.2), (2, 0.3)))
    named = [event["emotion"] for event in driver.of("transcription.completed")]
    assert named == list(EMOTIONS[1:4])
    assert ledger.finals == pytest.approx([0.1, 0.2, 0.3], abs=0.02)


def test_interim_events_carry_the_guess_once_there_is_one() -> None:
    driver, _ = heard(said((3, 0.1)))
    shown = [event["emotion"] for event in driver.of("transcription.text")]
    last = shown.pop()
    assert shown[0] == "neutral"
    assert shown[-1] == "surprised"
    assert shown == sorted(shown, key=("neutral", "surprised").index)
    assert last == driver.of("transcription.completed")[0]["emotion"]


def test_a_short_word_gives_no_guess() -> None:
    driver, ledger = heard(said((0.6, 0.1)))
    assert not ledger.guesses
    assert len(ledger.finals) == 1


def test_the_guess_is_of_this_utterance_not_of_the_one_before() -> None:
    _, ledger = heard(said((3, 0.1), (3, 0.4)))
    assert set(np.round(ledger.guesses, 1)) == {0.1, 0.4}


def test_an_utterance_without_words_is_neutral_and_not_classified() -> None:
    ledger = Ledger()
    driver = Driver(recognise=lambda request: replace(measured(request), pieces=()),
                    emotions=ledger)  # fmt: skip
    driver.stream(said((2, 0.1)))
    driver.finish()
    assert ledger.finals == []
    assert [e["emotion"] for e in driver.of("transcription.completed")] == ["neutral"]


def test_a_long_turn_is_judged_as_a_whole() -> None:
    """Its windows count by their length, not only the last one."""
    long = np.concatenate([silence(0.5), speech(11, 0.4), silence(0.4), speech(2, 0.1)])
    _, ledger = heard(np.concatenate([long, silence(1.2)]))
    (level,) = ledger.finals
    assert 0.3 < level < 0.38


def test_answers_out_of_order_are_classified_in_order() -> None:
    audio = said((2, 0.1), (2, 0.2), (2, 0.3))
    _, in_order = heard(audio)
    ledger = Ledger()
    late = Driver(recognise=measured, emotions=ledger, answer_at_once=False)
    late.stream(audio)
    late.finish()
    late.jobs = deque(reversed(late.jobs))
    late.answer()
    assert ledger.finals == in_order.finals


@pytest.mark.parametrize("packet_samples", [160, 1111, 16_000])
def test_packets_change_nothing(packet_samples: int) -> None:
    audio = said((2, 0.1), (1, 0.3))
    _, usual = heard(audio)
    ledger = Ledger()
    driver = Driver(recognise=measured, emotions=ledger)
    driver.stream(audio, packet_samples)
    driver.finish()
    assert ledger.finals == usual.finals
