from __future__ import annotations

import time
from collections.abc import Sequence

import pytest

from oyez.engines.base import Hypothesis, Purpose, RecognitionError, Request
from oyez.runtime.engine import FINALS_PER_S, PARTIALS_PER_S, try_out
from oyez.testing import FakeRecogniser


def work_10_ms(request: Request) -> str:
    done_s = time.thread_time() + 0.01
    while time.thread_time() < done_s:
        pass
    return ""


@pytest.mark.parametrize(("parallel", "max_batch"), [(1, 1), (1, 8), (2, 8)])
def test_the_cost_of_a_session_is_the_work_it_makes_shared_by_the_threads(
    parallel: int, max_batch: int
) -> None:
    engine = FakeRecogniser(work_10_ms, parallel=parallel, max_batch=max_batch)
    expected = 0.01 * (PARTIALS_PER_S + FINALS_PER_S)
    assert try_out(engine, threads=1).session_cost == pytest.approx(expected, rel=0.4)
    assert try_out(engine, threads=2).session_cost == pytest.approx(expected / 2, rel=0.4)


def test_waiting_is_no_work() -> None:
    trial = try_out(FakeRecogniser(delay_s=0.05), threads=1)
    assert trial.session_cost < 0.01
    assert trial.call_s == pytest.approx(0.05, abs=0.04)


def test_it_is_tried_on_speech_in_batches_the_engine_takes() -> None:
    engine = FakeRecogniser(max_batch=3)
    try_out(engine, threads=1)
    assert {request.purpose for request in engine.requests} == set(Purpose)
    assert all(0.05 < abs(request.samples).max() < 1.0 for request in engine.requests)
    assert set(engine.batch_sizes) == {3}


@pytest.mark.parametrize(
    ("text", "recognises"),
    [
        ("It was the best of times,", True),
        ("it was the WORST", True),
        ("", False),
        ("Es war die beste aller Zeiten", False),
        ("bestow", False),
    ],
)
def test_whether_the_engine_recognises_the_sentence(text: str, recognises: bool) -> None:
    trial = try_out(FakeRecogniser(lambda request: text), threads=1)
    assert trial.text.split() == text.split()
    assert trial.has_known_words is recognises


def test_an_engine_that_cannot_answer_the_sentence_is_a_failure() -> None:
    class Refuses(FakeRecogniser):
        def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
            return [RecognitionError("no") for _ in requests]

    with pytest.raises(RecognitionError, match="no"):
        try_out(Refuses(), threads=1)
