"""Feeds the engine: one bounded queue for all sessions, batched, fair and most urgent first.

Threads only, no event loop. Every submitted job ends in exactly one way (`End`); observers are
told which, and its callback is called unless it was cancelled or replaced.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from typing import Protocol

from oyez.inference.job import Job, Overloaded, Stopped, Urgency
from oyez.inference.queue import Queue
from oyez.inference.worker import Outcome, run_batch
from oyez.recognisers.base import Recogniser

LIVE_S = 10.0
"""So long after its last job a live session is taken to go on."""

log = logging.getLogger(__name__)


class End(Enum):
    """How a job ended."""

    ANSWERED = "answered"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EVICTED = "evicted"
    """Pushed out of a full queue by a job of somebody who has fewer, or by a final."""
    REFUSED = "refused"
    """The queue was full."""
    STOPPED = "stopped"


class Observer(Protocol):
    """Is told what happens, from any thread; must be quick. Times are `time.monotonic`."""

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """One call of the engine."""

    def ended(self, job: Job, end: End, now_s: float) -> None:
        """One job, once."""


class Scheduler:
    """As many worker threads as the engine takes calls at once, all on the same engine."""

    def __init__(
        self,
        recogniser: Recogniser,
        *observers: Observer,
        max_waiting: int = 1024,
        weight: Callable[[Hashable], float] = lambda tenant: 1.0,
    ) -> None:
        """weight: of a tenant: see `Fairness`; must be quick."""
        self._recogniser = recogniser
        self._observers = observers
        self._queue = Queue(max_waiting, weight)
        self._running: set[Job] = set()
        self._idle_workers = recogniser.info.parallel
        self._live_at_s = -math.inf
        """When the last job came that is not of the background."""
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
            return len(self._queue)

    def waiting_with(self, urgency: Urgency) -> int:
        """Jobs of this urgency that have not begun."""
        with self._changed:
            return self._queue.count(urgency)

    @property
    def running(self) -> int:
        """Jobs in an engine now whose answer is still wanted."""
        with self._changed:
            return len(self._running)

    @property
    def overdue_s(self) -> float:
        """How far what waits is behind its deadline; 0 if nothing is."""
        with self._changed:
            return self._queue.overdue_s(time.monotonic())

    def submit(self, job: Job) -> Job | None:
        """Queue a job. Returns the waiting one it took the place of, if any: that is forgotten.

        When the queue is full, a job is pushed out of it if `Queue.add` finds one: its callback
        gets Overloaded. Raises Overloaded when there is none to push out, Stopped after `stop`.
        """
        try:
            with self._changed:
                if self._stopping:
                    raise Stopped("the server is shutting down")
                now_s = time.monotonic()
                replaced, evicted = self._queue.add(job, now_s)
                if not job.is_background:
                    self._live_at_s = now_s
                self._changed.notify()
        except (Overloaded, Stopped) as refusal:
            self._tell(job, End.REFUSED if isinstance(refusal, Overloaded) else End.STOPPED)
            raise
        if replaced is not None:
            self._tell(replaced, End.REPLACED)
        if evicted is not None:
            self._answer(evicted, Overloaded("pushed out of a full queue"), End.EVICTED)
        return replaced

    def cancel(self, job: Job) -> None:
        """Forget a job: it leaves the queue at once; if it is running, its answer is discarded."""
        with self._changed:
            pending = self._queue.remove(job) or job in self._running
            self._running.discard(job)
        if pending:
            self._tell(job, End.CANCELLED)

    def stop(self, timeout_s: float) -> bool:
        """Answer waiting jobs with Stopped and end the threads.

        Returns False when an engine was still busy after `timeout_s`.
        """
        with self._changed:
            self._stopping = True
            abandoned = self._queue.clear()
            self._changed.notify_all()
        for job in abandoned:
            self._answer(job, Stopped("the server is shutting down"), End.STOPPED)
        give_up_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        while batch := self._next_batch():
            began_s = time.monotonic()
            outcomes = run_batch(self._recogniser, [job.request for job in batch])
            ended_s = time.monotonic()
            for observer in self._observers:
                observer.ran(batch, began_s, ended_s)
            for job, outcome in zip(batch, outcomes, strict=True):
                if self._leaves(job):
                    self._answer(job, outcome, End.ANSWERED)
            with self._changed:
                self._idle_workers += 1

    def _next_batch(self) -> list[Job]:
        """Wait for work. Empty when the scheduler stops."""
        with self._changed:
            while not (self._stopping or self._may_take()):
                self._changed.wait(LIVE_S if self._queue else None)
            if self._stopping:
                return []
            batch = self._queue.take(self._recogniser.info, self._idle_workers)
            self._idle_workers -= 1
            self._running.update(batch)
            return batch

    def _may_take(self) -> bool:
        """Whether there is work for one more worker. The last one is kept free for those who
        speak: a batch cannot be taken back, and one of the background may last a second."""
        if not self._queue or self._queue.has_live:
            return bool(self._queue)
        is_spare = self._idle_workers > 1 or len(self._threads) == 1
        return is_spare or time.monotonic() - self._live_at_s >= LIVE_S

    def _leaves(self, job: Job) -> bool:
        """Whether the answer is still wanted; taking a job out decides between two ends."""
        with self._changed:
            wanted = job in self._running
            self._running.discard(job)
            return wanted

    def _answer(self, job: Job, outcome: Outcome, end: End) -> None:
        self._tell(job, end)
        try:
            job.callback(outcome)
        except Exception:
            log.exception("a job's callback raised")

    def _tell(self, job: Job, end: End) -> None:
        now_s = time.monotonic()
        for observer in self._observers:
            observer.ended(job, end, now_s)
