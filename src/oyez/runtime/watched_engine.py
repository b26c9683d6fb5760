"""The engine as the scheduler calls it: how long calls run, which turns were in it as it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Info, Recogniser
from oyez.runtime.job import Job
from oyez.runtime.worker import Outcome, run_batch

CALL_S = 10.0
CALL_FACTOR = 10.0
"""A call may last CALL_S, and CALL_FACTOR times both its audio and the time that a call of the
trial at the start took. A small model on a quiet machine needs a hundredth of that, a large one on
a slow machine a tenth: what lasts longer does not come back by itself."""
CHECK_S = 1.0
"""How often `late_calls` is to be called."""
MOST_CHECKED_S = 2 * CHECK_S
"""A check counts no more time than this. When the whole process stood still (a suspended machine, a
debugger), the calls stood still too."""
MOST_LOSSES = 2
"""A turn in whose calls the engine ended so often is not tried again."""
MOST_REMEMBERED = 1024


@runtime_checkable
class Restartable(Protocol):
    """A recogniser whose engine can be ended while it works, and is started anew then."""

    @property
    def is_up(self) -> bool:
        """Whether calls are possible now."""
        ...

    @property
    def is_lost(self) -> bool:
        """Whether it could not be started again, and nobody tries any more."""
        ...

    def restart(self) -> None:
        """End the engine. Every call that runs raises EngineLost."""
        ...


@dataclass(slots=True, eq=False)
class RunningCall:
    """One call of the engine."""

    jobs: Sequence[Job]
    limit_s: float
    checked_s: float = 0.0
    """How long it has run, as far as `WatchedEngine.late_calls` counted."""

    @property
    def over_s(self) -> float:
        """How far it is over its limit; negative while it is within."""
        return self.checked_s - self.limit_s


class WatchedEngine:
    """Thread-safe."""

    def __init__(self, recogniser: Recogniser, call_s: float) -> None:
        """call_s: how long a call of some seconds of audio takes on this machine; 0: unknown."""
        self._recogniser = recogniser
        self._restartable = recogniser if isinstance(recogniser, Restartable) else None
        self._call_s = call_s
        self._lock = threading.Lock()
        self._calls: set[RunningCall] = set()
        self._checked_s = time.monotonic()
        self._losses: dict[Hashable, int] = {}
        """How often an engine has ended with a job of this turn in it; the latest turns."""

    @property
    def info(self) -> Info:
        return self._recogniser.info

    @property
    def is_up(self) -> bool:
        """Whether it can be called now."""
        return self._restartable is None or self._restartable.is_up

    @property
    def is_lost(self) -> bool:
        """Whether it will not come back."""
        return self._restartable is not None and self._restartable.is_lost

    @property
    def stuck_s(self) -> float:
        """For how long a call has been over its limit; 0: none is."""
        with self._lock:
            return max(0.0, max((call.over_s for call in self._calls), default=0.0))

    def recognise(self, jobs: Sequence[Job]) -> list[Outcome]:
        """One call. Raises EngineLost."""
        call = RunningCall(jobs, CALL_S + CALL_FACTOR * (audio_s(jobs) + self._call_s))
        with self._lock:
            self._calls.add(call)
        try:
            return run_batch(self._recogniser, [job.request for job in jobs])
        finally:
            with self._lock:
                self._calls.discard(call)

    def late_calls(self) -> list[RunningCall]:
        """Those that are over their limit, each once; the engine is ended then, where it can be
        started anew. To be called every CHECK_S."""
        with self._lock:
            now_s = time.monotonic()
            passed_s = min(now_s - self._checked_s, MOST_CHECKED_S)
            self._checked_s = now_s
            within = [call for call in self._calls if call.over_s <= 0]
            for call in self._calls:
                call.checked_s += passed_s
            return [call for call in within if call.over_s > 0]

    def restart(self) -> None:
        """End it, where it can be started anew."""
        if self._restartable:
            self._restartable.restart()

    def losses(self, job: Job) -> int:
        """How often the engine has ended while it worked on this job's turn, since it last
        answered one of its jobs."""
        with self._lock:
            return self._losses.get(job.turn, 0)

    def count_losses(self, jobs: Sequence[Job]) -> None:
        """The engine has ended while it worked on these."""
        with self._lock:
            for job in jobs:
                self._losses[job.turn] = self._losses.pop(job.turn, 0) + 1
            while len(self._losses) > MOST_REMEMBERED:
                del self._losses[next(iter(self._losses))]

    def forget_losses(self, job: Job) -> None:
        """It has answered one of the turn's jobs: the turn is not at fault."""
        with self._lock:
            self._losses.pop(job.turn, None)


def audio_s(jobs: Sequence[Job]) -> float:
    """How much audio the jobs have together."""
    return sum(job.samples for job in jobs) / SAMPLE_RATE
