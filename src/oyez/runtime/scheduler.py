"""Runs recognition jobs on the engine: one bounded queue for all sessions, batched and fair, most
urgent first.

It uses threads and no event loop. Every submitted job ends in exactly one way (`End`), which the
observers are notified of. The job's callback is called unless the job was cancelled or replaced.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from enum import Enum
from itertools import product

from oyez.engines.base import Purpose, Recogniser, RecognitionError
from oyez.metrics import Metrics
from oyez.runtime.job import (
    EngineLost,
    EngineUnavailable,
    Job,
    Outcome,
    Overloaded,
    Stopped,
    Urgency,
)
from oyez.runtime.queue import Queue
from oyez.runtime.watched_engine import MAX_LOSSES, WatchedEngine, audio_s

LIVE_S = 10.0
"""For this long after the last live job, more of them are expected."""
RESTART_POLL_S = 0.1
RECOVER_S = 1.0
"""How long a worker waits after a failure, so that a lasting fault does not use a whole core."""

log = logging.getLogger(__name__)


class End(Enum):
    """How a job ended."""

    ANSWERED = "answered"
    REPLACED = "replaced"
    CANCELLED = "cancelled"
    EVICTED = "evicted"
    """Removed from a full queue in favour of an owner with fewer jobs, or of a final."""
    REFUSED = "refused"
    """The queue was full."""
    STOPPED = "stopped"
    GIVEN_UP = "given_up"
    """The engine did not answer in time, or an internal error lost the answer. The outcome is a
    RecognitionError."""


class Observer:
    """Notified of what the scheduler does, from any thread. Its methods must return quickly; these
    do nothing. Times are those of `time.monotonic`."""

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """Called after each call of the engine."""

    def ended(self, job: Job, end: End, now_s: float) -> None:
        """Called once for each job."""


BATCH_KINDS = (*(purpose.value for purpose in Purpose), "background")
"""What the jobs of a batch are for, as the label `kind` of metrics names it."""


class JobMetrics(Observer):
    """Updates the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        by_urgency = (metrics.jobs_waiting, metrics.job_wait, metrics.job_late)
        by_kind = (metrics.batch_run, metrics.batch_jobs, metrics.batch_audio)
        for urgency in Urgency:
            for metric in by_urgency:
                metric.labels(urgency.label)
            for end in End:
                metrics.jobs_ended.labels(urgency.label, end.value)
        for metric, kind in product(by_kind, BATCH_KINDS):
            metric.labels(kind)

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """Record a call of the engine and how long its jobs waited."""
        for job in batch:
            self._metrics.job_wait.labels(job.urgency.label).observe(began_s - job.submitted_s)
        kind = "background" if batch[0].is_background else batch[0].request.purpose.value
        self._metrics.batch_run.labels(kind).observe(ended_s - began_s)
        self._metrics.batch_jobs.labels(kind).observe(len(batch))
        self._metrics.batch_audio.labels(kind).observe(audio_s(batch))

    def ended(self, job: Job, end: End, now_s: float) -> None:
        """Record how a job ended, and how late its answer was."""
        self._metrics.jobs_ended.labels(job.urgency.label, end.value).inc()
        if end is End.ANSWERED:
            late_s = max(0.0, now_s - job.deadline_s)
            self._metrics.job_late.labels(job.urgency.label).observe(late_s)


class Scheduler:
    """As many worker threads as the engine can run calls at the same time, all on one engine."""

    def __init__(
        self,
        recogniser: Recogniser,
        *observers: Observer,
        max_waiting: int = 1024,
        weight: Callable[[Hashable], float] = lambda tenant: 1.0,
        call_s: float = 0.0,
    ) -> None:
        """weight: of a tenant, see `Fairness`; it must return quickly. call_s: how long a call with
        some seconds of audio takes on this machine; 0 if unknown."""
        self.engine = WatchedEngine(recogniser, call_s)
        """The engine. While it is not up, jobs wait."""
        self._observers = observers
        self._queue = Queue(max_waiting, weight)
        self._running: set[Job] = set()
        """Jobs in the engine whose answer is still wanted. Removing a job from it decides how the
        job ends."""
        self._idle_workers = recogniser.info.parallel
        self._last_live_s = -math.inf
        """When the last live job was submitted."""
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
        """The number of jobs that have not begun."""
        with self._changed:
            return len(self._queue)

    def waiting_with(self, urgency: Urgency) -> int:
        """Return the number of jobs of this urgency that have not begun."""
        with self._changed:
            return self._queue.count(urgency)

    @property
    def running(self) -> int:
        """The number of jobs in the engine whose answer is still wanted."""
        with self._changed:
            return len(self._running)

    def is_running(self, job: Job) -> bool:
        """Return whether the job is in the engine and its answer is still wanted."""
        with self._changed:
            return job in self._running

    @property
    def overdue_s(self) -> float:
        """How far the most overdue waiting job is past its deadline; 0 if none is."""
        with self._changed:
            return self._queue.overdue_s(time.monotonic())

    def check(self) -> None:
        """Give up calls that take too long: their jobs end with a RecognitionError, and the engine
        is restarted if possible. Call this every CHECK_S."""
        late = self.engine.late_calls()
        for call in late:
            fields = {
                "after_s": round(call.checked_s, 1),
                "jobs": len(call.jobs),
                "audio_s": round(audio_s(call.jobs), 1),
            }
            log.error("the engine does not answer", extra={"fields": fields})
            error = RecognitionError("the engine did not answer in time")
            self._end_running(call.jobs, error, End.GIVEN_UP)
        if late:
            self.engine.restart()

    def submit(self, job: Job) -> Job | None:
        """Queue a job. Returns the waiting job that it replaced, if any; that one has ended.

        If the queue is full, `Queue.add` may evict another job, whose outcome is then Overloaded.

        Raises:
            Overloaded: the queue is full and no job could be evicted.
            Stopped: `stop` has been called.
        """
        try:
            with self._changed:
                if self._stopping:
                    raise Stopped("the server is shutting down")
                now_s = time.monotonic()
                replaced, evicted = self._queue.add(job, now_s)
                if not job.is_background:
                    self._last_live_s = now_s
                self._changed.notify()
        except (Overloaded, Stopped) as refusal:
            self._notify_ended(job, End.REFUSED if isinstance(refusal, Overloaded) else End.STOPPED)
            raise
        if replaced is not None:
            self._notify_ended(replaced, End.REPLACED)
        if evicted is not None:
            self._finish(evicted, Overloaded("pushed out of a full queue"), End.EVICTED)
        return replaced

    def cancel(self, job: Job) -> None:
        """Cancel a job. A waiting job leaves the queue; the answer of a running one is
        discarded."""
        with self._changed:
            pending = self._queue.remove(job) or job in self._running
            self._running.discard(job)
        if pending:
            self._notify_ended(job, End.CANCELLED)

    def stop(self, timeout_s: float) -> bool:
        """End waiting jobs with Stopped, and end the threads.

        Returns False if a worker was still in the engine after `timeout_s`.
        """
        with self._changed:
            self._stopping = True
            abandoned = self._queue.clear()
            self._changed.notify_all()
        for job in abandoned:
            self._finish(job, Stopped("the server is shutting down"), End.STOPPED)
        give_up_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, give_up_s - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    def _work(self) -> None:
        """Run in a worker's thread. No exception ends it, because recognition would stop."""
        while True:
            batch: list[Job] = []
            try:
                batch = self._next_batch()
                if not batch:
                    return
                self._run(batch)
            except BaseException:
                log.exception("a worker of the engine failed", extra={"rate_limit": True})
                self._end_running(batch, RecognitionError("internal error"), End.GIVEN_UP)
                time.sleep(RECOVER_S)
            finally:
                if batch:
                    with self._changed:
                        self._idle_workers += 1

    def _run(self, batch: Sequence[Job]) -> None:
        """Answer every job of a batch. Jobs of turns that were in the engine when it ended run
        alone after the others, because they may have been the cause."""
        alone = [job for job in batch if self.engine.losses(job)]
        together = [job for job in batch if job not in alone]
        if together:
            try:
                outcomes = self._recognise(together)
            except EngineLost as lost:
                if not isinstance(lost, EngineUnavailable):
                    self.engine.count_losses(together)
                alone = [*together, *alone]
            else:
                for job, outcome in zip(together, outcomes, strict=True):
                    self._end_running([job], outcome, End.ANSWERED)
        for job in alone:
            self._end_running([job], self._recognise_alone(job), End.ANSWERED)

    def _recognise(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Call the engine once. Raises EngineLost."""
        began_s = time.monotonic()
        outcomes = self.engine.recognise(jobs)
        ended_s = time.monotonic()
        self._notify(lambda observer: observer.ran(jobs, began_s, ended_s))
        return outcomes

    def _recognise_alone(self, job: Job) -> Outcome:
        """Run a job whose turn was in the engine when it ended. A final is tried once more, when
        the engine is up again. A partial is not, and neither is a turn with which the engine ended
        MAX_LOSSES times."""
        if job.is_partial or self.engine.losses(job) >= MAX_LOSSES:
            return EngineLost("the engine ended while it worked on this turn")
        while self._is_wanted_when_up(job):
            try:
                (outcome,) = self._recognise([job])
            except EngineUnavailable:
                continue
            except EngineLost as lost:
                self.engine.count_losses([job])
                return lost
            self.engine.forget_losses(job)
            return outcome
        return EngineUnavailable("the answer is not wanted any more")

    def _is_wanted_when_up(self, job: Job) -> bool:
        """Wait until the engine is up. Returns whether the job is still wanted then."""
        with self._changed:
            while not (self.engine.is_up or self._stopping) and job in self._running:
                self._changed.wait(RESTART_POLL_S)
            return not self._stopping and job in self._running

    def _next_batch(self) -> list[Job]:
        """Wait for work. Returns an empty list when the scheduler stops."""
        with self._changed:
            while not (self._stopping or self._may_take()):
                # nothing notifies that no live jobs are expected any more, or that the engine is up
                longest_s = LIVE_S if self.engine.is_up else RESTART_POLL_S
                self._changed.wait(longest_s if self._queue else None)
            if self._stopping:
                return []
            batch = self._queue.take(self.engine.info, self._idle_workers)
            self._idle_workers -= 1
            self._running.update(batch)
            return batch

    def _may_take(self) -> bool:
        """Return whether there is work for one more worker. While live jobs are expected, the last
        idle worker takes no background jobs: a batch cannot be interrupted, and one of background
        jobs may take a second."""
        if not self._queue or not self.engine.is_up:
            return False
        if self._queue.has_live:
            return True
        is_spare = self._idle_workers > 1 or len(self._threads) == 1
        return is_spare or time.monotonic() - self._last_live_s >= LIVE_S

    def _end_running(self, jobs: Sequence[Job], outcome: Outcome, end: End) -> None:
        """End those of the jobs that have not ended otherwise meanwhile."""
        for job in jobs:
            with self._changed:
                is_wanted = job in self._running
                self._running.discard(job)
            if is_wanted:
                self._finish(job, outcome, end)

    def _finish(self, job: Job, outcome: Outcome, end: End) -> None:
        self._notify_ended(job, end)
        try:
            job.callback(outcome)
        except Exception:
            log.exception("a job's callback raised")

    def _notify_ended(self, job: Job, end: End) -> None:
        now_s = time.monotonic()
        self._notify(lambda observer: observer.ended(job, end, now_s))

    def _notify(self, call: Callable[[Observer], None]) -> None:
        """Call every observer. Their exceptions are logged, so that they affect no job."""
        for observer in self._observers:
            try:
                call(observer)
            except Exception:
                log.exception("an observer raised", extra={"rate_limit": True})
