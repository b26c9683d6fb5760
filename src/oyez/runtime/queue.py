"""The jobs that wait for the engine: bounded, and fair to all owners.

It is not thread-safe; the scheduler holds a lock around every call.
"""

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
"""Most audio in a batch of several jobs. The answers of a batch come together, and jobs that become
urgent meanwhile wait for about 150 ms."""


class Queue:
    """Jobs that have not begun."""

    def __init__(
        self, max_jobs: int, weight: Callable[[Hashable], float] = lambda tenant: 1.0
    ) -> None:
        """weight: of a tenant, see `Fairness`."""
        self._max_jobs = max_jobs
        self._weight = weight
        self._live_fairness = Fairness(weight)
        self._background_fairness = Fairness(weight)
        # a set that keeps the order of insertion, which is nearly the order of deadlines
        self._jobs: dict[Job, None] = {}
        self._replaceable: dict[Hashable, Job] = {}

    def __len__(self) -> int:
        return len(self._jobs)

    def __contains__(self, job: Job) -> bool:
        return job in self._jobs

    def count(self, urgency: Urgency) -> int:
        """Return the number of jobs of this urgency."""
        return sum(job.urgency is urgency for job in self._jobs)

    @property
    def has_live(self) -> bool:
        """Whether any waiting job is not a background job."""
        return any(not job.is_background for job in self._jobs)

    def add(self, job: Job, now_s: float) -> tuple[Job | None, Job | None]:
        """Add a job. Returns the job that it replaced and the job that was evicted for it, if any.

        If the queue is full, the least urgent job is evicted, of the tenant with the most jobs for
        its weight and the owner with the most jobs. A partial evicts only a partial of an owner
        with more jobs than its own; a final evicts any job of such an owner, or else a partial.

        Raises:
            Overloaded: the queue is full and no job can be evicted. Nothing has changed then.
        """
        replaced = self._replaceable.get(job.key)
        evicted = self._evicted_by(job) if replaced is None else None
        for removed in (replaced, evicted):
            if removed is not None:
                self.remove(removed)
        job.submit(now_s, replaced)
        self._jobs[job] = None
        if job.is_replaceable:
            self._replaceable[job.key] = job
        return replaced, evicted

    def remove(self, job: Job) -> bool:
        """Remove a job. Returns False if it was not in the queue."""
        if job not in self._jobs:
            return False
        del self._jobs[job]
        if self._replaceable.get(job.key) is job:
            del self._replaceable[job.key]
        return True

    def clear(self) -> list[Job]:
        """Remove and return all jobs."""
        jobs = list(self._jobs)
        self._jobs.clear()
        self._replaceable.clear()
        return jobs

    def take(self, info: Info, idle_workers: int) -> list[Job]:
        """Remove and return the next job and the jobs that run in a batch with it. The batch leaves
        the other idle workers their share. It is empty only if no job waits.

        info: of the engine. idle_workers: at least 1, the caller's worker included.
        """
        live = [job for job in self._jobs if job.urgency is not Urgency.BACKGROUND]
        fairness = self._live_fairness if live else self._background_fairness
        waiting = fairness.arrange(live or self._jobs)
        if not waiting:
            return []
        first = waiting[0]
        limit = info.max_batch if first.is_partial else info.max_batch_finals
        may_join = (job for job in waiting if job.runs_with(first))
        shared = list(islice(may_join, limit * idle_workers))
        batch = _fill(shared, math.ceil(len(shared) / idle_workers))
        for job in batch:
            fairness.serve(job)
            self.remove(job)
        if len(batch) == len(waiting):
            fairness.reset()
        return batch

    def overdue_s(self, now_s: float) -> float:
        """Return how far the most overdue live job is past its deadline, among those with
        `measures_delay`; 0 if none is."""
        due = (job.deadline_s for job in self._jobs if job.measures_delay and not job.is_background)
        return max(0.0, now_s - min(due, default=now_s))

    def _evicted_by(self, job: Job) -> Job | None:
        if len(self._jobs) < self._max_jobs:
            return None
        of_tenants = Counter(old.tenant for old in [*self._jobs, job])
        of_owners = Counter(old.owner for old in [*self._jobs, job])
        parts = {tenant: count / self._weight(tenant) for tenant, count in of_tenants.items()}

        def share(old: Job) -> tuple[float, int]:
            return parts[old.tenant], of_owners[old.owner]

        own = share(job)
        if job.is_partial:
            candidates = [old for old in self._jobs if old.is_partial and share(old) > own]
        else:
            candidates = [old for old in self._jobs if old.is_partial or share(old) > own]
        if not candidates:
            raise Overloaded(f"{len(self._jobs)} jobs are waiting")
        return max(candidates, key=lambda old: (share(old), old.order()))


def _fill(jobs: Sequence[Job], limit: int) -> list[Job]:
    """Return the first job and those of the others that fit, at most `limit` jobs."""
    batch = [jobs[0]]
    samples = jobs[0].samples
    for job in jobs[1:]:
        if len(batch) == limit:
            break
        if samples + job.samples <= MAX_BATCH_SAMPLES:
            batch.append(job)
            samples += job.samples
    return batch
