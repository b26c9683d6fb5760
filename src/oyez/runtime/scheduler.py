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
from dataclasses import dataclass

from oyez.engines.base import Recogniser, RecognitionError
from oyez.runtime.engine import Restartable, run_batch
from oyez.runtime.job import (
    End,
    EngineLost,
    EngineUnavailable,
    Job,
    Observer,
    Outcome,
    Overloaded,
    Stopped,
    Urgency,
    audio_s,
)
from oyez.runtime.queue import Queue

LIVE_S = 10.0
"""For this long after the last live job, more of them are expected."""
RESTART_POLL_S = 0.1
RECOVER_S = 1.0
"""How long a worker waits after a failure, so that a lasting fault does not use a whole core."""
CALL_S = 10.0
CALL_FACTOR = 10.0
"""A call may take CALL_S plus CALL_FACTOR times both the length of its audio and the time of a call
in the trial at the start. A small model on an idle machine needs 1 % of that, a large one on a slow
machine 10 %. A call that takes longer will not return."""
CHECK_S = 1.0
"""How often `Scheduler.check` must be called."""
MAX_CHECKED_S = 2 * CHECK_S
"""Most time that one check counts. If the whole process was stopped (a suspended machine, a
debugger), the calls were stopped too."""
MAX_LOSSES = 2
"""If the engine ended this many times during calls with a turn, the turn is not tried again."""
MAX_REMEMBERED_TURNS = 1024

log = logging.getLogger(__name__)


@dataclass(slots=True, eq=False)
class _Call:
    """A call of the engine that has not returned."""

    jobs: Sequence[Job]
    limit_s: float
    checked_s: float = 0.0
    """How long it has run, as counted by `Scheduler.check`."""


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
        self._recogniser = recogniser
        self._restartable = recogniser if isinstance(recogniser, Restartable) else None
        self._call_s = call_s
        self._calls: set[_Call] = set()
        self._checked_s = time.monotonic()
        self._losses: dict[Hashable, int] = {}
        """How often the engine ended during calls with a turn since it last answered the turn
        alone, for the latest such turns."""
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

    @property
    def is_up(self) -> bool:
        """Whether the engine can be called now. While it cannot, jobs wait."""
        return self._restartable is None or self._restartable.is_up

    @property
    def is_lost(self) -> bool:
        """Whether the engine has ended and will not restart."""
        return self._restartable is not None and self._restartable.is_lost

    @property
    def stuck_s(self) -> float:
        """How long a call of the engine has been over its time limit; 0 if none is."""
        with self._changed:
            return max([0.0, *(call.checked_s - call.limit_s for call in self._calls)])

    def check(self) -> None:
        """Give up calls that take too long: their jobs end with a RecognitionError, and the engine
        is restarted if possible. Call this every CHECK_S."""
        with self._changed:
            now_s = time.monotonic()
            passed_s = min(now_s - self._checked_s, MAX_CHECKED_S)
            self._checked_s = now_s
            within = [call for call in self._calls if call.checked_s <= call.limit_s]
            for call in self._calls:
                call.checked_s += passed_s
        late = [call for call in within if call.checked_s > call.limit_s]
        for call in late:
            fields = {
                "after_s": round(call.checked_s, 1),
                "jobs": len(call.jobs),
                "audio_s": round(audio_s(call.jobs), 1),
            }
            log.error("the engine does not answer", extra={"fields": fields})
            error = RecognitionError("the engine did not answer in time")
            self._end_running(call.jobs, error, End.GIVEN_UP)
        if late and self._restartable:
            self._restartable.restart()

    def submit(self, job: Job) -> Job | None:
        """Queue a job. Returns the waiting job that it replaced, if any; that one has ended.

        If the queue is full, `Queue.add` may evict another job, whose outcome is then Overloaded.
        Raises Overloaded if none could be evicted, and Stopped after `stop`.
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
        """End waiting jobs with Stopped, and end the threads. Returns False if a worker was still
        in the engine after `timeout_s`."""
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
        alone = [job for job in batch if job.turn in self._losses]
        together = [job for job in batch if job not in alone]
        if together:
            try:
                outcomes = self._recognise(together)
            except EngineLost as lost:
                if not isinstance(lost, EngineUnavailable):
                    self._count_losses(together)
                alone = [*together, *alone]
            else:
                for job, outcome in zip(together, outcomes, strict=True):
                    self._end_running([job], outcome, End.ANSWERED)
        for job in alone:
            self._end_running([job], self._recognise_alone(job), End.ANSWERED)

    def _recognise(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Call the engine once. Raises EngineLost."""
        call = _Call(jobs, CALL_S + CALL_FACTOR * (audio_s(jobs) + self._call_s))
        with self._changed:
            self._calls.add(call)
        began_s = time.monotonic()
        try:
            outcomes = run_batch(self._recogniser, [job.request for job in jobs])
        finally:
            with self._changed:
                self._calls.discard(call)
        ended_s = time.monotonic()
        self._notify(lambda observer: observer.ran(jobs, began_s, ended_s))
        return outcomes

    def _recognise_alone(self, job: Job) -> Outcome:
        """Run a job whose turn was in the engine when it ended. A final is tried once more, when
        the engine is up again. A partial is not, and neither is a turn with which the engine ended
        MAX_LOSSES times."""
        if job.is_partial or self._losses.get(job.turn, 0) >= MAX_LOSSES:
            return EngineLost("the engine ended while it worked on this turn")
        while self._is_wanted_when_up(job):
            try:
                (outcome,) = self._recognise([job])
            except EngineUnavailable:
                continue
            except EngineLost as lost:
                self._count_losses([job])
                return lost
            with self._changed:
                self._losses.pop(job.turn, None)
            return outcome
        return EngineUnavailable("the answer is not wanted any more")

    def _count_losses(self, jobs: Sequence[Job]) -> None:
        with self._changed:
            for job in jobs:
                self._losses[job.turn] = self._losses.pop(job.turn, 0) + 1
            while len(self._losses) > MAX_REMEMBERED_TURNS:
                del self._losses[next(iter(self._losses))]

    def _is_wanted_when_up(self, job: Job) -> bool:
        """Wait until the engine is up. Returns whether the job is still wanted then."""
        with self._changed:
            while not (self.is_up or self._stopping) and job in self._running:
                self._changed.wait(RESTART_POLL_S)
            return not self._stopping and job in self._running

    def _next_batch(self) -> list[Job]:
        """Wait for work. Returns an empty list when the scheduler stops."""
        with self._changed:
            while not (self._stopping or self._may_take()):
                # nothing notifies that no live jobs are expected any more, or that the engine is up
                longest_s = LIVE_S if self.is_up else RESTART_POLL_S
                self._changed.wait(longest_s if self._queue else None)
            if self._stopping:
                return []
            batch = self._queue.take(self._recogniser.info, self._idle_workers)
            self._idle_workers -= 1
            self._running.update(batch)
            return batch

    def _may_take(self) -> bool:
        """Return whether there is work for one more worker. While live jobs are expected, the last
        idle worker takes no background jobs: a batch cannot be interrupted, and one of background
        jobs may take a second."""
        if not self._queue or not self.is_up:
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
