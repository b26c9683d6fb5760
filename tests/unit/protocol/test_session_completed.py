"""What `Completed` has of an item besides the events on the wire."""

from __future__ import annotations

import numpy as np
import pytest

from oyez.engines.base import Hypothesis, RecognitionError, Request
from support.driver import Driver, silence, speech


def fail(request: Request) -> Hypothesis:
    raise RecognitionError("it does not work")


def test_what_the_wire_does_not_tell_of_an_item_comes_with_it() -> None:
    driver = Driver()
    driver.stream(np.concatenate([silence(1.0), speech(0.9), silence(1.5)]))
    (completed,) = driver.completed
    (final,) = driver.of("completed")
    assert completed.item_id == final["item_id"]
    assert completed.transcript == final["transcript"] == "w30 w30 w30."
    assert [word.text for word in completed.words] == ["w30", " w30", " w30."]
    first, last = completed.words[0], completed.words[-1]
    assert first.start_samples == pytest.approx(16_000, abs=512)
    assert last.end_samples == pytest.approx(16_000 + 14_400, abs=512)
    assert completed.speech_s == pytest.approx(0.9, abs=0.07)
    assert completed.start_samples < first.start_samples
    assert completed.end_samples > last.end_samples
    assert completed.failure is None


def test_a_failed_item_has_its_reason() -> None:
    driver = Driver(recognise=fail)
    driver.stream(np.concatenate([speech(0.9), silence(1.5)]))
    (completed,) = driver.completed
    assert isinstance(completed.failure, RecognitionError)
    assert (completed.transcript, completed.words) == ("", ())
