"""The jobs that wait for the engine: bounded, and fair to all tenants and owners.

Nothing here is thread-safe; the scheduler holds a lock around every call.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from operator import itemgetter

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Info
from oyez.runtime.job import Job, Overloaded, Urgency

MAX_BATCH_SAMPLES = 12 * SAMPLE_RATE
"""Most audio in a batch of several jobs. The answers of a batch come together, and jobs that become
urgent meanwhile wait for about 150 ms."""
MAX_LEAD = 60.0
"""Owners and tenants with a larger lead, in seconds of audio, are served after all others.
Conversations on a crowded machine have leads of up to half of it."""
POSTPONED_S = 0.02
"""By how many seconds a deadline is postponed for each second of audio of its owner's lead. Without
it, many requests that are due at once would go before one that is due soon."""
TENANT_POSTPONED_S = 1.0
"""The same for the lead of a tenant. It is larger, because a tenant can have many times more
requests, and it does not change the order among the tenant's own requests."""
MAX_RESTING = 1024
"""How many tenants or owners that are ahead, but have nothing waiting, are remembered at each
level."""

Weight = Callable[[Hashable], float]
"""The weight of a tenant, above 0. A tenant of weight 2 gets twice as much as one of weight 1."""


class Fairness:
    """The order of waiting jobs: start-time fair queueing (Goyal, Vin and Cheng, 1996).

    It works at two levels: among tenants (keys), and among the owners (sessions) of each tenant. Of
    two that always have jobs waiting, neither gets much more than the other, however much more it
    requests. Urgency decides as long as none is far ahead of its fair share. The rule needs no
    clock, threads or batches, only what waits, what was served, and the costs.

    Each tenant and owner has a tag: the cost of what it was served so far, divided by its weight.
    One that starts to wait gets at least the lowest tag of those that wait, so that requesting
    nothing saves up no credit. The lead of a tenant or owner is the distance of its tag from the
    lowest.
    """

    def __init__(self, weight: Weight = lambda tenant: 1.0) -> None:
        self._weight = weight
        self._tenants = _Level()
        self._owners: dict[Hashable, _Level] = {}

    def arrange(self, waiting: Iterable[Job]) -> list[Job]:
        """Return all waiting jobs in the order in which they should be served."""
        tenants: dict[Hashable, dict[Hashable, list[Job]]] = {}
        for job in waiting:
            tenants.setdefault(job.tenant, {}).setdefault(job.owner, []).append(job)
        rows: list[tuple[tuple[float, ...], Job]] = []
        for tenant, lead in self._tenants.begin(tenants).items():
            tenant_lead = lead * self._weight(tenant)
            owners, level = tenants[tenant], self._owners.setdefault(tenant, _Level())
            for owner, owner_lead in level.begin(owners).items():
                tenant_excess = max(0.0, tenant_lead - MAX_LEAD)
                owner_excess = max(0.0, owner_lead - MAX_LEAD)
                postponed_s = TENANT_POSTPONED_S * tenant_lead + POSTPONED_S * owner_lead
                for job in owners[owner]:
                    rank, deadline_s, submitted_s = job.order()
                    due_s = deadline_s + postponed_s
                    key = (tenant_excess, owner_excess, rank, due_s, submitted_s, len(rows))
                    rows.append((key, job))
        for tenant in [tenant for tenant in self._owners if tenant not in self._tenants.tags]:
            del self._owners[tenant]
        rows.sort(key=itemgetter(0))
        return [job for _, job in rows]

    def serve(self, job: Job) -> None:
        """Record that a job, one of those just arranged, is served."""
        self._tenants.tags[job.tenant] += job.cost / self._weight(job.tenant)
        self._owners[job.tenant].tags[job.owner] += job.cost

    def reset(self) -> None:
        """Make all equal again, because nothing waits any more."""
        self._tenants = _Level()
        self._owners.clear()


class _Level:
    """Start-time fair queueing among equals."""

    def __init__(self) -> None:
        self.tags: dict[Hashable, float] = {}
        self._lowest = 0.0
        """The virtual time, which never decreases."""

    def begin(self, waiting: Mapping[Hashable, object]) -> dict[Hashable, float]:
        """Return the leads of all that wait now. Others are forgotten unless they are ahead."""
        tags = {name: max(self._lowest, self.tags.get(name, 0.0)) for name in waiting}
        self._lowest = min(tags.values(), default=self._lowest)
        leads = {name: tag - self._lowest for name, tag in tags.items()}
        resting = [
            each for each in self.tags.items() if each[0] not in waiting and each[1] > self._lowest
        ]
        if len(resting) > MAX_RESTING:
            resting = heapq.nlargest(MAX_RESTING, resting, key=itemgetter(1))
        self.tags = tags | dict(resting)
        return leads


class Queue:
    """Jobs that have not begun."""

    def __init__(self, max_jobs: int, weight: Weight = lambda tenant: 1.0) -> None:
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
        Raises Overloaded if no job can be evicted; nothing has changed then.
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
        live = [job for job in self._jobs if not job.is_background]
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
