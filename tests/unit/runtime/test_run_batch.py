from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pytest

from oyez.engines.base import Hypothesis, Purpose, RecognitionError, Request
from oyez.logs import RateLimitFilter
from oyez.runtime.engine import run_batch
from oyez.testing import FakeRecogniser


def request(samples: int) -> Request:
    return Request(np.zeros(samples, np.float32), Purpose.FINAL)


class FailsOn(FakeRecogniser):
    """Raises for any batch that holds a request of exactly this length."""

    def __init__(self, bad_samples: int, error: Exception) -> None:
        super().__init__()
        self.bad_samples = bad_samples
        self.error = error

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        if any(len(request.samples) == self.bad_samples for request in requests):
            raise self.error
        return super().recognise(requests)


def test_answers_come_in_the_order_of_the_requests() -> None:
    outcomes = run_batch(FakeRecogniser(), [request(8000), request(16000)])
    assert [outcome.text for outcome in outcomes if isinstance(outcome, Hypothesis)] == [
        " one",
        " one two",
    ]


def test_a_bad_request_harms_only_itself() -> None:
    engine = FailsOn(7, MemoryError("too much"))
    good, bad, also_good = run_batch(engine, [request(8000), request(7), request(16000)])
    assert isinstance(good, Hypothesis)
    assert isinstance(also_good, Hypothesis)
    assert isinstance(bad, RecognitionError)
    assert "too much" in str(bad)


def test_an_engine_that_answers_too_little_is_a_failure_of_each_request() -> None:
    class Forgetful(FakeRecogniser):
        def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
            return []

    outcomes = run_batch(Forgetful(), [request(1), request(2)])
    assert [type(outcome) for outcome in outcomes] == [RecognitionError, RecognitionError]


def test_an_engine_that_always_fails_does_not_fill_the_log(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.filtering(RateLimitFilter()):
        for _ in range(20):
            run_batch(FailsOn(7, MemoryError("too much")), [request(7), request(7)])
    logged = [(record.levelno, record.message) for record in caplog.records]
    assert logged == [
        (logging.WARNING, "the engine failed on a batch"),
        (logging.ERROR, "the engine raised"),
    ]
