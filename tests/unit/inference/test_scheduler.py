from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.inference.scheduler import Job, Overloaded, Scheduler, Stopped, Urgency
from oyez.inference.worker import Outcome
from oyez.recognisers.base import Hypothesis, Purpose, Request
from oyez.testing import FakeRecogniser


def make_job(
    urgency: Urgency = Urgency.FINAL,
    *,
    owner: object = "owner",
    item: object = "item",
    samples: int = 16000,
    deadline_s: float = 0.0,
    callback: Callable[[Outcome], None] = lambda outcome: None,
) -> Job:
    purpose = Purpose.PARTIAL if urgency is Urgency.PARTIAL else Purpose.FINAL
    request = Request(np.zeros(samples, np.float32), purpose)
    return Job(owner, item, request, urgency, deadline_s, callback)


class Harness:
    """A scheduler whose engine is held, so that what waits can be arranged at leisure."""

    def __init__(self, *, max_batch: int = 1, max_waiting: int = 100) -> None:
        self.engine = FakeRecogniser(max_batch=max_batch)
        self.engine.may_answer.clear()
        self.figures: list[str] = []
        self.scheduler = Scheduler(
            self.engine,
            max_waiting=max_waiting,
            observe=lambda name, value: self.figures.append(name),
        )
        self.plug = make_job(samples=1)
        self.scheduler.submit(self.plug)
        wait_until(lambda: self.scheduler.running == 1)

    def release(self) -> list[int]:
        """Let everything run; the lengths of the requests in the order they ran."""
        self.engine.may_answer.set()
        wait_until(lambda: self.scheduler.waiting == 0 and self.scheduler.running == 0)
        return [len(request.samples) for request in self.engine.requests[1:]]


def wait_until(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    give_up_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < give_up_s, "waited too long"
        time.sleep(0.001)


@pytest.fixture
def held() -> Iterator[Harness]:
    harness = Harness()
    yield harness
    harness.engine.may_answer.set()
    assert harness.scheduler.stop(5.0)


def test_finals_run_before_speculative_finals_before_partials(held: Harness) -> None:
    held.scheduler.submit(make_job(Urgency.PARTIAL, samples=3, deadline_s=1))
    held.scheduler.submit(make_job(Urgency.SPECULATIVE, samples=2, deadline_s=2))
    held.scheduler.submit(make_job(Urgency.FINAL, samples=1, deadline_s=3))
    assert held.release() == [1, 2, 3]


def test_the_earliest_deadline_runs_first(held: Harness) -> None:
    for deadline_s in (3, 1, 2):
        held.scheduler.submit(make_job(samples=deadline_s, deadline_s=deadline_s))
    assert held.release() == [1, 2, 3]


def test_a_newer_partial_takes_the_place_of_the_waiting_one(held: Harness) -> None:
    old = make_job(Urgency.PARTIAL, samples=1, deadline_s=1)
    other = make_job(Urgency.PARTIAL, samples=2, deadline_s=2, item="other")
    new = make_job(Urgency.PARTIAL, samples=3, deadline_s=9)
    assert held.scheduler.submit(old) is None
    assert held.scheduler.submit(other) is None
    assert held.scheduler.submit(new) is old
    assert held.release() == [3, 2]


def test_a_partial_replaces_no_final_and_no_stranger(held: Harness) -> None:
    held.scheduler.submit(make_job(Urgency.FINAL, samples=1))
    held.scheduler.submit(make_job(Urgency.PARTIAL, samples=2, owner="stranger"))
    assert held.scheduler.submit(make_job(Urgency.PARTIAL, samples=3)) is None


def test_a_cancelled_job_leaves_the_queue_at_once(held: Harness) -> None:
    answers: list[Outcome] = []
    job = make_job(callback=answers.append)
    held.scheduler.submit(job)
    held.scheduler.cancel(job)
    assert held.scheduler.waiting == 0
    assert held.release() == []
    assert answers == []


def test_the_answer_of_a_job_cancelled_while_it_runs_is_discarded() -> None:
    engine = FakeRecogniser()
    engine.may_answer.clear()
    scheduler = Scheduler(engine)
    answers: list[Outcome] = []
    job = make_job(callback=answers.append)
    scheduler.submit(job)
    wait_until(lambda: scheduler.running == 1)
    scheduler.cancel(job)
    assert scheduler.running == 0
    engine.may_answer.set()
    assert scheduler.stop(5.0)
    assert answers == []


def test_a_full_queue_refuses() -> None:
    held = Harness(max_waiting=1)
    held.scheduler.submit(make_job())
    with pytest.raises(Overloaded):
        held.scheduler.submit(make_job())
    with pytest.raises(Overloaded):
        held.scheduler.submit(make_job(Urgency.PARTIAL))
    held.release()
    held.scheduler.stop(5.0)


def test_a_final_pushes_the_least_urgent_partial_out_of_a_full_queue() -> None:
    held = Harness(max_waiting=2)
    pushed: list[Outcome] = []
    held.scheduler.submit(make_job(Urgency.PARTIAL, item=1, samples=11, deadline_s=1))
    held.scheduler.submit(
        make_job(Urgency.PARTIAL, item=2, samples=12, deadline_s=2, callback=pushed.append)
    )
    held.scheduler.submit(make_job(Urgency.FINAL, samples=13))
    assert [type(outcome) for outcome in pushed] == [Overloaded]
    assert held.release() == [13, 11]
    held.scheduler.stop(5.0)


def test_requests_of_similar_length_share_a_batch() -> None:
    held = Harness(max_batch=3)
    for samples in (160_000, 170_000, 480_000, 165_000, 162_000):
        held.scheduler.submit(make_job(samples=samples))
    held.scheduler.submit(make_job(Urgency.PARTIAL, samples=160_000))
    held.release()
    assert held.engine.batch_sizes == [1, 3, 1, 1, 1]
    assert set(held.figures) == {"wait_s", "run_s", "batch_jobs", "run_audio_s"}
    held.scheduler.stop(5.0)


def test_a_batch_carries_a_bounded_length_of_audio() -> None:
    held = Harness(max_batch=16)
    for _ in range(5):
        held.scheduler.submit(make_job(samples=15 * 16_000))
    held.release()
    assert held.engine.batch_sizes == [1, 2, 2, 1]
    held.scheduler.stop(5.0)


def test_the_background_waits_for_everything_live_and_never_shares_its_batch() -> None:
    held = Harness(max_batch=16)
    held.scheduler.submit(make_job(Urgency.BACKGROUND, samples=16_001, deadline_s=-9))
    held.scheduler.submit(make_job(Urgency.PARTIAL, samples=16_002))
    held.scheduler.submit(make_job(Urgency.FINAL, samples=16_003))
    assert held.release() == [16_003, 16_002, 16_001]
    held.scheduler.stop(5.0)


def test_stopping_answers_what_waits(held: Harness) -> None:
    answers: list[Outcome] = []
    held.scheduler.submit(make_job(callback=answers.append))
    assert not held.scheduler.stop(0.01)
    assert [type(outcome) for outcome in answers] == [Stopped]
    with pytest.raises(Stopped):
        held.scheduler.submit(make_job())


def test_a_raising_callback_does_not_stop_the_worker(held: Harness) -> None:
    def explode(outcome: Outcome) -> None:
        raise RuntimeError("callback")

    answered = threading.Event()
    held.scheduler.submit(make_job(callback=explode, deadline_s=1))
    held.scheduler.submit(make_job(callback=lambda outcome: answered.set(), deadline_s=2))
    held.release()
    assert answered.wait(5.0)


steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "submit", "submit", "cancel"]),
        st.sampled_from(list(Urgency)),
        st.integers(0, 3),  # owner
        st.integers(0, 2),  # item
        st.integers(1, 400_000),  # samples
        st.booleans(),  # hold or let run
    ),
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(steps=steps, max_batch=st.integers(1, 5), max_waiting=st.integers(1, 20))
def test_every_job_ends_in_exactly_one_way(
    steps: list[tuple[str, Urgency, int, int, int, bool]], max_batch: int, max_waiting: int
) -> None:
    engine = FakeRecogniser(max_batch=max_batch)
    scheduler = Scheduler(engine, max_waiting=max_waiting)
    answered: Counter[Job] = Counter()
    withdrawn: Counter[Job] = Counter()
    submitted: list[Job] = []
    for action, urgency, owner, item, samples, run in steps:
        engine.may_answer.set() if run else engine.may_answer.clear()
        if action == "cancel" and submitted:
            job = submitted[samples % len(submitted)]
            scheduler.cancel(job)
            withdrawn[job] += not answered[job]
            continue
        job = make_job(urgency, owner=owner, item=item, samples=samples)
        job.callback = answer_counter(answered, job)
        try:
            replaced = scheduler.submit(job)
        except Overloaded:
            continue
        submitted.append(job)
        if replaced is not None:
            withdrawn[replaced] += 1
    engine.may_answer.set()
    wait_until(lambda: scheduler.waiting == 0 and scheduler.running == 0)
    assert scheduler.stop(5.0)
    assert all(answered[job] <= 1 for job in submitted), "answered twice"
    assert all(answered[job] or withdrawn[job] for job in submitted), "lost"
    assert set(answered) <= set(submitted) | set(withdrawn), "answered a refused job"


def answer_counter(answered: Counter[Job], job: Job) -> Callable[[Outcome], None]:
    return lambda outcome: answered.update([job])


def test_parallel_owners_all_get_their_answers() -> None:
    scheduler = Scheduler(FakeRecogniser(max_batch=4))
    texts: dict[tuple[int, int], str] = {}
    done = threading.Event()

    def submit_many(owner: int) -> None:
        for number in range(50):

            def keep(outcome: Outcome, key: tuple[int, int] = (owner, number)) -> None:
                assert isinstance(outcome, Hypothesis)
                texts[key] = outcome.text
                if len(texts) == 400:
                    done.set()

            scheduler.submit(make_job(owner=owner, item=number, samples=8000, callback=keep))

    threads = [threading.Thread(target=submit_many, args=(owner,)) for owner in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done.wait(10.0)
    assert set(texts.values()) == {" one"}
    assert scheduler.stop(5.0)


def test_an_engine_gets_as_many_calls_at_once_as_it_takes() -> None:
    engine = FakeRecogniser(max_batch=1, parallel=3)
    engine.may_answer.clear()
    scheduler = Scheduler(engine)
    for number in range(5):
        scheduler.submit(make_job(item=number))
    wait_until(lambda: scheduler.running == 3)
    assert scheduler.waiting == 2
    engine.may_answer.set()
    wait_until(lambda: scheduler.waiting == 0 and scheduler.running == 0)
    assert scheduler.stop(5.0)
