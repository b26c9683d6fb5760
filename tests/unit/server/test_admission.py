from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.server.admission import (
    BUSY,
    DRAINING,
    FULL,
    INVALID_KEY,
    Admission,
    query_value,
    serves_model,
)


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def an_admission(
    *keys: str, max_sessions: int = 100, sessions_per_second: int = 2
) -> tuple[Admission, Clock]:
    clock = Clock()
    admission = Admission(
        keys, max_sessions=max_sessions, sessions_per_second=sessions_per_second, clock=clock
    )
    return admission, clock


def test_the_rate_is_counted_over_the_last_second() -> None:
    admission, clock = an_admission("a", "b")
    assert admission.enter("Bearer a") is None
    clock.now_s += 0.6
    assert admission.enter("Bearer a") is None
    refusal = admission.enter("Bearer a")
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 1)
    assert admission.enter("Bearer b") is None
    clock.now_s += 0.4
    assert admission.enter("Bearer a") is None
    assert admission.enter("Bearer a") is not None


def test_refused_callers_take_no_place() -> None:
    admission, _ = an_admission("a", max_sessions=1)
    assert admission.enter("Bearer wrong") is INVALID_KEY
    assert admission.enter("Bearer a") is None
    assert admission.enter("Bearer a") is FULL
    assert admission.open_sessions == 1
    admission.leave()
    assert admission.enter("Bearer a") is None


def test_callers_without_a_key_share_one_rate() -> None:
    admission, _ = an_admission()
    assert admission.enter(None) is None
    assert admission.enter("Bearer x") is None
    refusal = admission.enter("Bearer y")
    assert refusal is not None and refusal.status == 429


def test_a_draining_server_lets_nobody_in() -> None:
    admission, _ = an_admission("a")
    admission.draining = True
    assert admission.enter("Bearer a") is DRAINING


def test_who_finds_no_room_in_the_engine_is_refused_and_takes_no_place() -> None:
    room = [0.9]
    admission = Admission(
        ("a",),
        max_sessions=3,
        sessions_per_second=1,
        clock=Clock(),
        load_room=lambda: room[0],
    )
    for _ in range(5):
        assert admission.enter("Bearer a") is BUSY
    assert admission.enter("Bearer wrong") is INVALID_KEY
    assert BUSY.retry_after_s
    room[0] = 1.0
    assert admission.enter("Bearer a") is None


def test_room_is_the_least_of_places_and_load() -> None:
    room = [math.inf]
    admission = Admission(
        (), max_sessions=3, sessions_per_second=9, clock=Clock(), load_room=lambda: room[0]
    )
    assert admission.room == 3
    admission.enter(None)
    assert admission.room == 2
    room[0] = 1.7
    assert admission.room == 1
    room[0] = -4.0
    assert admission.room == 0
    room[0], admission.draining = math.inf, True
    assert admission.room == 0


@given(st.text())
def test_no_header_but_a_key_opens(header: str) -> None:
    admission, _ = an_admission("the-key")
    assert admission.enter(header) is INVALID_KEY


@given(st.text(), st.text())
def test_any_query_can_be_read(query: str, name: str) -> None:
    query_value(query, name)


@pytest.mark.parametrize(
    ("query", "model"),
    [
        ("", None),
        ("model", ""),
        ("model=a", "a"),
        ("model=a%20b+c", "a b c"),
        ("a=b?model=a", "a"),
        ("model=mine?model=a", "a"),
        ("Model=a", None),
    ],
)
def test_the_model_is_found_in_broken_queries_too(query: str, model: str | None) -> None:
    assert query_value(query, "model") == model


def test_models_are_served_by_name_or_family() -> None:
    assert serves_model("qwen3-asr-flash-realtime-2030-01-01", ())
    assert serves_model("mine", ("mine",))
    assert not serves_model("whisper", ("mine",))
    assert not serves_model(None, ("mine",))
