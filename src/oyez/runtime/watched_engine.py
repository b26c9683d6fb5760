"""Wraps the engine for the scheduler: it tracks how long calls run, and which turns were in the
engine when it ended."""

from __future__ import annotations

import threading
import time
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Info, Recogniser
from oyez.runtime.engine import run_batch
from oyez.runtime.job import Job, Outcome

CALL_S = 10.0
CALL_FACTOR = 10.0
"""A call may take CALL_S plus CALL_FACTOR times both the length of its audio and the time of a call
in the trial at the start. A small model on an idle machine needs 1 % of that, a large one on a slow
machine 10 %. A call that takes longer will not return."""
CHECK_S = 1.0
"""How often `late_calls` must be called."""
MAX_CHECKED_S = 2 * CHECK_S
"""Most time that one check counts. If the whole process was stopped (a suspended machine, a
debugger), the calls were stopped too."""
MAX_LOSSES = 2
"""If the engine ended this many times during calls with a turn, the turn is not tried again."""
MAX_REMEMBERED_TURNS = 1024


@runtime_checkable
class Restartable(Protocol):
    """A recogniser whose engine can be ended during a call, and then starts again."""

    is_up: bool
    """Whether the engine can be called now."""
    is_lost: bool
    """Whether it could not be started again and will not be tried any more."""

    def restart(self) -> None:
        """End the engine. All running calls raise EngineLost."""


@dataclass(slots=True, eq=False)
class RunningCall:
    """One call of the engine that has not returned."""

    jobs: Sequence[Job]
    limit_s: float
    checked_s: float = 0.0
    """How long the call has run, as counted by `WatchedEngine.late_calls`."""

    @property
    def over_s(self) -> float:
        """How far the call is over its time limit; negative while it is not."""
        return self.checked_s - self.limit_s


class WatchedEngine:
    """A recogniser with its running calls. Thread-safe."""

    def __init__(self, recogniser: Recogniser, call_s: float) -> None:
        """call_s: how long a call with some seconds of audio takes on this machine; 0 if
        unknown."""
        self._recogniser = recogniser
        self._restartable = recogniser if isinstance(recogniser, Restartable) else None
        self._call_s = call_s
        self._lock = threading.Lock()
        self._calls: set[RunningCall] = set()
        self._checked_s = time.monotonic()
        self._losses: dict[Hashable, int] = {}
        """How often the engine ended during a call with a turn, for the latest such turns."""

    @property
    def info(self) -> Info:
        """The recogniser's `Info`."""
        return self._recogniser.info

    @property
    def is_up(self) -> bool:
        """Whether the engine can be called now."""
        return self._restartable is None or self._restartable.is_up

    @property
    def is_lost(self) -> bool:
        """Whether the engine has ended and will not restart."""
        return self._restartable is not None and self._restartable.is_lost

    @property
    def stuck_s(self) -> float:
        """How long a call has been over its time limit; 0 if none is."""
        with self._lock:
            return max(0.0, max((call.over_s for call in self._calls), default=0.0))

    def recognise(self, jobs: Sequence[Job]) -> list[Outcome]:
        """Call the engine once. Raises EngineLost."""
        call = RunningCall(jobs, CALL_S + CALL_FACTOR * (audio_s(jobs) + self._call_s))
        with self._lock:
            self._calls.add(call)
        try:
            return run_batch(self._recogniser, [job.request for job in jobs])
        finally:
            with self._lock:
                self._calls.discard(call)

    def late_calls(self) -> list[RunningCall]:
        """Return calls that are over their time limit, each call once. Call this every CHECK_S."""
        with self._lock:
            now_s = time.monotonic()
            passed_s = min(now_s - self._checked_s, MAX_CHECKED_S)
            self._checked_s = now_s
            within = [call for call in self._calls if call.over_s <= 0]
            for call in self._calls:
                call.checked_s += passed_s
            return [call for call in within if call.over_s > 0]

    def restart(self) -> None:
        """End the engine, if it can start again."""
        if self._restartable:
            self._restartable.restart()

    def losses(self, job: Job) -> int:
        """Return how often the engine ended during calls with this job's turn, since it last
        answered a job of the turn alone."""
        with self._lock:
            return self._losses.get(job.turn, 0)

    def count_losses(self, jobs: Sequence[Job]) -> None:
        """Record that the engine ended during a call with these jobs."""
        with self._lock:
            for job in jobs:
                self._losses[job.turn] = self._losses.pop(job.turn, 0) + 1
            while len(self._losses) > MAX_REMEMBERED_TURNS:
                del self._losses[next(iter(self._losses))]

    def forget_losses(self, job: Job) -> None:
        """Record that the engine answered a job of this turn, so the turn was not the cause."""
        with self._lock:
            self._losses.pop(job.turn, None)


def audio_s(jobs: Sequence[Job]) -> float:
    """Return the length of the audio of all jobs together."""
    return sum(job.samples for job in jobs) / SAMPLE_RATE
