"""Feeds the engines: one bounded queue for all sessions, batched, most urgent first.

Threads only, no event loop. Every submitted job ends in exactly one way: its callback is
called with the outcome, it is cancelled, or a newer partial takes its place.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from enum import IntEnum

from oyez.inference.worker import Outcome, run_batch
from oyez.recognisers.base import SAMPLE_RATE, Purpose, Recogniser, Request

Observe = Callable[[str, float], None]
"""Takes a figure's name and value: `wait_s`, `run_s`, `batch_jobs`, `run_audio_s`."""

MAX_BATCH_SAMPLES = 40 * SAMPLE_RATE
"""Most audio in a batch of several jobs: what is urgent waits for at most one such batch."""

log = logging.getLogger(__name__)


class Urgency(IntEnum):
    """Lower runs first."""

    FINAL = 0
    SPECULATIVE = 1
    PARTIAL = 2
    BACKGROUND = 3
    """Of a session whose audio comes much faster than anybody speaks: nobody is waiting live."""


class Overloaded(Exception):
    """Too many jobs are waiting; this one was not, or is no longer, among them."""


class Stopped(Exception):
    """The scheduler has been stopped; the job was not run."""


@dataclass(slots=True, eq=False)
class Job:
    """One request on its way. Compared by identity."""

    owner: Hashable
    """Whose job it is: the session."""
    item: Hashable
    """Which turn of the owner; a newer partial of the same turn replaces a waiting one."""
    request: Request
    urgency: Urgency
    deadline_s: float
    """When the answer is wanted, on `time.monotonic`: earlier ones run first."""
    callback: Callable[[Outcome], None]
    """Called once, from a worker thread; must be quick."""
    submitted_s: float = 0.0

    def order(self) -> tuple[int, float, float]:
        return (self.urgency, self.deadline_s, self.submitted_s)

    def batches_with(self, other: Job) -> bool:
        """Whether running both together costs little: the shorter one is padded to the longer.

        A final never waits for a partial's decoding, nor anybody live for the background.
        """
        if self.request.purpose is not other.request.purpose:
            return False
        if (self.urgency is Urgency.BACKGROUND) is not (other.urgency is Urgency.BACKGROUND):
            return False
        short, long = sorted((len(self.request.samples), len(other.request.samples)))
        return long <= max(1.5 * short, short + SAMPLE_RATE)


class Scheduler:
    """As many worker threads as the engine takes calls at once, all on the same engine."""

    def __init__(
        self,
        recogniser: Recogniser,
        *,
        max_waiting: int = 1024,
        observe: Observe = lambda name, value: None,
    ) -> None:
        self._recogniser = recogniser
        self._max_waiting = max_waiting
        self._observe = observe
        self._waiting: list[Job] = []
        self._running: set[Job] = set()
        self._stopping = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._work, name=f"recogniser-{number}", daemon=True)
            for number in range(recogniser.info.parallel)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Jobs that have not begun."""
        with self._changed:
            return len(self._waiting)

    @property
    def running(self) -> int:
        """Jobs in an engine now whose answer is still wanted."""
        with self._changed:
            return len(self._running)

    def submit(self, job: Job) -> Job | None:
        """Queue a job. Returns the waiting partial it took the place of, if any.

        When the queue is full, a final pushes out the least urgent partial, whose callback
        gets Overloaded. Raises Overloaded when there is none to push out, Stopped after `stop`.
        """
        evicted: Job | None = None
        with self._changed:
            if self._stopping:
                raise Stopped("the server is shutting down")
            job.submitted_s = time.monotonic()
            replaced = self._replace(job)
            if replaced is None and len(self._waiting) >= self._max_waiting:
                evicted = self._evict_for(job)
            self._waiting.append(job)
            self._changed.notify()
        if evicted is not None:
            _answer(evicted, Overloaded("pushed out by a final"))
        return replaced

    def cancel(self, job: Job) -> None:
        """Forget a job: it leaves the queue at once; if it is running, its answer is discarded."""
        with self._changed:
            if job in self._waiting:
                self._waiting.remove(job)
            self._running.discard(job)

    def stop(self, timeout_s: float) -> bool:
        """Answer waiting jobs with Stopped and end the threads.

        Returns False when an engine was still busy after `timeout_s`.
        """
        with self._changed:
            self._stopping = True
            abandoned, self._waiting = self._waiting, []
            self._changed.notify_all()
        for job in abandoned:
            _answer(job, Stopped("the server is shutting down"))
        give_up_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _replace(self, job: Job) -> Job | None:
        if job.urgency is not Urgency.PARTIAL:
            return None
        for old in self._waiting:
            if (old.owner, old.item, old.urgency) == (job.owner, job.item, job.urgency):
                self._waiting.remove(old)
                # the turn keeps its place: else a busy machine would put it off for ever
                job.deadline_s = min(job.deadline_s, old.deadline_s)
                return old
        return None

    def _evict_for(self, job: Job) -> Job:
        partials = [old for old in self._waiting if old.request.purpose is Purpose.PARTIAL]
        if not partials or job.request.purpose is Purpose.PARTIAL:
            raise Overloaded(f"{len(self._waiting)} jobs are waiting")
        worst = max(partials, key=Job.order)
        self._waiting.remove(worst)
        return worst

    def _work(self) -> None:
        while batch := self._next_batch():
            began_s = time.monotonic()
            for job in batch:
                self._observe("wait_s", began_s - job.submitted_s)
            outcomes = run_batch(self._recogniser, [job.request for job in batch])
            self._observe("run_s", time.monotonic() - began_s)
            self._observe("batch_jobs", len(batch))
            self._observe("run_audio_s", sum(len(j.request.samples) for j in batch) / SAMPLE_RATE)
            for job, outcome in zip(batch, outcomes, strict=True):
                if self._leaves(job):
                    _answer(job, outcome)

    def _next_batch(self) -> list[Job]:
        """Wait for work. Empty when the scheduler stops."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._stopping:
                return []
            self._waiting.sort(key=Job.order)
            batch = _batch(self._waiting, self._recogniser.info.max_batch)
            self._waiting = [job for job in self._waiting if job not in batch]
            self._running.update(batch)
            return batch

    def _leaves(self, job: Job) -> bool:
        """Whether the answer is still wanted; taking a job out decides between two ends."""
        with self._changed:
            wanted = job in self._running
            self._running.discard(job)
            return wanted


def _batch(waiting: Sequence[Job], max_batch: int) -> list[Job]:
    """The most urgent job, and those that may run with it."""
    first = waiting[0]
    batch: list[Job] = []
    samples = 0
    for job in waiting:
        samples += len(job.request.samples)
        fits = not batch or (samples <= MAX_BATCH_SAMPLES and len(batch) < max_batch)
        if fits and first.batches_with(job):
            batch.append(job)
        else:
            samples -= len(job.request.samples)
    return batch


def _answer(job: Job, outcome: Outcome) -> None:
    try:
        job.callback(outcome)
    except Exception:
        log.exception("a job's callback raised")
