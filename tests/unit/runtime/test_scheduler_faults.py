"""What becomes of jobs when the engine, a worker or the bookkeeping fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from types import SimpleNamespace

import pytest

from oyez.engines.base import Hypothesis, RecognitionError, Request
from oyez.runtime import scheduler as scheduling
from oyez.runtime.engine import Restartable
from oyez.runtime.job import End, EngineLost, Job, Observer, Outcome, Urgency
from oyez.runtime.queue import Queue
from oyez.runtime.scheduler import CALL_FACTOR, CALL_S, Scheduler
from oyez.testing import FakeRecogniser
from support.jobs import make_job
from support.waiting import wait_until, wait_while

LIMIT_S = CALL_S + CALL_FACTOR


class Ends(Observer):
    """An observer that remembers how jobs ended."""

    def __init__(self) -> None:
        self.ends: list[End] = []

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        pass

    def ended(self, job: Job, end: End, now_s: float) -> None:
        self.ends.append(end)


class Clock:
    """Stands for `time.monotonic` of the scheduler."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ahead_s = 0.0
        clock = SimpleNamespace(monotonic=lambda: time.monotonic() + self.ahead_s, sleep=time.sleep)
        monkeypatch.setattr(scheduling, "time", clock)

    def pass_by(self, scheduler: Scheduler, seconds: float) -> None:
        """As if `check` had been called every second meanwhile."""
        for _ in range(round(seconds)):
            self.ahead_s += 1.0
            scheduler.check()


class FailsOnce(FakeRecogniser):
    """Raises this in its first call."""

    def __init__(self, error: BaseException) -> None:
        super().__init__()
        self.error: BaseException | None = error

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        error, self.error = self.error, None
        if error:
            raise error
        return super().recognise(requests)


class Losable(FakeRecogniser):
    """An engine that can be restarted. `crashes`: so many of its next calls end it."""

    def __init__(self, crashes: int = 0) -> None:
        super().__init__()
        self.crashes = crashes
        self.is_up = True
        self.is_lost = False
        self.restarts = 0
        self.was_ended = threading.Event()

    def restart(self) -> None:
        self.restarts += 1
        self.was_ended.set()

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        assert self.is_up
        if self.crashes:
            self.crashes -= 1
            raise EngineLost("crashed")
        while not self.may_answer.wait(0.01):
            if self.was_ended.is_set():
                raise EngineLost("ended")
        return super().recognise(requests)


def ask(scheduler: Scheduler, urgency: Urgency = Urgency.FINAL) -> list[Outcome]:
    """A list that the answer will be in."""
    answers: list[Outcome] = []
    scheduler.submit(make_job(urgency, owner=object(), callback=answers.append))
    return answers


def is_recognised(scheduler: Scheduler) -> bool:
    answers = ask(scheduler)
    wait_until(lambda: bool(answers))
    return isinstance(answers[0], Hypothesis)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_whatever_an_engine_raises_is_an_answer(error: BaseException) -> None:
    scheduler = Scheduler(FailsOnce(error))
    answers = ask(scheduler)
    wait_until(lambda: bool(answers))
    assert isinstance(answers[0], RecognitionError)
    assert is_recognised(scheduler)
    assert scheduler.stop(5.0)


@pytest.mark.parametrize("method", ["ran", "ended"])
def test_a_fault_in_an_observer_affects_no_job(
    method: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object) -> None:
        raise ZeroDivisionError

    broken, healthy = Ends(), Ends()
    monkeypatch.setattr(broken, method, fail)
    scheduler = Scheduler(FakeRecogniser(), broken, healthy)
    assert is_recognised(scheduler)
    assert is_recognised(scheduler)
    assert scheduler.stop(5.0)
    assert healthy.ends == [End.ANSWERED, End.ANSWERED]
    assert "an observer raised" in caplog.text


def test_a_fault_of_a_worker_fails_its_batch_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduling, "RECOVER_S", 0.01)

    def fail(*_: object) -> None:
        raise SystemExit

    ends = Ends()
    engine = FakeRecogniser(max_batch=1)
    scheduler = Scheduler(engine, ends)
    with monkeypatch.context() as patch:
        patch.setattr(scheduling, "run_batch", fail)
        answers = ask(scheduler)
        wait_until(lambda: bool(answers))
    assert isinstance(answers[0], RecognitionError)
    assert ends.ends == [End.GIVEN_UP]
    assert "a worker of the engine failed" in caplog.text
    assert is_recognised(scheduler)
    wait_until(lambda: scheduler._idle_workers == 1)
    assert scheduler.stop(5.0)


def test_a_fault_in_the_queue_does_not_end_the_workers(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(scheduling, "RECOVER_S", 0.01)

    def fail(*_: object) -> None:
        raise IndexError

    scheduler = Scheduler(FakeRecogniser(parallel=2))
    with monkeypatch.context() as patch:
        patch.setattr(Queue, "take", fail)
        answers = ask(scheduler)
        wait_until(lambda: "a worker of the engine failed" in caplog.text)
    wait_until(lambda: bool(answers))
    assert isinstance(answers[0], Hypothesis)
    assert scheduler.stop(5.0)


def test_a_call_that_hangs_is_given_up(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    engine, ends = FakeRecogniser(), Ends()
    engine.may_answer.clear()
    scheduler = Scheduler(engine, ends)
    answers = ask(scheduler)
    wait_until(lambda: scheduler.running == 1)
    clock.pass_by(scheduler, LIMIT_S - 2)
    assert (answers, scheduler.stuck_s) == ([], 0.0)
    clock.pass_by(scheduler, 5)
    assert [type(answer) for answer in answers] == [RecognitionError]
    assert 0 < scheduler.stuck_s < 5
    assert ends.ends == [End.GIVEN_UP]
    assert caplog.text.count("the engine does not answer") == 1
    engine.may_answer.set()
    assert is_recognised(scheduler)
    assert scheduler.stuck_s == 0.0
    assert len(answers) == 1
    assert scheduler.stop(5.0)


def test_long_audio_and_a_slow_machine_have_more_time(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    engine = FakeRecogniser()
    engine.may_answer.clear()
    scheduler = Scheduler(engine, call_s=30.0)
    scheduler.submit(make_job(samples=20 * 16_000))
    wait_until(lambda: scheduler.running == 1)
    clock.pass_by(scheduler, CALL_S + CALL_FACTOR * 50 - 2)
    assert scheduler.stuck_s == 0.0
    clock.pass_by(scheduler, 4)
    assert scheduler.stuck_s > 0
    engine.may_answer.set()
    assert scheduler.stop(5.0)


def test_a_process_that_stood_still_does_not_give_up_its_calls(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    engine = FakeRecogniser()
    engine.may_answer.clear()
    scheduler = Scheduler(engine)
    answers = ask(scheduler)
    wait_until(lambda: scheduler.running == 1)
    clock.ahead_s += 3600
    scheduler.check()
    engine.may_answer.set()
    wait_until(lambda: bool(answers))
    assert isinstance(answers[0], Hypothesis)
    assert scheduler.stop(5.0)


def test_an_engine_that_hangs_is_restarted_where_that_is_possible(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = Clock(monkeypatch)
    engine = Losable()
    assert isinstance(engine, Restartable)
    engine.may_answer.clear()
    scheduler = Scheduler(engine)
    answers = ask(scheduler)
    wait_until(lambda: scheduler.running == 1)
    clock.pass_by(scheduler, LIMIT_S + 1)
    assert [type(answer) for answer in answers] == [RecognitionError]
    assert engine.restarts == 1
    wait_until(lambda: scheduler.stuck_s == 0)
    engine.may_answer.set()
    assert is_recognised(scheduler)
    assert scheduler.stop(5.0)


def test_a_final_whose_engine_was_lost_is_tried_once_more() -> None:
    scheduler = Scheduler(Losable(crashes=1))
    assert is_recognised(scheduler)
    assert scheduler.stop(5.0)


def test_a_final_that_ends_the_engine_again_fails() -> None:
    scheduler = Scheduler(Losable(crashes=2))
    assert not is_recognised(scheduler)
    assert is_recognised(scheduler)
    assert scheduler.stop(5.0)


def test_a_partial_whose_engine_was_lost_is_not_tried_again() -> None:
    engine = Losable(crashes=1)
    scheduler = Scheduler(engine)
    answers = ask(scheduler, Urgency.PARTIAL)
    wait_until(lambda: bool(answers))
    assert isinstance(answers[0], EngineLost)
    assert engine.batch_sizes == []
    assert scheduler.stop(5.0)


def test_a_turn_in_which_the_engine_ended_twice_is_not_tried_again() -> None:
    engine = Losable(crashes=2)
    scheduler = Scheduler(engine)
    answers: list[Outcome] = []

    def ask_about(turn: str, urgency: Urgency = Urgency.FINAL) -> Outcome:
        scheduler.submit(make_job(urgency, owner=turn, callback=answers.append))
        wait_until(lambda: bool(answers))
        return answers.pop()

    assert isinstance(ask_about("poison", Urgency.PARTIAL), EngineLost)
    assert engine.crashes == 1
    assert isinstance(ask_about("poison", Urgency.PARTIAL), EngineLost)
    assert engine.crashes == 1
    assert isinstance(ask_about("poison"), EngineLost)
    assert engine.crashes == 0
    assert isinstance(ask_about("poison"), EngineLost)
    assert isinstance(ask_about("another"), Hypothesis)
    assert [len(engine.requests), scheduler.stop(5.0)] == [1, True]


def test_the_losses_of_a_turn_are_forgotten_once_it_was_answered() -> None:
    engine = Losable(crashes=1)
    scheduler = Scheduler(engine)
    assert is_recognised(scheduler)
    assert scheduler._losses == {}
    assert scheduler.stop(5.0)


def test_jobs_wait_while_the_engine_is_started_again() -> None:
    engine = Losable()
    engine.is_up = False
    scheduler = Scheduler(engine)
    answers = ask(scheduler)
    wait_while(lambda: (answers, scheduler.waiting, scheduler.is_up) == ([], 1, False), for_s=0.3)
    engine.is_up = True
    wait_until(lambda: bool(answers))
    assert isinstance(answers[0], Hypothesis)
    assert scheduler.stop(5.0)


def test_a_scheduler_whose_engine_is_away_stops_at_once() -> None:
    engine = Losable(crashes=1)
    scheduler = Scheduler(engine)
    answers = ask(scheduler)
    engine.is_up = False
    assert scheduler.stop(5.0)
    wait_until(lambda: bool(answers))
