from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.engines.base import Hypothesis
from oyez.runtime.job import End, Job, Observer, Outcome, Overloaded, Stopped, Urgency
from oyez.runtime.scheduler import Scheduler
from oyez.testing import FakeRecogniser
from support.jobs import make_job
from support.waiting import wait_until


class Witness(Observer):
    """An observer that remembers."""

    def __init__(self) -> None:
        self.ends: list[tuple[Job, End]] = []
        self.batches: list[Sequence[Job]] = []

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        assert began_s <= ended_s
        self.batches.append(batch)

    def ended(self, job: Job, end: End, now_s: float) -> None:
        self.ends.append((job, end))

    def end_of(self, job: Job) -> list[End]:
        return [end for other, end in self.ends if other is job]


class Harness:
    """A scheduler whose engine is held, so that what waits can be arranged at leisure."""

    def __init__(self, *, max_batch: int = 1, max_waiting: int = 100) -> None:
        self.engine = FakeRecogniser(max_batch=max_batch)
        self.engine.may_answer.clear()
        self.witness = Witness()
        self.scheduler = Scheduler(self.engine, self.witness, max_waiting=max_waiting)
        self.plug = make_job(owner="plug", samples=1)
        self.scheduler.submit(self.plug)
        wait_until(lambda: self.scheduler.running == 1)

    def release(self) -> list[int]:
        """Let everything run; the lengths of the requests in the order they ran."""
        self.engine.may_answer.set()
        wait_until(lambda: self.scheduler.waiting == 0 and self.scheduler.running == 0)
        return [len(request.samples) for request in self.engine.requests[1:]]


@pytest.fixture
def held() -> Iterator[Harness]:
    harness = Harness(max_waiting=3)
    yield harness
    harness.engine.may_answer.set()
    assert harness.scheduler.stop(5.0)


def test_the_most_urgent_job_runs_first(held: Harness) -> None:
    held.scheduler.submit(make_job(Urgency.BACKGROUND, samples=4, deadline_s=0))
    held.scheduler.submit(make_job(Urgency.PARTIAL, samples=3, deadline_s=2, owner=2))
    held.scheduler.submit(make_job(Urgency.FINAL, samples=1, owner=3, deadline_s=9))
    assert held.release() == [1, 3, 4]


def test_a_speculative_final_that_waits_is_not_overtaken_by_partials(held: Harness) -> None:
    """When its turn ends it is the final, and is not submitted again: with the rank of a partial it
    would wait behind every partial of an earlier deadline."""
    held.scheduler.submit(make_job(Urgency.SPECULATIVE, samples=2, deadline_s=5))
    held.scheduler.submit(make_job(Urgency.PARTIAL, owner=2, samples=3, deadline_s=1))
    held.scheduler.submit(make_job(Urgency.FINAL, owner=3, samples=1, deadline_s=4))
    assert held.release() == [1, 2, 3]


def test_a_replaced_job_is_handed_back_and_never_answered(held: Harness) -> None:
    answers: list[Outcome] = []
    old = make_job(Urgency.PARTIAL, samples=1, callback=answers.append)
    new = make_job(Urgency.PARTIAL, samples=2)
    assert held.scheduler.submit(old) is None
    assert held.scheduler.submit(new) is old
    assert held.release() == [2]
    assert not answers
    assert held.witness.end_of(old) == [End.REPLACED]
    assert held.witness.end_of(new) == [End.ANSWERED]


def test_a_running_job_is_not_replaced(held: Harness) -> None:
    assert held.scheduler.submit(make_job(Urgency.PARTIAL, owner="plug")) is None
    held.release()
    assert held.witness.end_of(held.plug) == [End.ANSWERED]


def test_a_cancelled_job_leaves_the_queue_at_once(held: Harness) -> None:
    answers: list[Outcome] = []
    job = make_job(callback=answers.append)
    held.scheduler.submit(job)
    held.scheduler.cancel(job)
    held.scheduler.cancel(job)
    assert held.scheduler.waiting == 0
    assert held.release() == []
    assert answers == []
    assert held.witness.end_of(job) == [End.CANCELLED]


def test_the_answer_of_a_job_cancelled_while_it_runs_is_discarded(held: Harness) -> None:
    answers: list[Outcome] = []
    held.plug.callback = answers.append
    held.scheduler.cancel(held.plug)
    assert held.scheduler.running == 0
    held.engine.may_answer.set()
    wait_until(lambda: bool(held.witness.batches))
    assert held.scheduler.stop(5.0)
    assert answers == []
    assert held.witness.ends == [(held.plug, End.CANCELLED)]


def test_a_full_queue_refuses_but_for_a_final_that_finds_a_partial(held: Harness) -> None:
    pushed: list[Outcome] = []
    partial = make_job(Urgency.PARTIAL, samples=9, callback=pushed.append)
    finals = [make_job(owner=n, samples=n) for n in range(1, 5)]
    for job in (partial, *finals[:3]):
        held.scheduler.submit(job)
    assert [type(outcome) for outcome in pushed] == [Overloaded]
    assert held.witness.end_of(partial) == [End.EVICTED]
    with pytest.raises(Overloaded):
        held.scheduler.submit(finals[3])
    assert held.witness.end_of(finals[3]) == [End.REFUSED]
    assert held.release() == [1, 2, 3]


def test_how_late_what_waits_is(held: Harness) -> None:
    assert held.scheduler.overdue_s == 0.0
    held.scheduler.submit(make_job(deadline_s=time.monotonic() - 5.0))
    assert held.scheduler.overdue_s == pytest.approx(5.0, abs=1.0)


def test_stopping_answers_what_waits(held: Harness) -> None:
    answers: list[Outcome] = []
    job = make_job(callback=answers.append)
    held.scheduler.submit(job)
    assert not held.scheduler.stop(0.01)
    assert [type(outcome) for outcome in answers] == [Stopped]
    assert held.witness.end_of(job) == [End.STOPPED]
    late = make_job()
    with pytest.raises(Stopped):
        held.scheduler.submit(late)
    assert held.witness.end_of(late) == [End.STOPPED]


def test_a_raising_callback_does_not_stop_the_worker(held: Harness) -> None:
    def explode(outcome: Outcome) -> None:
        raise RuntimeError("callback")

    answered = threading.Event()
    held.scheduler.submit(make_job(callback=explode, deadline_s=1))
    held.scheduler.submit(make_job(callback=lambda outcome: answered.set(), deadline_s=2))
    held.release()
    assert answered.wait(5.0)


def test_an_engine_gets_as_many_calls_at_once_as_it_takes() -> None:
    engine = FakeRecogniser(max_batch=1, parallel=3)
    engine.may_answer.clear()
    scheduler = Scheduler(engine)
    for number in range(5):
        scheduler.submit(make_job(owner=number))
    wait_until(lambda: scheduler.running == 3)
    assert scheduler.waiting == 2
    engine.may_answer.set()
    wait_until(lambda: scheduler.waiting == 0 and scheduler.running == 0)
    assert scheduler.stop(5.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "submit", "submit", "cancel", "hold", "run"]),
        st.sampled_from(list(Urgency)),
        st.integers(0, 3),  # owner
        st.integers(0, 2),  # segment
        st.integers(1, 400_000),  # samples
    ),
    max_size=60,
)


@settings(max_examples=80, deadline=None)
@given(
    steps=steps,
    max_batch=st.integers(1, 5),
    max_waiting=st.integers(1, 20),
    parallel=st.integers(1, 3),
    finish=st.booleans(),
)
def test_every_job_ends_in_exactly_one_way(
    steps: list[tuple[str, Urgency, int, int, int]],
    max_batch: int,
    max_waiting: int,
    parallel: int,
    finish: bool,
) -> None:
    engine = FakeRecogniser(max_batch=max_batch, parallel=parallel)
    witness = Witness()
    scheduler = Scheduler(engine, witness, max_waiting=max_waiting)
    called: Counter[Job] = Counter()
    submitted: list[Job] = []
    for action, urgency, owner, segment, samples in steps:
        if action == "hold":
            engine.may_answer.clear()
        elif action == "run":
            engine.may_answer.set()
        elif action == "cancel" and submitted:
            scheduler.cancel(submitted[samples % len(submitted)])
        elif action == "submit":
            job = make_job(urgency, owner=owner, segment=segment, samples=samples)
            job.callback = counter(called, job)
            submitted.append(job)
            try:
                scheduler.submit(job)
            except Overloaded:
                assert witness.end_of(job) == [End.REFUSED]
    if finish:
        engine.may_answer.set()
        wait_until(lambda: scheduler.waiting == 0 and scheduler.running == 0)
    stopping = threading.Thread(target=scheduler.stop, args=(5.0,))
    stopping.start()
    engine.may_answer.set()
    stopping.join()
    check_ends(witness, called, submitted)


def check_ends(witness: Witness, called: Counter[Job], submitted: Sequence[Job]) -> None:
    assert Counter(job for job, _ in witness.ends) == Counter(submitted), "lost, or ended twice"
    for job, end in witness.ends:
        assert called[job] == (end in (End.ANSWERED, End.EVICTED, End.STOPPED)), end


def counter(called: Counter[Job], job: Job) -> Callable[[Outcome], None]:
    return lambda outcome: called.update([job])


def test_many_owners_and_workers_at_once_lose_nothing() -> None:
    witness = Witness()
    scheduler = Scheduler(FakeRecogniser(max_batch=4, parallel=3), witness)
    called: Counter[Job] = Counter()
    submitted: list[Job] = []

    def submit_many(owner: int) -> None:
        for number in range(200):
            urgency = list(Urgency)[(owner + number) % 4]
            job = make_job(urgency, owner=owner, segment=number // 3, samples=8000)
            job.callback = counter(called, job)
            submitted.append(job)
            scheduler.submit(job)
            if number % 7 == 0:
                scheduler.cancel(job)

    threads = [threading.Thread(target=submit_many, args=(owner,)) for owner in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    wait_until(lambda: scheduler.waiting == 0 and scheduler.running == 0)
    assert scheduler.stop(5.0)
    check_ends(witness, called, submitted)


def test_each_job_gets_its_own_answer() -> None:
    scheduler = Scheduler(FakeRecogniser(max_batch=4, parallel=2))
    texts: dict[int, str] = {}

    def keep(number: int) -> Callable[[Outcome], None]:
        def callback(outcome: Outcome) -> None:
            assert isinstance(outcome, Hypothesis)
            texts[number] = outcome.text

        return callback

    for number in range(100):
        samples = 8000 * (1 + number % 3)
        scheduler.submit(make_job(owner=number, samples=samples, callback=keep(number)))
    wait_until(lambda: len(texts) == 100)
    words = [" one", " one two", " one two three"]
    assert texts == {number: words[number % 3] for number in range(100)}
    assert scheduler.stop(5.0)
