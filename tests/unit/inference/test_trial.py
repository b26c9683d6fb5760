from __future__ import annotations

import time

import pytest

from oyez.inference.trial import FINALS_PER_S, PARTIALS_PER_S, session_cost
from oyez.recognisers.base import Purpose, Request
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
    assert session_cost(engine, threads=1) == pytest.approx(expected, rel=0.4)
    assert session_cost(engine, threads=2) == pytest.approx(expected / 2, rel=0.4)


def test_waiting_is_no_work() -> None:
    assert session_cost(FakeRecogniser(delay_s=0.05), threads=1) < 0.01


def test_it_is_tried_on_speech_in_batches_the_engine_takes() -> None:
    engine = FakeRecogniser(max_batch=3)
    session_cost(engine, threads=1)
    assert {request.purpose for request in engine.requests} == set(Purpose)
    assert all(0.05 < abs(request.samples).max() < 1.0 for request in engine.requests)
    assert set(engine.batch_sizes) == {3}
