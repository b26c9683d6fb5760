from __future__ import annotations

import asyncio
import time
from types import SimpleNamespace

import numpy as np
import pytest

from oyez.engines.base import Hypothesis, Piece, Purpose, Request
from oyez.protocol.effects import Recognise
from oyez.protocol.errors import Overload
from oyez.runtime import session_jobs as module
from oyez.runtime.job import Job, Outcome, Overloaded, Stopped, Urgency
from oyez.runtime.session_jobs import SessionJobs
from support.waiting import eventually, stays

WORDS = (Piece(" one", (1,), 8000, 1.0),)


class FakeScheduler:
    """Keeps what is submitted. `replaces`: what the next job takes the place of."""

    def __init__(self) -> None:
        self.submitted: list[Job] = []
        self.cancelled: list[Job] = []
        self.replaces: Job | None = None
        self.full = False
        self.running: list[Job] = []

    def submit(self, job: Job) -> Job | None:
        if self.full:
            raise Overloaded("full")
        self.submitted.append(job)
        return self.replaces

    def cancel(self, job: Job) -> None:
        self.cancelled.append(job)

    def is_running(self, job: Job) -> bool:
        return job in self.running


class Harness:
    """In place of the runner of a session."""

    def __init__(self, is_patient: bool = False) -> None:
        self.failure: Exception | None = None
        self.scheduler = FakeScheduler()
        self.ahead_s = 0.0
        self.answers: list[tuple[int, Outcome]] = []
        self.jobs = SessionJobs(
            self.scheduler,  # type: ignore[arg-type]
            "session",
            tenant="key",
            is_patient=is_patient,
        )

    def answered(self, number: int, outcome: Outcome) -> None:
        self.answers.append((number, outcome))

    def fail(self, error: Exception) -> None:
        self.failure = error

    def submit(self, effect: Recognise) -> None:
        self.jobs.submit(effect, self)  # type: ignore[arg-type]

    def ask(self, number: int, request: Request, **fields: float) -> Job:
        effect = Recognise(number, "item", 512, request, fields.pop("due_s", 0.0), **fields)  # type: ignore[arg-type]
        self.submit(effect)
        return self.scheduler.submitted[-1]


def request(purpose: Purpose, hint: tuple[Piece, ...] = ()) -> Request:
    return Request(np.zeros(8000, np.float32), purpose, hint=hint)


@pytest.mark.parametrize(
    ("purpose", "speculative", "hint", "due_s", "urgency", "within_s", "replaceable"),
    [
        (Purpose.FINAL, False, (), 0.0, Urgency.FINAL, 0.0, False),
        (Purpose.FINAL, True, (), 0.6, Urgency.SPECULATIVE, 0.6, True),
        (Purpose.PARTIAL, False, (), 0.25, Urgency.PARTIAL, 0.9, True),
        (Purpose.PARTIAL, False, WORDS, 0.5, Urgency.PARTIAL, 2.5, True),
    ],
)
async def test_what_is_asked_becomes_a_job_with_a_deadline(
    purpose: Purpose,
    speculative: bool,
    hint: tuple[Piece, ...],
    due_s: float,
    urgency: Urgency,
    within_s: float,
    replaceable: bool,
) -> None:
    harness = Harness()
    job = harness.ask(7, request(purpose, hint), due_s=due_s, speculative=speculative)
    assert (job.tenant, job.owner, job.item, job.segment) == ("key", "session", "item", 512)
    assert (job.urgency, job.is_replaceable, job.interval_s) == (urgency, replaceable, due_s)
    assert job.deadline_s - time.monotonic() == pytest.approx(within_s, abs=0.1)


@pytest.mark.parametrize("purpose", Purpose)
async def test_audio_far_ahead_of_the_clock_is_not_live(purpose: Purpose) -> None:
    harness = Harness()
    harness.ahead_s = 31.0
    assert harness.ask(1, request(purpose)).urgency is Urgency.BACKGROUND


async def test_audio_far_ahead_of_the_clock_was_not_spoken_into_the_session() -> None:
    harness = Harness()
    assert harness.ask(1, request(Purpose.FINAL)).is_realtime
    harness.ahead_s = 3.0
    harness.jobs.cancel(1)
    job = harness.ask(2, request(Purpose.FINAL))
    assert (job.is_realtime, job.measures_delay, job.urgency) == (False, True, Urgency.FINAL)
    assert not harness.ask(3, request(Purpose.FINAL)).measures_delay


async def test_a_session_that_waits_for_many_finals_is_no_conversation() -> None:
    harness = Harness()
    harness.ask(0, request(Purpose.PARTIAL))
    jobs = [harness.ask(n, request(Purpose.FINAL)) for n in range(1, 7)]
    assert [job.is_realtime for job in jobs] == [True] * 4 + [False] * 2
    assert [job.measures_delay for job in jobs] == [True] * 4 + [False] * 2
    due_s = [job.deadline_s - jobs[0].deadline_s for job in jobs]
    assert due_s == pytest.approx([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], abs=0.1)
    assert harness.jobs.finals_waiting == 6
    harness.jobs.cancel(1)
    assert harness.jobs.finals_waiting == 5


async def test_an_answer_arrives_once_on_the_loop() -> None:
    harness = Harness()
    job = harness.ask(7, request(Purpose.FINAL))
    hypothesis = Hypothesis((), "en")
    await asyncio.to_thread(job.callback, hypothesis)
    await asyncio.sleep(0)
    assert harness.answers == [(7, hypothesis)]
    assert harness.jobs.count == 0


async def test_what_was_cancelled_meanwhile_is_not_answered() -> None:
    harness = Harness()
    job = harness.ask(7, request(Purpose.FINAL))
    job.callback(Hypothesis((), "en"))
    harness.jobs.cancel(7)
    harness.jobs.cancel(7)
    await asyncio.sleep(0)
    assert harness.scheduler.cancelled == [job]
    assert harness.answers == []


async def test_a_replaced_job_is_forgotten() -> None:
    harness = Harness()
    harness.scheduler.replaces = harness.ask(1, request(Purpose.PARTIAL))
    harness.ask(2, request(Purpose.PARTIAL))
    assert harness.jobs.count == 1


async def test_a_full_queue_is_an_answer_too() -> None:
    harness = Harness()
    harness.scheduler.full = True
    harness.submit(Recognise(7, "item", 0, request(Purpose.FINAL), 0.0))
    assert harness.answers == []
    await asyncio.sleep(0)
    ((number, outcome),) = harness.answers
    assert number == 7
    assert isinstance(outcome, Overload)


class Waiting(Harness):
    """Its clock can be moved on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        self.now_s = 1000.0
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: self.now_s))

    def ask_final(self, number: int) -> Job:
        job = self.ask(number, request(Purpose.FINAL))
        job.submitted_s = self.now_s
        return job

    def pass_by(self, seconds: float) -> list[int]:
        """The numbers of the jobs that failed for want of an answer."""
        self.now_s += seconds
        before = len(self.answers)
        self.jobs.expire()
        failed = self.answers[before:]
        assert all(isinstance(outcome, Overload) for _, outcome in failed)
        return [number for number, _ in failed]


async def test_a_job_without_an_answer_fails_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Waiting(monkeypatch)
    job = harness.ask_final(1)
    harness.pass_by(30)
    harness.ask_final(2)
    assert harness.pass_by(29) == []
    assert harness.pass_by(2) == [1]
    assert harness.scheduler.cancelled == [job]
    assert harness.pass_by(30) == [2]
    assert harness.jobs.count == 0


async def test_a_session_that_gets_answers_is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large model on a slow machine."""
    harness = Waiting(monkeypatch)
    harness.ask_final(0)
    for number in range(1, 10):
        job = harness.ask_final(number)
        assert harness.pass_by(50) == []
        job.callback(Hypothesis((), "en"))
        await asyncio.sleep(0)
    harness.pass_by(50)
    assert harness.pass_by(50) == [0], "but not for ever: this answer was lost"


async def test_the_background_is_patient(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Waiting(monkeypatch)
    harness.ahead_s = 31.0
    harness.ask_final(1)
    assert harness.pass_by(590) == []
    assert harness.pass_by(20) == [1]


async def test_what_runs_is_watched_by_the_scheduler(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = Waiting(monkeypatch)
    job = harness.ask_final(1)
    harness.scheduler.running.append(job)
    assert harness.pass_by(100) == []
    harness.scheduler.running.clear()
    assert harness.pass_by(1) == [1]


async def test_a_patient_session_submits_again_when_the_queue_was_full(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "RETRY_S", 0.0)
    harness = Harness(is_patient=True)
    harness.scheduler.full = True
    harness.submit(Recognise(7, "item", 0, request(Purpose.FINAL), 0.0))
    await stays(lambda: harness.answers == [])
    harness.scheduler.full = False
    await eventually(lambda: bool(harness.scheduler.submitted))
    (job,) = harness.scheduler.submitted
    assert (job.urgency, job.is_realtime, job.measures_delay) == (Urgency.BACKGROUND, False, True)


async def test_a_patient_session_fails_when_the_scheduler_stops() -> None:
    harness = Harness(is_patient=True)
    job = harness.ask(7, request(Purpose.FINAL))
    job.callback(Stopped())
    await asyncio.sleep(0)
    assert isinstance(harness.failure, Stopped)
    assert harness.answers == []
