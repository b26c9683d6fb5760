from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.accounts.keys import KeyLimits
from oyez.server.access.admission import Admission
from oyez.server.access.callers import ANONYMOUS, Caller
from oyez.server.access.refusals import (
    BUSY,
    DRAINING,
    FULL,
    LEDGER_FULL,
    SHARE_USED,
    Refusal,
)
from oyez.settings import Settings

A, B = Caller("key_a", "a"), Caller("key_b", "b")


class Clock:
    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


class FakeQuotas:
    ledger_full = False
    used_up: Refusal | None = None

    def check(self, caller: Caller) -> Refusal | None:
        return self.used_up


class FakeCallers:
    def __init__(self, has_several_keys: bool) -> None:
        self.has_several_keys = has_several_keys


def limited(**limits: int) -> Caller:
    return Caller("key_l", "limited", KeyLimits(**limits))  # type: ignore[arg-type]


def an_admission(
    *,
    max_sessions: int = 100,
    sessions_per_second: int = 2,
    load_room: Callable[[], float] = lambda: math.inf,
    reserved_share: float = 0.0,
    several_keys: bool = True,
) -> tuple[Admission, Clock, FakeQuotas]:
    clock, quotas = Clock(), FakeQuotas()
    settings = Settings(
        max_sessions=max_sessions,
        sessions_per_second=sessions_per_second,
        reserved_share=reserved_share,
    )
    callers: Any = FakeCallers(several_keys)
    admission = Admission(settings, callers, cast(Any, quotas), load_room, clock)
    return admission, clock, quotas


def test_the_rate_is_counted_over_the_last_second() -> None:
    admission, clock, _ = an_admission()
    assert admission.enter(A) is None
    clock.now_s += 0.6
    assert admission.enter(A) is None
    refusal = admission.enter(A)
    assert refusal is not None
    assert (refusal.status, refusal.retry_after_s) == (429, 1)
    assert admission.enter(B) is None
    clock.now_s += 0.4
    assert admission.enter(A) is None
    assert admission.enter(A) is not None


def test_a_key_may_have_a_rate_of_its_own() -> None:
    admission, _, _ = an_admission(sessions_per_second=2)
    slow, quick = limited(sessions_per_second=1), Caller("q", "q", KeyLimits(sessions_per_second=5))
    assert [admission.enter(slow) is None for _ in range(2)] == [True, False]
    assert [admission.enter(quick) is None for _ in range(6)] == [True] * 5 + [False]


def test_a_key_has_so_many_sessions_at_once_and_no_more() -> None:
    admission, _, _ = an_admission(sessions_per_second=99)
    two = limited(sessions=2)
    assert admission.enter(two) is None and admission.enter(two) is None
    refusal = admission.enter(two)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (429, "Throttling.AllocationQuota")
    assert refusal.retry_after_s and "2 sessions" in refusal.message
    assert admission.enter(A) is None, "another key does not notice"
    admission.leave(two)
    assert admission.enter(two) is None


def test_a_refusal_for_another_reason_does_not_count_for_the_rate() -> None:
    admission, _, quotas = an_admission(sessions_per_second=1)
    quotas.used_up = Refusal(429, "Throttling.AllocationQuota", "used up", 60)
    for _ in range(3):
        assert admission.enter(A) is quotas.used_up
    quotas.used_up, quotas.ledger_full = None, True
    for _ in range(3):
        assert admission.enter(A) is LEDGER_FULL
    assert admission.room == 0
    quotas.ledger_full = False
    assert admission.enter(A) is None


def test_refused_callers_take_no_place() -> None:
    admission, _, _ = an_admission(max_sessions=1)
    assert admission.enter(A) is None
    assert admission.enter(A) is FULL
    assert admission.open_sessions == 1
    admission.leave(A)
    assert admission.enter(A) is None


def test_callers_without_a_key_share_one_rate() -> None:
    admission, _, _ = an_admission()
    assert admission.enter(ANONYMOUS) is None
    assert admission.enter(ANONYMOUS) is None
    refusal = admission.enter(ANONYMOUS)
    assert refusal is not None and refusal.status == 429


def test_a_draining_server_admits_no_session() -> None:
    admission, _, _ = an_admission()
    admission.draining = True
    assert admission.enter(A) is DRAINING


def test_without_room_in_the_engine_a_caller_is_refused_and_takes_no_place() -> None:
    room = [0.9]
    admission, _, _ = an_admission(sessions_per_second=1, load_room=lambda: room[0])
    for _ in range(5):
        assert admission.enter(A) is BUSY
    assert BUSY.retry_after_s
    room[0] = 1.0
    assert admission.enter(A) is None


def test_room_is_the_least_of_places_and_load() -> None:
    room = [math.inf]
    admission, _, _ = an_admission(max_sessions=3, load_room=lambda: room[0])
    assert admission.room == 3
    admission.enter(ANONYMOUS)
    assert admission.room == 2
    room[0] = 1.7
    assert admission.room == 1
    room[0] = -4.0
    assert admission.room == 0
    room[0], admission.draining = math.inf, True
    assert admission.room == 0


def entered(admission: Admission, caller: Caller, tries: int = 30) -> int:
    return sum(admission.enter(caller) is None for _ in range(tries))


def test_the_last_part_of_the_room_is_kept_for_keys_that_have_little() -> None:
    admission, _, _ = an_admission(max_sessions=20, sessions_per_second=99, reserved_share=0.2)
    assert entered(admission, A) == 16
    assert admission.enter(A) is SHARE_USED
    assert "reserved_share" in SHARE_USED.message
    assert admission.room == 4, "for another key"
    assert entered(admission, B) == 4
    assert admission.enter(B) is FULL
    admission.leave(A)
    assert admission.enter(A) is SHARE_USED
    assert admission.enter(B) is None


def test_the_load_is_shared_in_the_same_way() -> None:
    sessions = 0
    admission, _, _ = an_admission(
        sessions_per_second=99, reserved_share=0.25, load_room=lambda: 8 - sessions
    )
    for _ in range(6):
        assert admission.enter(A) is None
        sessions += 1
    assert admission.enter(A) is SHARE_USED
    assert admission.enter(B) is None


def test_a_key_alone_and_callers_without_one_may_have_everything() -> None:
    for caller in (A, ANONYMOUS):
        admission, _, _ = an_admission(
            max_sessions=20, sessions_per_second=99, reserved_share=0.2, several_keys=False
        )
        assert entered(admission, caller) == 20


def test_nothing_is_kept_where_nothing_is_to_be_kept() -> None:
    admission, _, _ = an_admission(max_sessions=20, sessions_per_second=99)
    assert entered(admission, A) == 20


@pytest.mark.parametrize("fitting", [1, 2, 3])
def test_the_smallest_server_lets_in_a_first_session(fitting: int) -> None:
    admission, _, _ = an_admission(max_sessions=fitting, reserved_share=0.5)
    assert admission.enter(A) is None


@given(
    fitting=st.integers(5, 60),
    names=st.lists(st.sampled_from("abc"), max_size=200),
)
def test_a_new_key_finds_room_in_whatever_order_others_came(fitting: int, names: list[str]) -> None:
    admission, _, _ = an_admission(
        max_sessions=fitting, sessions_per_second=999, reserved_share=0.2
    )
    for name in names:
        admission.enter(Caller(name, name))
    if fitting >= 5 * 5:
        assert admission.enter(Caller("new", "new")) is None


@given(st.lists(st.tuples(st.sampled_from([A, B, limited(sessions=3)]), st.booleans())))
def test_no_order_of_coming_and_going_lets_in_too_many(
    steps: list[tuple[Caller, bool]],
) -> None:
    admission, _, _ = an_admission(max_sessions=5, sessions_per_second=1000)
    inside: list[Caller] = []
    for caller, enters in steps:
        if enters and admission.enter(caller) is None:
            inside.append(caller)
        elif not enters and caller in inside:
            inside.remove(caller)
            admission.leave(caller)
        assert admission.open_sessions == len(inside) <= 5
        assert sum(each.name == "limited" for each in inside) <= 3
