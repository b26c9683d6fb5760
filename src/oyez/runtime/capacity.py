"""How much of the machine the running sessions need, and whether one more fits.

Sessions need all of their finals, but not all of the partials they ask for: where a machine
cannot keep up, partials come less often. What a session *needs* is its finals and partials at the
slowest bearable cadence. That can be measured at any load, however far partials are stretched.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence

from oyez.audio.pcm import SAMPLE_RATE
from oyez.runtime.job import Job
from oyez.runtime.scheduler import End

SLOWEST_PARTIALS_S = 2.5
"""A turn's partials should not come less often than this."""
LATEST_FINALS_S = 0.5
"""Nor should finals begin later past their deadline."""
RECENT_S = 5.0
"""About so much of the past counts for how the machine is doing …"""
COST_S = 20.0
"""… and for what a session costs: long enough for everybody to have spoken and been silent."""
SETTLED_S = 5.0
"""A session younger than this has hardly asked for anything yet: it counts as one like the others,
but what it asked for tells nothing."""
PRIOR_SESSION_S = 40.0
"""The cost assumed at the start weighs as much as the measured cost of so much session time."""
SHORT_FINAL_S = 1.0
"""A final of less audio counts for what a conversation needs only in proportion to its audio:
whoever commits many times a second asks for many, and no conversation does."""


class Load:
    """An `Observer` of the scheduler that also knows how many sessions are open. Thread-safe."""

    def __init__(
        self, workers: int, assumed_cost: float, limit: float, clock: Callable[[], float]
    ) -> None:
        """assumed_cost: the share of the machine a session needs, as long as none was measured.
        limit: the share that all sessions together may need. clock: the scheduler's."""
        self._workers = workers
        self._assumed_cost = assumed_cost
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._busy_s = _Fading(RECENT_S)
        self._demand_s = _Fading(RECENT_S)
        self._finals = _Fading(RECENT_S)
        self._late_s = _Fading(RECENT_S)
        self._needed_s = _Fading(COST_S)
        self._session_s = _Fading(COST_S)
        self._sessions = 0
        self._sessions_of: Counter[Hashable] = Counter()
        self._opened_s: deque[float] = deque()
        self._counted_to_s = clock()

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """One call of the engine; each of its jobs is charged the same part."""
        run_s = (ended_s - began_s) / len(batch)
        with self._lock:
            self._count_sessions(ended_s)
            for job in batch:
                self._charge(job, run_s, began_s, ended_s)

    def ended(self, job: Job, end: End, now_s: float) -> None:
        """Jobs that did not run cost nothing."""

    def session_opened(self, tenant: Hashable = None) -> None:
        """tenant: as in `Job`."""
        with self._lock:
            now_s = self._clock()
            self._count_sessions(now_s)
            self._sessions += 1
            self._sessions_of[tenant] += 1
            self._opened_s.append(now_s)

    def session_closed(self, tenant: Hashable = None) -> None:
        with self._lock:
            self._count_sessions(self._clock())
            self._sessions -= 1
            self._sessions_of[tenant] -= 1
            if not self._sessions_of[tenant]:
                del self._sessions_of[tenant]

    def weight(self, tenant: Hashable) -> float:
        """Of a tenant when the engine is shared out: it grows with the square root of its open
        sessions. So forty conversations of one tenant have most of the engine beside one session
        of another that asks for all of it, and one conversation has enough beside forty such."""
        with self._lock:
            return math.sqrt(max(1, self._sessions_of[tenant]))

    @property
    def busy(self) -> float:
        """The share of the workers' time that is used, lately."""
        return self._recent_share(self._busy_s)

    @property
    def demand(self) -> float:
        """The share that would be used if partials came as often as they are asked for. Above 1
        they come that much less often."""
        return self._recent_share(self._demand_s)

    @property
    def late_s(self) -> float:
        """How late finals began on average, past their deadlines, lately: of sessions that do not
        wait for many of their own."""
        with self._lock:
            now_s = self._clock()
            # one that was in time counts with the others, so that the past is forgotten
            return self._late_s.read(now_s) / (1 + self._finals.read(now_s))

    @property
    def cost(self) -> float:
        """The share of the workers' time that one session needs."""
        with self._lock:
            now_s = self._clock()
            self._count_sessions(now_s)
            needed_s = self._needed_s.read(now_s) / self._workers
            session_s = self._session_s.read(now_s)
        return (PRIOR_SESSION_S * self._assumed_cost + needed_s) / (PRIOR_SESSION_S + session_s)

    @property
    def needed(self) -> float:
        """The share of the workers' time that the open sessions need."""
        return self._sessions * self.cost

    def room(self, overdue_s: float) -> float:
        """How many more sessions fit; inf if they cost nothing. One always does.

        overdue_s: how far the jobs that wait now are behind their deadlines.
        """
        least = 0.0 if self._sessions else 1.0
        if max(overdue_s, self.late_s) > LATEST_FINALS_S:
            return least
        cost = self.cost
        fitting = self._limit // cost if cost > 0 else math.inf
        return max(least, fitting - self._sessions)

    def _recent_share(self, time_s: _Fading) -> float:
        with self._lock:
            return time_s.read(self._clock()) / (RECENT_S * self._workers)

    def _charge(self, job: Job, run_s: float, began_s: float, ended_s: float) -> None:
        self._busy_s.add(run_s, ended_s)
        if job.is_background:
            return
        asked, needed = 1.0, 1.0
        if job.is_partial:
            every_s = max(job.interval_s, ended_s - job.owed_since_s)
            asked, needed = every_s / job.interval_s, every_s / SLOWEST_PARTIALS_S
        else:
            needed = min(1.0, job.samples / SAMPLE_RATE / SHORT_FINAL_S)
            if job.tells_delay:
                self._finals.add(1, ended_s)
                self._late_s.add(max(0.0, began_s - job.deadline_s), ended_s)
        self._demand_s.add(run_s * asked, ended_s)
        if job.is_paced:
            self._needed_s.add(run_s * needed, ended_s)

    def _count_sessions(self, now_s: float) -> None:
        """Session time since it was last counted, of settled sessions."""
        passed_s = max(0.0, now_s - self._counted_to_s)
        self._counted_to_s += passed_s
        settled = max(0, self._sessions - len(self._opened_s))
        self._session_s.add(settled * passed_s, now_s)
        while self._opened_s and now_s - self._opened_s[0] > SETTLED_S:
            self._opened_s.popleft()


class _Fading:
    """A sum in which what was added `memory_s` ago counts 1/e. A steady rate adds up to
    rate * memory_s."""

    def __init__(self, memory_s: float) -> None:
        self._memory_s = memory_s
        self._sum = 0.0
        self._at_s = 0.0

    def add(self, amount: float, now_s: float) -> None:
        self._sum = self.read(now_s) + amount
        self._at_s = max(self._at_s, now_s)

    def read(self, now_s: float) -> float:
        return self._sum * math.exp(-max(0.0, now_s - self._at_s) / self._memory_s)
