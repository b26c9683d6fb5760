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
from contextlib import suppress
from enum import Enum
from typing import Protocol

from oyez.engines.base import Recogniser, RecognitionError
from oyez.runtime.job import Job, Overloaded, Stopped, Urgency
from oyez.runtime.queue import Queue
from oyez.runtime.watched_engine import MOST_LOSSES, WatchedEngine, audio_s
from oyez.runtime.worker import EngineAway, EngineLost, Outcome

LIVE_S = 10.0
"""So long after its last job a live session is taken to go on."""
RESTART_POLL_S = 0.1
RECOVER_S = 1.0
"""A worker that has failed waits for so long, so that a lasting fault does not use a whole core."""

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
    GIVEN_UP = "given_up"
    """The engine did not answer in time, or a fault of ours lost the answer: answered with a
    RecognitionError."""


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
        call_s: float = 0.0,
    ) -> None:
        """weight: of a tenant: see `Fairness`; must be quick. call_s: how long a call of some
        seconds of audio takes on this machine; 0: unknown."""
        self._engine = WatchedEngine(recogniser, call_s)
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

    def is_running(self, job: Job) -> bool:
        """Whether it is in an engine now and its answer is still wanted."""
        with self._changed:
            return job in self._running

    @property
    def overdue_s(self) -> float:
        """How far what waits is behind its deadline; 0 if nothing is."""
        with self._changed:
            return self._queue.overdue_s(time.monotonic())

    @property
    def is_up(self) -> bool:
        """Whether the engine can be called now; jobs wait while it cannot."""
        return self._engine.is_up

    @property
    def is_lost(self) -> bool:
        """Whether the engine will not come back."""
        return self._engine.is_lost

    @property
    def stuck_s(self) -> float:
        """For how long a call of the engine has been over its limit; 0: none is."""
        return self._engine.stuck_s

    def check(self) -> None:
        """Give up calls that last too long: their jobs are answered with a RecognitionError, and
        the engine is ended where it can be started anew. To be called every CHECK_S."""
        late = self._engine.late_calls()
        for call in late:
            fields = {
                "after_s": round(call.checked_s, 1),
                "jobs": len(call.jobs),
                "audio_s": round(audio_s(call.jobs), 1),
            }
            log.error("the engine does not answer", extra={"fields": fields})
            self._give_up(call.jobs, RecognitionError("the engine did not answer in time"))
        if late:
            self._engine.restart()

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
        """A worker's thread. No fault ends it: without it nothing would be recognised any more."""
        while True:
            batch: list[Job] = []
            try:
                batch = self._next_batch()
                if not batch:
                    return
                self._run(batch)
            except BaseException:
                log.exception("a worker of the engine failed", extra={"rate_limit": True})
                self._give_up(batch, RecognitionError("internal error"))
                time.sleep(RECOVER_S)
            finally:
                if batch:
                    with self._changed:
                        self._idle_workers += 1

    def _run(self, batch: Sequence[Job]) -> None:
        """Answer every job of it. Those whose turn was in an engine that ended run alone, after the
        others: it may have ended because of them."""
        alone = [job for job in batch if self._engine.losses(job)]
        together = [job for job in batch if job not in alone]
        if together:
            try:
                outcomes = self._recognise(together)
            except EngineLost as lost:
                if not isinstance(lost, EngineAway):
                    self._engine.count_losses(together)
                alone = [*together, *alone]
            else:
                for job, outcome in zip(together, outcomes, strict=True):
                    self._hand_out(job, outcome)
        for job in alone:
            self._hand_out(job, self._recognise_alone(job))

    def _hand_out(self, job: Job, outcome: Outcome) -> None:
        if self._leaves(job):
            self._answer(job, outcome, End.ANSWERED)

    def _recognise(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One call of the engine. Raises EngineLost."""
        began_s = time.monotonic()
        outcomes = self._engine.recognise(jobs)
        ended_s = time.monotonic()
        self._observe(lambda observer: observer.ran(jobs, began_s, ended_s))
        return outcomes

    def _recognise_alone(self, job: Job) -> Outcome:
        """A job whose turn was in an engine that ended. Its final is worth one more attempt; its
        partials are not, and audio that ends engines must not do so again and again."""
        if job.is_partial or self._engine.losses(job) >= MOST_LOSSES:
            return EngineLost("the engine ended while it worked on this turn")
        try:
            (outcome,) = self._recognise_when_up(job)
        except EngineLost as lost:
            self._engine.count_losses([job])
            return lost
        self._engine.forget_losses(job)
        return outcome

    def _recognise_when_up(self, job: Job) -> list[Outcome]:
        """As `_recognise`, once the engine is back. Raises EngineAway when that is of no use any
        more."""
        while True:
            with self._changed:
                while not (self.is_up or self._stopping) and job in self._running:
                    self._changed.wait(RESTART_POLL_S)
                if self._stopping or job not in self._running:
                    raise EngineAway("the answer is not wanted any more")
            with suppress(EngineAway):
                return self._recognise([job])

    def _next_batch(self) -> list[Job]:
        """Wait for work. Empty when the scheduler stops."""
        with self._changed:
            while not (self._stopping or self._may_take()):
                self._changed.wait(self._longest_wait_s)
            if self._stopping:
                return []
            batch = self._queue.take(self._engine.info, self._idle_workers)
            self._idle_workers -= 1
            self._running.update(batch)
            return batch

    @property
    def _longest_wait_s(self) -> float | None:
        """How long nothing but time can change what `_may_take` says; None: for ever."""
        if not self._queue:
            return None
        return LIVE_S if self.is_up else RESTART_POLL_S

    def _may_take(self) -> bool:
        """Whether there is work for one more worker. The last one is kept free for those who
        speak: a batch cannot be taken back, and one of the background may last a second."""
        if not self._queue or not self.is_up:
            return False
        if self._queue.has_live:
            return True
        is_spare = self._idle_workers > 1 or len(self._threads) == 1
        return is_spare or time.monotonic() - self._live_at_s >= LIVE_S

    def _leaves(self, job: Job) -> bool:
        """Whether the answer is still wanted; taking a job out decides between two ends."""
        with self._changed:
            wanted = job in self._running
            self._running.discard(job)
            return wanted

    def _give_up(self, jobs: Sequence[Job], error: RecognitionError) -> None:
        for job in jobs:
            if self._leaves(job):
                self._answer(job, error, End.GIVEN_UP)

    def _answer(self, job: Job, outcome: Outcome, end: End) -> None:
        self._tell(job, end)
        try:
            job.callback(outcome)
        except Exception:
            log.exception("a job's callback raised")

    def _tell(self, job: Job, end: End) -> None:
        now_s = time.monotonic()
        self._observe(lambda observer: observer.ended(job, end, now_s))

    def _observe(self, tell: Callable[[Observer], None]) -> None:
        """Figures must not cost anybody a turn: a fault in them is logged."""
        for observer in self._observers:
            try:
                tell(observer)
            except Exception:
                log.exception("an observer raised", extra={"rate_limit": True})
