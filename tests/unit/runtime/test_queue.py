from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.engines.base import Info
from oyez.runtime.job import Job, Overloaded, Urgency
from oyez.runtime.queue import MAX_BATCH_SAMPLES, Queue
from support.jobs import make_job

FINAL, SPECULATIVE, PARTIAL, BACKGROUND = Urgency


def info(max_batch: int = 1, max_batch_finals: int = 1) -> Info:
    return Info("test", (), 480_000, max_batch, max_batch_finals=max_batch_finals)


def a_queue(*jobs: Job, max_jobs: int = 2000) -> Queue:
    queue = Queue(max_jobs)
    for number, job in enumerate(jobs):
        queue.add(job, float(number))
    return queue


def taken(queue: Queue) -> list[int]:
    """The lengths of all jobs' audio, in the order they are taken one by one."""
    order = []
    while queue:
        (job,) = queue.take(info(), 1)
        order.append(job.samples)
    return order


def test_finals_run_first_then_partials_then_the_background() -> None:
    queue = a_queue(
        make_job(BACKGROUND, owner=1, samples=1, deadline_s=-9),
        make_job(PARTIAL, owner=2, samples=2, deadline_s=3),
        make_job(SPECULATIVE, owner=3, samples=3, deadline_s=2),
        make_job(PARTIAL, owner=4, samples=4, deadline_s=1),
        make_job(FINAL, owner=5, samples=5, deadline_s=9),
        make_job(FINAL, owner=6, samples=6, deadline_s=8),
    )
    assert taken(queue) == [3, 6, 5, 4, 2, 1]


def test_of_jobs_due_together_the_one_asked_first_runs_first() -> None:
    assert taken(a_queue(*[make_job(owner=n, samples=n) for n in (2, 1, 3)])) == [2, 1, 3]


@pytest.mark.parametrize("old", [PARTIAL, SPECULATIVE])
@pytest.mark.parametrize("new", [PARTIAL, SPECULATIVE, FINAL])
def test_what_is_newer_takes_the_place_of_what_is_in_vain(old: Urgency, new: Urgency) -> None:
    waiting = make_job(old, samples=1)
    queue = a_queue(waiting)
    assert queue.add(make_job(new, samples=2), 1.0) == (waiting, None)
    assert waiting not in queue
    assert taken(queue) == [2]


@pytest.mark.parametrize("new", [PARTIAL, SPECULATIVE, FINAL])
def test_a_definite_final_stays_whatever_comes(new: Urgency) -> None:
    queue = a_queue(make_job(FINAL, samples=1))
    assert queue.add(make_job(new, samples=2), 1.0) == (None, None)
    assert taken(queue) == [1, 2]


@pytest.mark.parametrize("stranger", [{"owner": "other"}, {"segment": 7}])
def test_jobs_of_other_speakers_or_segments_are_not_replaced(stranger: dict[str, object]) -> None:
    queue = a_queue(make_job(PARTIAL, samples=1))
    assert queue.add(make_job(PARTIAL, samples=2, **stranger), 1.0)[0] is None  # type: ignore[arg-type]
    assert len(queue) == 2


def test_a_partial_keeps_the_deadline_of_the_one_it_replaces() -> None:
    new = make_job(PARTIAL, deadline_s=9)
    queue = a_queue(make_job(PARTIAL, deadline_s=1), new)
    assert (new.deadline_s, new.first_requested_s, new.submitted_s) == (1, 0, 1)
    assert len(queue) == 1


def test_a_partial_keeps_the_deadline_across_a_short_pause() -> None:
    pause, resumed = make_job(SPECULATIVE, deadline_s=5), make_job(PARTIAL, deadline_s=9)
    a_queue(make_job(PARTIAL, deadline_s=2), pause, resumed)
    assert (pause.deadline_s, resumed.deadline_s, resumed.first_requested_s) == (5, 2, 0)


def test_a_partial_inherits_nothing_from_a_speculative_final_alone() -> None:
    resumed = make_job(PARTIAL, deadline_s=9)
    a_queue(make_job(SPECULATIVE, deadline_s=5), resumed)
    assert (resumed.deadline_s, resumed.first_requested_s) == (9, 1)


def test_what_was_taken_or_removed_is_replaced_no_more() -> None:
    first, second = make_job(PARTIAL), make_job(PARTIAL)
    queue = a_queue(first)
    assert queue.take(info(), 1) == [first]
    assert queue.add(second, 1.0) == (None, None)
    assert queue.remove(second)
    assert not queue.remove(second)
    assert queue.add(make_job(PARTIAL), 2.0) == (None, None)


def test_partials_share_a_batch_of_bounded_size_and_audio() -> None:
    queue = a_queue(*[make_job(PARTIAL, owner=n, samples=16_000) for n in range(10)])
    assert len(queue.take(info(max_batch=4), 1)) == 4
    queue = a_queue(*[make_job(PARTIAL, owner=n, samples=4 * 16_000) for n in range(10)])
    assert len(queue.take(info(max_batch=16), 1)) == 3


def test_a_single_job_may_be_longer_than_a_batch() -> None:
    queue = a_queue(make_job(PARTIAL, samples=MAX_BATCH_SAMPLES + 1))
    assert len(queue.take(info(max_batch=16), 1)) == 1


def test_a_batch_has_one_purpose_and_finals_are_batched_as_the_engine_says() -> None:
    jobs = [
        make_job(urgency, owner=(urgency, n))
        for n in range(3)
        for urgency in (PARTIAL, SPECULATIVE, FINAL, BACKGROUND)
    ]
    queue = a_queue(*jobs)
    batches = [queue.take(info(16, 2), 1) for _ in range(6)]
    assert [[job.urgency for job in batch] for batch in batches] == [
        [SPECULATIVE, FINAL],
        [SPECULATIVE, FINAL],
        [SPECULATIVE, FINAL],
        [PARTIAL, PARTIAL, PARTIAL],
        [BACKGROUND, BACKGROUND],
        [BACKGROUND],
    ]
    assert len(a_queue(*jobs).take(info(16), 1)) == 1


def test_no_live_job_shares_a_batch_with_the_background() -> None:
    live, background = make_job(FINAL), make_job(BACKGROUND, owner="file")
    queue = a_queue(live, background)
    assert queue.take(info(16, 16), 1) == [live]
    assert queue.take(info(16, 16), 1) == [background]


def test_first_words_do_not_wait_for_a_long_neighbour() -> None:
    short, long = make_job(PARTIAL, samples=6_000), make_job(PARTIAL, owner=2, samples=10 * 16_000)
    similar = make_job(PARTIAL, owner=3, samples=4 * 16_000)
    assert a_queue(short, long, similar).take(info(8), 1) == [short, similar]


@pytest.mark.parametrize(("waiting", "idle", "share"), [(1, 2, 1), (2, 2, 1), (3, 2, 2), (9, 3, 3)])
def test_idle_workers_share_what_waits(waiting: int, idle: int, share: int) -> None:
    queue = a_queue(*[make_job(PARTIAL, owner=n) for n in range(waiting)])
    assert len(queue.take(info(8), idle)) == share


def test_a_full_queue_refuses_and_changes_nothing() -> None:
    queue = a_queue(make_job(FINAL), max_jobs=1)
    for urgency in (FINAL, PARTIAL):
        with pytest.raises(Overloaded):
            queue.add(make_job(urgency, owner="late"), 1.0)
    assert len(queue) == 1
    queue = a_queue(make_job(PARTIAL, owner="a"), max_jobs=1)
    with pytest.raises(Overloaded):
        queue.add(make_job(PARTIAL, owner="b"), 1.0)


def test_a_full_queue_takes_what_replaces() -> None:
    queue = a_queue(make_job(PARTIAL, samples=1), make_job(PARTIAL, owner=2, samples=2), max_jobs=2)
    queue.add(make_job(PARTIAL, owner=2, samples=3), 1.0)
    assert taken(queue) == [1, 3]


def test_a_final_pushes_out_the_least_urgent_partial() -> None:
    soon, late = make_job(PARTIAL, owner=1, deadline_s=1), make_job(PARTIAL, owner=2, deadline_s=2)
    queue = a_queue(late, soon, max_jobs=2)
    assert queue.add(make_job(FINAL, owner=3), 2.0) == (None, late)
    assert soon in queue


def test_a_full_queue_takes_a_final_from_the_owner_with_most() -> None:
    flood = [make_job(FINAL, owner="flood", deadline_s=n, segment=n) for n in range(3)]
    modest = make_job(FINAL, owner="modest", deadline_s=99)
    queue = a_queue(*flood, modest, max_jobs=4)
    assert queue.add(make_job(FINAL, owner="new", deadline_s=99), 4.0) == (None, flood[2])
    with pytest.raises(Overloaded):
        queue.add(make_job(FINAL, owner="flood", segment=4), 5.0)
    with pytest.raises(Overloaded):
        queue.add(make_job(PARTIAL, owner="late"), 6.0)
    assert len(queue) == 4


def test_a_full_queue_takes_from_the_tenant_with_most_for_its_weight() -> None:
    crowd = [make_job(FINAL, owner=n, tenant="crowd", deadline_s=n) for n in range(3)]
    pair = [make_job(FINAL, owner="p", segment=n, tenant="pair") for n in range(2)]
    new = make_job(FINAL, owner="new", tenant="new")
    assert a_queue(*crowd, *pair, max_jobs=5).add(new, 5.0) == (None, crowd[2])
    queue = Queue(5, weight=lambda tenant: 9.0 if tenant == "crowd" else 1.0)
    for job in (*crowd, *pair):
        queue.add(job, 0.0)
    assert queue.add(new, 5.0)[1] in pair


def test_a_partial_evicts_a_partial_of_an_owner_with_more() -> None:
    many = [make_job(PARTIAL, owner="many", segment=n, deadline_s=n) for n in range(2)]
    queue = a_queue(make_job(FINAL, owner="many", segment=9, deadline_s=99), *many, max_jobs=3)
    assert queue.add(make_job(PARTIAL, owner="new"), 3.0) == (None, many[1])


def test_a_flood_of_finals_leaves_turns_to_the_partials_of_others() -> None:
    queue = a_queue(*[make_job(FINAL, owner="flood", segment=n, samples=1) for n in range(500)])
    partial = make_job(PARTIAL, owner="speaker", deadline_s=9)
    queue.add(partial, 0.0)
    taken_before = 0
    while partial in queue:
        queue.take(info(), 1)
        taken_before += 1
    assert taken_before < 150


def test_files_are_fair_among_each_other() -> None:
    queue = a_queue(
        *[make_job(BACKGROUND, owner="long", segment=n, samples=160_000) for n in range(20)],
        make_job(BACKGROUND, owner="short", samples=1, deadline_s=5),
    )
    assert 1 in taken(queue)[:8]


def test_the_lateness_of_the_queue_counts_only_jobs_with_deadlines() -> None:
    queue = a_queue(
        make_job(BACKGROUND, owner=1, deadline_s=-100),
        make_job(FINAL, owner=4, deadline_s=-100, measures_delay=False),
    )
    assert queue.overdue_s(10.0) == 0.0
    queue.add(make_job(PARTIAL, owner=2, deadline_s=9), 0.0)
    queue.add(make_job(SPECULATIVE, owner=3, deadline_s=7), 0.0)
    assert queue.overdue_s(10.0) == 3.0
    assert queue.overdue_s(6.0) == 0.0


def test_a_long_queue_is_quick() -> None:
    jobs = [make_job(PARTIAL, owner=n % 1024, deadline_s=n * 37 % 97) for n in range(2048)]
    began_s = time.perf_counter()
    queue = a_queue(*jobs)
    assert len(queue) == 1024
    queue.take(info(16), 1)
    assert time.perf_counter() - began_s < 0.5, "a scan for each job would take seconds"


kinds = st.tuples(
    st.sampled_from(list(Urgency)), st.integers(0, 5), st.floats(0, 9), st.integers(1, 300_000)
)


@given(st.lists(kinds, max_size=40), st.integers(1, 8), st.integers(1, 4), st.integers(1, 3))
def test_any_queue_is_emptied_live_first_and_of_each_owner_most_urgent_first(
    kinds: list[tuple[Urgency, int, float, int]], max_batch: int, finals: int, idle: int
) -> None:
    jobs = [
        make_job(urgency, owner=owner, deadline_s=deadline_s, samples=samples)
        for urgency, owner, deadline_s, samples in kinds
    ]
    queue = Queue(100)
    replaced = [queue.add(job, float(number))[0] for number, job in enumerate(jobs)]
    left = {job for job in jobs if job not in replaced}
    while queue:
        batch = queue.take(info(max_batch, finals), idle)
        assert set(batch) <= left, "taken twice, or replaced"
        first = batch[0]
        of_owner = [job for job in left if job.owner == first.owner]
        live = [job for job in of_owner if not job.is_background]
        assert first.order() == min(job.order() for job in live or of_owner)
        assert not first.is_background or all(job.is_background for job in left)
        assert len({job.is_partial for job in batch}) == 1
        assert len(batch) == 1 or sum(job.samples for job in batch) <= MAX_BATCH_SAMPLES
        left -= set(batch)
    assert not left, "lost"
