from __future__ import annotations

from pytest import approx

from oyez.inference.trial import BESIDES, FINALS_PER_S, PARTIALS_PER_S, session_cost
from oyez.recognisers.base import Purpose
from oyez.testing import FakeRecogniser


def test_the_cost_of_a_session_is_tried_out_with_all_workers_at_once() -> None:
    alone, shared = (FakeRecogniser(delay_s=0.1, parallel=parallel) for parallel in (1, 2))
    needed = BESIDES * 0.1 * (PARTIALS_PER_S + FINALS_PER_S)
    assert session_cost(alone) == approx(needed, rel=0.3)
    assert session_cost(shared) == approx(needed / 2, rel=0.3)
    assert {request.purpose for request in shared.requests} == set(Purpose)


def test_it_is_tried_on_speech() -> None:
    engine = FakeRecogniser()
    session_cost(engine)
    assert all(0.05 < abs(request.samples).max() < 1.0 for request in engine.requests)
