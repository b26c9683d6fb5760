"""The language of a final follows from the audio, never from when answers come."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.driver import Driver, silence, speech
from support.order import check_events
from support.polyglot import ENGLISH, GERMAN, JAPANESE, UNSURE, polyglot

utterances = st.lists(
    st.tuples(
        st.sampled_from([0.4, 0.4, 4.0, 12.0]),
        st.sampled_from([GERMAN, ENGLISH, JAPANESE, UNSURE]),
        st.sampled_from([0.3, 0.9]),
    ),
    min_size=2,
    max_size=6,
)


def played(audio: np.ndarray, manual: bool, random: Random | None) -> list[tuple[str, str]]:
    driver = Driver(recognise=polyglot, answer_at_once=random is None)
    driver.update(turn_detection=None if manual else {"silence_duration_ms": 600})
    for number, start in enumerate(range(0, len(audio), 16_000)):
        driver.append(audio[start : start + 16_000])
        if manual and number % 5 == 4:
            driver.commit()
        if random:
            random.shuffle(driver.jobs)
            driver.answer(random.choice([0, 0, 0, 1, 3]))
    driver.finish()
    while driver.jobs:
        if random:
            random.shuffle(driver.jobs)
        driver.answer(1)
    check_events(driver.events)
    completed = driver.of("transcription.completed")
    return [(event["transcript"], event["language"]) for event in completed]


@settings(max_examples=60, deadline=None)
@given(parts=utterances, manual=st.booleans(), random=st.randoms(use_true_random=False))
@pytest.mark.slow
def test_late_and_shuffled_answers_change_no_language(
    parts: list[tuple[float, float, float]], manual: bool, random: Random
) -> None:
    spoken = [
        np.concatenate([speech(seconds, level), silence(pause)]) for seconds, level, pause in parts
    ]
    audio = np.concatenate([silence(0.5), *spoken])
    assert played(audio, manual, random) == played(audio, manual, None)
