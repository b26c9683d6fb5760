from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from oyez.runtime.capacity import COST_S, PRIOR_SESSION_S, SLOWEST_PARTIALS_S, Capacity
from oyez.runtime.job import Urgency
from support.busy_machine import Machine, Speaker
from support.jobs import make_job


class Clock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


class Steady:
    """Sessions that ask for the same every second, for a minute."""

    def __init__(self, sessions: int = 1, workers: int = 2, assumed_cost: float = 0.0) -> None:
        self.clock = Clock()
        self.load = Capacity(workers, assumed_cost, limit=1.0, clock=self.clock)
        for _ in range(sessions):
            self.load.session_opened()

    def run(self, urgency: Urgency, run_s: float, *, late_s: float = 0.0, waits_s: float = 0.0,
            seconds: int = 60, paced: bool = True,
            measures_delay: bool = True) -> Capacity:  # fmt: skip
        for _ in range(seconds):
            self.clock.now_s += 1.0
            began_s = self.clock.now_s - run_s
            job = make_job(urgency, deadline_s=began_s - late_s, is_realtime=paced,
                           measures_delay=measures_delay)  # fmt: skip
            job.submit(self.clock.now_s - waits_s, None)
            self.load.ran([job], began_s, self.clock.now_s)
        return self.load


def test_busy_is_the_share_of_all_workers() -> None:
    assert Steady(workers=1).run(Urgency.FINAL, 0.5).busy == pytest.approx(0.5, rel=0.15)
    assert Steady(workers=2).run(Urgency.PARTIAL, 0.5).busy == pytest.approx(0.25, rel=0.15)
    idle = Steady()
    idle.run(Urgency.FINAL, 0.5)
    idle.clock.now_s += 30
    assert idle.load.busy < 0.01


def test_demand_counts_partials_as_often_as_they_are_asked_for() -> None:
    assert Steady().run(Urgency.PARTIAL, 0.5, waits_s=0.1).demand == pytest.approx(0.25, rel=0.15)
    assert Steady().run(Urgency.PARTIAL, 0.5, waits_s=1.0).demand == pytest.approx(0.5, rel=0.15)
    assert Steady().run(Urgency.FINAL, 0.5, waits_s=1.0).demand == pytest.approx(0.25, rel=0.15)


def test_a_session_needs_its_finals_and_its_partials_at_their_slowest() -> None:
    assert Steady().run(Urgency.FINAL, 0.5).busy == pytest.approx(0.25, rel=0.15)
    share = COST_S / (COST_S + PRIOR_SESSION_S)  # the prior, which is nothing, counts too
    cost = Steady().run(Urgency.FINAL, 0.5, seconds=200).cost
    assert cost == pytest.approx(0.25 * share, rel=0.1)
    cost = Steady().run(Urgency.PARTIAL, 0.5, seconds=200).cost
    assert cost == pytest.approx(0.25 * share * 0.5 / SLOWEST_PARTIALS_S, rel=0.1)
    cost = Steady().run(Urgency.PARTIAL, 0.5, waits_s=1.0, seconds=200).cost
    assert cost == pytest.approx(0.25 * share * 1.0 / SLOWEST_PARTIALS_S, rel=0.1)


def test_the_background_is_nobodys_need() -> None:
    load = Steady().run(Urgency.BACKGROUND, 0.5)
    assert load.busy > 0.1
    assert load.demand == load.cost == load.late_s == 0.0


def test_an_utterance_sent_at_once_does_not_count_as_a_conversation() -> None:
    load = Steady().run(Urgency.FINAL, 0.5, late_s=0.1, paced=False)
    assert load.cost == 0.0
    assert load.demand == load.busy > 0.1
    assert load.late_s > 0.05


def test_a_session_that_waits_for_many_finals_causes_its_own_delay() -> None:
    steady = Steady()
    steady.run(Urgency.FINAL, 0.001, late_s=9.0, paced=False, measures_delay=False)
    assert steady.load.late_s == 0.0
    assert steady.load.room(0.0) > 0


def test_until_sessions_have_settled_the_assumed_cost_counts() -> None:
    steady = Steady(sessions=10, assumed_cost=0.03)
    assert steady.load.cost == 0.03
    steady.clock.now_s += 4.0
    assert steady.load.cost == 0.03
    for _ in range(60):
        steady.clock.now_s += 1.0
        assert steady.load.cost > 0
    assert steady.load.cost < 0.01, "they ask for nothing"


def test_room_is_what_the_need_leaves() -> None:
    steady = Steady(sessions=10, assumed_cost=0.03)
    assert steady.load.needed == pytest.approx(0.3)
    assert steady.load.room(0.0) == 33 - 10
    assert Steady(sessions=40, assumed_cost=0.03).load.room(0.0) == 0
    assert Steady(sessions=40, assumed_cost=0.0).load.room(0.0) == math.inf


def test_an_empty_server_always_has_room_for_one() -> None:
    load = Steady(sessions=0, assumed_cost=5.0).load
    assert load.room(0.0) == load.room(99.0) == 1
    load.session_opened()
    assert load.room(0.0) == 0
    load.session_closed()
    assert load.room(0.0) == 1


def test_late_finals_leave_no_room_until_they_are_forgotten() -> None:
    steady = Steady()
    assert steady.load.room(0.4) == math.inf
    assert steady.load.room(0.6) == 0, "what waits now is late"
    steady.run(Urgency.SPECULATIVE, 0.001, late_s=0.7, seconds=20)
    assert 0.5 < steady.load.late_s < 0.7
    assert steady.load.room(0.0) == 0
    steady.clock.now_s += 10.0
    assert steady.load.room(0.0) > 0


def test_finals_of_a_moment_count_as_need_only_as_far_as_they_hold_audio() -> None:
    steady = Steady()
    for _ in range(60):
        steady.clock.now_s += 1.0
        job = make_job(samples=1_600)
        steady.load.ran([job], steady.clock.now_s - 0.5, steady.clock.now_s)
    whole = Steady().run(Urgency.FINAL, 0.5)
    assert steady.load.cost == pytest.approx(whole.cost / 10, rel=0.01)
    assert steady.load.busy == whole.busy


def test_the_weight_of_a_tenant_grows_with_the_root_of_its_sessions() -> None:
    load = Steady(sessions=0).load
    for _ in range(9):
        load.session_opened("many")
    load.session_opened("one")
    assert (load.weight("many"), load.weight("one"), load.weight("none")) == (3, 1, 1)
    for _ in range(5):
        load.session_closed("many")
    load.session_closed("one")
    assert (load.weight("many"), load.weight("one")) == (2, 1)


def test_partials_that_are_late_are_no_late_finals() -> None:
    assert Steady().run(Urgency.PARTIAL, 0.01, late_s=9.0).late_s == 0.0


def seek_entry(machine: Machine, seconds: float) -> int:
    """Ten try to enter every second. How many were refused."""
    refused = 0
    for _ in range(round(10 * seconds)):
        machine.run(machine.now_s + 0.1)
        if machine.room >= 1:
            machine.join()
        else:
            refused += 1
    return refused


def figures(machine: Machine, seconds: float) -> tuple[float, float, float]:
    """Over so much time, 95th percentiles: between partials, how late finals are; and how busy."""
    for speaker in machine.speakers:
        speaker.gaps_s.clear()
        speaker.late_s.clear()
    machine.run(machine.now_s + seconds)

    def p95(lists: list[list[float]]) -> float:
        return float(np.quantile(list(itertools.chain(*lists)), 0.95))

    gaps_s = [speaker.gaps_s for speaker in machine.speakers]
    late_s = [speaker.late_s for speaker in machine.speakers]
    return p95(gaps_s), p95(late_s), machine.load.busy


@pytest.mark.parametrize("slowness", [0.5, 1.0, 2.0, 4.0])
def test_admitted_sessions_are_served_and_the_machine_is_used(slowness: float) -> None:
    machine = Machine(slowness=slowness, assumed=0.015 * slowness)
    assert seek_entry(machine, 90.0) > 100
    gap_s, late_s, busy = figures(machine, 30.0)
    assert gap_s < SLOWEST_PARTIALS_S
    assert late_s < 0.6 * max(1.0, slowness)  # a final itself takes a while on a slow machine
    assert busy > 0.85


def test_on_an_idle_server_a_burst_is_let_in_only_as_far_as_it_can_be_served() -> None:
    machine = Machine(assumed=0.015)
    while machine.room >= 1:
        machine.join()
    assert 30 < len(machine.speakers) < 70
    machine.run(10.0)
    gap_s, late_s, _ = figures(machine, 30.0)
    assert gap_s < SLOWEST_PARTIALS_S
    assert late_s < 0.5


def test_a_machine_that_becomes_slower_refuses_and_later_admits_again() -> None:
    machine = Machine(assumed=0.015)
    for _ in range(40):
        machine.join()
    machine.run(30.0)
    assert machine.room > 5
    machine.slowness = 3.0
    machine.run(50.0)
    assert machine.room == 0
    machine.slowness = 1.0
    machine.run(110.0)
    assert machine.room > 5


def test_sessions_that_leave_make_room_at_once() -> None:
    machine = Machine(assumed=0.015)
    seek_entry(machine, 60.0)
    assert machine.room < 5
    for speaker in machine.speakers[::2]:
        machine.leave(speaker)
    machine.run(machine.now_s + 2.0)
    assert machine.room > 20


def test_hundreds_enter_where_sessions_cost_nothing() -> None:
    machine = Machine(slowness=0.001, assumed=1e-6)
    assert seek_entry(machine, 50.0) == 0
    assert len(machine.speakers) == 500


def test_on_an_overcrowded_machine_partials_come_seldom_but_to_everybody() -> None:
    machine = Machine()
    for _ in range(80):
        machine.join()
    machine.run(20.0)
    gap_s, late_s, busy = figures(machine, 60.0)
    assert busy > 0.95
    assert 1.0 < gap_s < 4.0
    assert late_s < 0.5
    assert all(speaker.gaps_s for speaker in machine.speakers)


def test_far_beyond_what_a_machine_can_do_finals_are_in_time_and_partials_starve() -> None:
    machine = Machine()
    for _ in range(110):
        machine.join()
    machine.run(20.0)
    gap_s, late_s, _ = figures(machine, 60.0)
    assert late_s < 0.5
    assert gap_s > 4.0


def test_a_steady_flow_of_finals_does_not_starve_a_partial() -> None:
    """Finals of others take nine tenths of one worker; one turn goes on."""
    machine = Machine(workers=1)
    final_s = machine.cost_s([make_job(Urgency.SPECULATIVE, samples=48_000)])
    answered_s: list[float] = []

    def ask_final(number: int) -> None:
        deadline_s = machine.now_s + 0.6
        machine.submit(
            make_job(Urgency.SPECULATIVE, owner=number, samples=48_000, deadline_s=deadline_s)
        )
        machine.at(machine.now_s + final_s / 0.9, lambda: ask_final(number + 1))

    def ask_partial() -> None:
        job = make_job(
            Urgency.PARTIAL,
            owner="turn",
            deadline_s=machine.now_s + 1.5,
            callback=lambda outcome: answered_s.append(machine.now_s),
        )
        machine.submit(job)
        machine.at(machine.now_s + 0.5, ask_partial)

    ask_final(0)
    ask_partial()
    machine.run(60.0)
    assert len(answered_s) > 20
    assert max(np.diff(answered_s)) < 3.0


def test_the_virtual_speakers_are_recognised() -> None:
    """The simulation itself: alone on a machine, everything comes when asked for."""
    machine = Machine()
    speaker: Speaker = machine.join()
    machine.run(60.0)
    assert len(speaker.late_s) >= 4
    assert max(speaker.late_s) == 0.0
    assert len(speaker.gaps_s) > 30
    assert max(speaker.gaps_s) < 0.8
