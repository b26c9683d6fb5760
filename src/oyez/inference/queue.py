"""What waits for the engine: bounded, most urgent first. Not thread-safe: see the scheduler."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from itertools import islice

from oyez.inference.job import Job, Overloaded, Urgency
from oyez.recognisers.base import SAMPLE_RATE, Info

MAX_BATCH_SAMPLES = 12 * SAMPLE_RATE
"""Most audio in a batch of several jobs. Its answers come together at the end, and whatever becomes
urgent meanwhile waits for it: some 150 ms."""


class Queue:
    """Jobs that have not begun."""

    def __init__(self, max_jobs: int) -> None:
        self._max_jobs = max_jobs
        self._jobs: dict[Job, None] = {}  # a set that keeps the order, nearly sorted already
        self._replaceable: dict[Hashable, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job in self._jobs

    def count(self, urgency: Urgency) -> int:
        """How many are of this urgency."""
        return sum(job.urgency is urgency for job in self._jobs)

    @property
    def has_live(self) -> bool:
        """Whether anything waits that is not of the background."""
        return any(not job.is_background for job in self._jobs)

    def add(self, job: Job, now_s: float) -> tuple[Job | None, Job | None]:
        """Let a job wait. Returns the one it replaced and the one it pushed out, if any.

        When the queue is full, a final pushes out the least urgent partial. Raises Overloaded
        when there is none to push out; nothing has changed then.
        """
        replaced = self._replaceable.get(job.key)
        evicted = self._evicted_by(job) if replaced is None else None
        for gone in (replaced, evicted):
            if gone is not None:
                self.remove(gone)
        job.submit(now_s, replaced)
        self._jobs[job] = None
        if job.is_replaceable:
            self._replaceable[job.key] = job
        return replaced, evicted

    def remove(self, job: Job) -> bool:
        """Take a job out. False if it is not in here."""
        if job not in self._jobs:
            return False
        del self._jobs[job]
        if self._replaceable.get(job.key) is job:
            del self._replaceable[job.key]
        return True

    def clear(self) -> list[Job]:
        """Take everything out."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self._replaceable.clear()
        return jobs

    def take(self, info: Info, idle_workers: int) -> list[Job]:
        """The most urgent job and those that may run with it, as many as leave the other idle
        workers their share. Empty only when nothing waits."""
        waiting = sorted(self._jobs, key=Job.order)
        if not waiting:
            return []
        first = waiting[0]
        most = info.max_batch if first.is_partial else info.max_batch_finals
        may_join = (job for job in waiting if job.runs_with(first))
        shared = list(islice(may_join, most * idle_workers))
        batch = _fill(shared, math.ceil(len(shared) / idle_workers))
        for job in batch:
            self.remove(job)
        return batch

    def overdue_s(self, now_s: float) -> float:
        """How far the most overdue live job is behind its deadline; 0 if none is."""
        live = (job.deadline_s for job in self._jobs if not job.is_background)
        return max(0.0, now_s - min(live, default=now_s))

    def _evicted_by(self, job: Job) -> Job | None:
        if len(self._jobs) < self._max_jobs:
            return None
        partials = [] if job.is_partial else [old for old in self._jobs if old.is_partial]
        if not partials:
            raise Overloaded(f"{len(self._jobs)} jobs are waiting")
        return max(partials, key=Job.order)


def _fill(jobs: Sequence[Job], most: int) -> list[Job]:
    batch = [jobs[0]]
    samples = jobs[0].samples
    for job in jobs[1:]:
        if len(batch) == most:
            break
        if samples + job.samples <= MAX_BATCH_SAMPLES:
            batch.append(job)
            samples += job.samples
    return batch
