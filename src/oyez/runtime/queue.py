"""What waits for the engine: bounded, and fair to all who wait. Not thread-safe: see the
scheduler."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from itertools import islice

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Info
from oyez.runtime.fairness import Fairness
from oyez.runtime.job import Job, Overloaded, Urgency

MAX_BATCH_SAMPLES = 12 * SAMPLE_RATE
"""Most audio in a batch of several jobs. Its answers come together at the end, and whatever becomes
urgent meanwhile waits for it: some 150 ms."""


class Queue:
    """Jobs that have not begun."""

    def __init__(
        self, max_jobs: int, weight: Callable[[Hashable], float] = lambda tenant: 1.0
    ) -> None:
        """weight: of a tenant: see `Fairness`."""
        self._max_jobs = max_jobs
        self._weight = weight
        self._live_fairness = Fairness(weight)
        self._background_fairness = Fairness(weight)
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

        When the queue is full, the tenant with the most jobs for its weight loses one, of its
        owner with the most: the least urgent. A partial pushes out partials only, and only of those
        that have more than its own owner; a final pushes out any job of these, or else a partial.
        Raises Overloaded when there is none to push out; nothing has changed then.
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
        """The job whose turn it is and those that may run with it, as many as leave the other idle
        workers their share. Empty only when nothing waits."""
        live = [job for job in self._jobs if job.urgency is not Urgency.BACKGROUND]
        fairness = self._live_fairness if live else self._background_fairness
        waiting = fairness.arrange(live or self._jobs)
        if not waiting:
            return []
        first = waiting[0]
        most = info.max_batch if first.is_partial else info.max_batch_finals
        may_join = (job for job in waiting if job.runs_with(first))
        shared = list(islice(may_join, most * idle_workers))
        batch = _fill(shared, math.ceil(len(shared) / idle_workers))
        for job in batch:
            fairness.serve(job)
            self.remove(job)
        if len(batch) == len(waiting):
            fairness.forget()
        return batch

    def overdue_s(self, now_s: float) -> float:
        """How far the most overdue live job is behind its deadline, of those whose delay shows
        something; 0 if none is."""
        due = (job.deadline_s for job in self._jobs if job.tells_delay and not job.is_background)
        return max(0.0, now_s - min(due, default=now_s))

    def _evicted_by(self, job: Job) -> Job | None:
        if len(self._jobs) < self._max_jobs:
            return None
        of_tenants = Counter(old.tenant for old in [*self._jobs, job])
        of_owners = Counter(old.owner for old in [*self._jobs, job])
        parts = {tenant: count / self._weight(tenant) for tenant, count in of_tenants.items()}

        def has(old: Job) -> tuple[float, int]:
            return parts[old.tenant], of_owners[old.owner]

        own = has(job)
        if job.is_partial:
            losers = [old for old in self._jobs if old.is_partial and has(old) > own]
        else:
            losers = [old for old in self._jobs if old.is_partial or has(old) > own]
        if not losers:
            raise Overloaded(f"{len(self._jobs)} jobs are waiting")
        return max(losers, key=lambda old: (has(old), old.order()))


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
