"""Files beside live speech: who gets the workers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from oyez.runtime import scheduler as module
from oyez.runtime.job import Urgency
from oyez.runtime.scheduler import Scheduler
from oyez.testing import FakeRecogniser
from support.jobs import make_job
from support.waiting import wait_until, wait_while


@pytest.fixture
def engine() -> FakeRecogniser:
    engine = FakeRecogniser(parallel=2, max_batch=1)
    engine.may_answer.clear()
    return engine


@pytest.fixture
def scheduler(engine: FakeRecogniser) -> Iterator[Scheduler]:
    scheduler = Scheduler(engine)
    yield scheduler
    engine.may_answer.set()
    scheduler.stop(5.0)


def submit(scheduler: Scheduler, urgency: Urgency, count: int = 1) -> None:
    for number in range(count):
        scheduler.submit(make_job(urgency, owner=f"{urgency}{number}"))


def test_files_alone_have_every_worker(scheduler: Scheduler) -> None:
    submit(scheduler, Urgency.BACKGROUND, 3)
    wait_until(lambda: scheduler.running == 2)


def test_beside_live_speech_a_worker_is_kept_free(
    scheduler: Scheduler, engine: FakeRecogniser
) -> None:
    submit(scheduler, Urgency.FINAL)
    wait_until(lambda: scheduler.running == 1)
    engine.may_answer.set()
    wait_until(lambda: scheduler.running == 0)
    engine.may_answer.clear()
    submit(scheduler, Urgency.BACKGROUND, 3)
    wait_until(lambda: scheduler.running == 1)
    wait_while(lambda: (scheduler.running, scheduler.waiting) == (1, 2))
    submit(scheduler, Urgency.FINAL)
    wait_until(lambda: scheduler.running == 2)
    assert scheduler.waiting_with(Urgency.BACKGROUND) == 2


def test_once_it_has_been_quiet_files_have_every_worker_again(
    scheduler: Scheduler, engine: FakeRecogniser, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "LIVE_S", 0.3)
    submit(scheduler, Urgency.PARTIAL)
    wait_until(lambda: scheduler.running == 1)
    engine.may_answer.set()
    wait_until(lambda: scheduler.running == 0)
    engine.may_answer.clear()
    submit(scheduler, Urgency.BACKGROUND, 3)
    wait_until(lambda: scheduler.running == 1)
    wait_until(lambda: scheduler.running == 2)


def test_a_single_worker_is_for_everybody(engine: FakeRecogniser) -> None:
    scheduler = Scheduler(FakeRecogniser())
    submit(scheduler, Urgency.FINAL)
    submit(scheduler, Urgency.BACKGROUND, 3)
    wait_until(lambda: scheduler.waiting == scheduler.running == 0)
    scheduler.stop(5.0)
