"""Jobs that gave their place to newer ones are never answered: no final is lost by it, nor does
anything wait for them."""

from __future__ import annotations

from collections import deque
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.protocol.effects import Recognise
from oyez.turns.segment import REPLACE_AFTER_SAMPLES, RecognitionNeed, SegmentSettings
from oyez.turns.turn import Turn
from support.driver import Driver, silence, speech
from support.order import check_events

utterances = st.lists(
    st.tuples(st.sampled_from([0.3, 0.5, 1.2]), st.sampled_from([0.3, 1.7, 4.0, 23.0])),
    min_size=1,
    max_size=4,
)


def audio_of(parts: list[tuple[float, float]]) -> np.ndarray:
    pieces = [np.concatenate([silence(quiet), speech(loud)]) for quiet, loud in parts]
    return np.concatenate([*pieces, silence(0.3)])


def played(audio: np.ndarray, manual: bool, meddle: Random | None) -> Driver:
    driver = Driver(answer_at_once=meddle is None)
    driver.update(turn_detection=None if manual else {"silence_duration_ms": 600})
    for start in range(0, len(audio), 4800):
        driver.append(audio[start : start + 4800])
        if meddle:
            replace(driver, meddle)
            meddle.shuffle(driver.jobs)
            driver.answer(meddle.choice([0, 0, 1, 5]))
    if manual:
        driver.commit()
    driver.finish()
    if meddle:
        replace(driver, meddle)
        meddle.shuffle(driver.jobs)
    driver.answer()
    return driver


def replace(driver: Driver, meddle: Random) -> None:
    """As the scheduler does: a job that may be replaced stays only if it is running already."""
    newest = {(job.item_id, job.segment): job.job for job in driver.requests}

    def stays(job: Recognise) -> bool:
        definite = job.request.purpose is Purpose.FINAL and not job.speculative
        last = newest[job.item_id, job.segment] == job.job
        return definite or last or meddle.random() < 0.3

    driver.jobs = deque(job for job in driver.jobs if stays(job))


@settings(max_examples=60, deadline=None)
@given(
    parts=utterances,
    manual=st.booleans(),
    meddle=st.randoms(use_true_random=False),
)
@pytest.mark.slow
def test_replaced_jobs_change_no_final(
    parts: list[tuple[float, float]], manual: bool, meddle: Random
) -> None:
    audio = audio_of(parts)
    driver = played(audio, manual, meddle)
    assert driver.finals == played(audio, manual, None).finals
    assert driver.session.backlog_samples == 0
    assert not driver.session._conversation._jobs, "nothing is kept of jobs never answered"
    check_events(driver.events)


WINDOWS = SegmentSettings(release=0.4)


def answer(turn: Turn, need: RecognitionNeed) -> None:
    count = (need.end - need.start) // 4800
    pieces = tuple(Piece(f" w{n}", (n,), (n + 1) * 4800, 0.9) for n in range(count))
    turn.on_result(need, Hypothesis((*need.prefix, *pieces[len(need.prefix) :]), "en"))


@settings(max_examples=100, deadline=None)
@given(
    runs=st.lists(st.tuples(st.integers(1, 90), st.integers(1, 20)), min_size=1, max_size=8),
    random=st.randoms(use_true_random=False),
)
@pytest.mark.slow
def test_while_somebody_speaks_partials_are_asked_for_whatever_was_never_answered(
    runs: list[tuple[int, int]], random: Random
) -> None:
    turn, asked, position = Turn(0, WINDOWS), list[RecognitionNeed](), 0
    for speaking, silent in runs:
        resumed = position
        for index in range(speaking + silent):
            position += WINDOW_SAMPLES
            asked += turn.feed(0.9 if index < speaking else 0.0, position)
            if index < speaking:
                since = max(resumed, asked[-1].end if asked else 0)
                assert position - since <= REPLACE_AFTER_SAMPLES + WINDOW_SAMPLES
            if asked and random.random() < 0.1:
                answer(turn, random.choice(asked[-3:]))
