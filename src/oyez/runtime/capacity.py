"""Estimates how much of the machine the open sessions need, and how many more fit.

Sessions need all of their finals, but not all of the partials they request: a machine that cannot
keep up gives partials less often. A session *needs* its finals, and partials at the slowest
acceptable rate. This can be measured at any load, however rare partials have become.
"""

from __future__ import annotations

import math
import threading
from collections import Counter, deque
from collections.abc import Callable, Hashable, Sequence

from oyez.audio.pcm import SAMPLE_RATE
from oyez.runtime.job import Job, Observer

SLOWEST_PARTIALS_S = 2.5
"""Longest acceptable time between the partials of a turn."""
LATEST_FINALS_S = 0.5
"""If finals begin later than this after their deadlines, no session is admitted."""
RECENT_S = 5.0
"""Time constant of the averages that describe the current state of the machine."""
COST_S = 20.0
"""Time constant of the average cost of a session: long enough for speech and silence of all
sessions."""
SETTLED_S = 5.0
"""A younger session has requested too little to measure its cost. It counts as an average one."""
PRIOR_SESSION_S = 40.0
"""The assumed cost weighs as much as the measured cost of this much session time."""
SHORT_FINAL_S = 1.0
"""A final with less audio counts for the need of a conversation only in proportion to its audio. A
client that commits many times a second requests many short finals, but no conversation does."""


class Capacity(Observer):
    """Observes the scheduler, and counts open sessions. Thread-safe."""

    def __init__(
        self, workers: int, assumed_cost: float, limit: float, clock: Callable[[], float]
    ) -> None:
        """workers: threads of the scheduler. assumed_cost: the share of the workers' time that a
        session needs, until it is measured. limit: the share that all sessions together may need.
        clock: the scheduler's."""
        self._workers = workers
        self._assumed_cost = assumed_cost
        self._limit = limit
        self._clock = clock
        self._lock = threading.Lock()
        self._busy_s = _DecayingSum(RECENT_S)
        self._demand_s = _DecayingSum(RECENT_S)
        self._finals = _DecayingSum(RECENT_S)
        self._late_s = _DecayingSum(RECENT_S)
        self._needed_s = _DecayingSum(COST_S)
        self._session_s = _DecayingSum(COST_S)
        self._sessions = 0
        self._sessions_of: Counter[Hashable] = Counter()
        self._opened_s: deque[float] = deque()
        self._counted_to_s = clock()

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        """Record a call of the engine. Its time is divided equally among its jobs."""
        run_s = (ended_s - began_s) / len(batch)
        with self._lock:
            self._count_sessions(ended_s)
            for job in batch:
                self._charge(job, run_s, began_s, ended_s)

    def session_opened(self, tenant: Hashable = None) -> None:
        """Count a new session. tenant: see `Job.tenant`."""
        with self._lock:
            now_s = self._clock()
            self._count_sessions(now_s)
            self._sessions += 1
            self._sessions_of[tenant] += 1
            self._opened_s.append(now_s)

    def session_closed(self, tenant: Hashable = None) -> None:
        """Stop counting a session."""
        with self._lock:
            self._count_sessions(self._clock())
            self._sessions -= 1
            self._sessions_of[tenant] -= 1
            if not self._sessions_of[tenant]:
                del self._sessions_of[tenant]

    def weight(self, tenant: Hashable) -> float:
        """Return a tenant's weight for `Fairness`: the square root of its open sessions.

        So forty conversations of one tenant get most of the engine next to one session of another
        tenant that requests all of it, and one conversation gets enough next to forty such
        sessions.
        """
        with self._lock:
            return math.sqrt(max(1, self._sessions_of[tenant]))

    @property
    def busy(self) -> float:
        """The share of the workers' time that was used recently."""
        return self._recent_share(self._busy_s)

    @property
    def demand(self) -> float:
        """The share that would be used if partials came as often as they are requested. Above 1,
        partials come less often by that factor."""
        return self._recent_share(self._demand_s)

    @property
    def late_s(self) -> float:
        """How late recent finals began on average after their deadlines. Only jobs with
        `measures_delay` count."""
        with self._lock:
            now_s = self._clock()
            # + 1, so that the average decays to 0 when no finals arrive
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
        """Return how many more sessions fit; inf if they cost nothing. If none is open, one always
        fits.

        overdue_s: how far the most overdue waiting job is past its deadline.
        """
        least = 0.0 if self._sessions else 1.0
        if max(overdue_s, self.late_s) > LATEST_FINALS_S:
            return least
        cost = self.cost
        fitting = self._limit // cost if cost > 0 else math.inf
        return max(least, fitting - self._sessions)

    def _recent_share(self, time_s: _DecayingSum) -> float:
        with self._lock:
            return time_s.read(self._clock()) / (RECENT_S * self._workers)

    def _charge(self, job: Job, run_s: float, began_s: float, ended_s: float) -> None:
        self._busy_s.add(run_s, ended_s)
        if job.is_background:
            return
        requested, needed = 1.0, 1.0
        if job.is_partial:
            every_s = max(job.interval_s, ended_s - job.first_requested_s)
            requested, needed = every_s / job.interval_s, every_s / SLOWEST_PARTIALS_S
        else:
            needed = min(1.0, job.samples / SAMPLE_RATE / SHORT_FINAL_S)
            if job.measures_delay:
                self._finals.add(1, ended_s)
                self._late_s.add(max(0.0, began_s - job.deadline_s), ended_s)
        self._demand_s.add(run_s * requested, ended_s)
        if job.is_realtime:
            self._needed_s.add(run_s * needed, ended_s)

    def _count_sessions(self, now_s: float) -> None:
        """Add the session time since the last call, without sessions younger than SETTLED_S."""
        passed_s = max(0.0, now_s - self._counted_to_s)
        self._counted_to_s += passed_s
        settled = max(0, self._sessions - len(self._opened_s))
        self._session_s.add(settled * passed_s, now_s)
        while self._opened_s and now_s - self._opened_s[0] > SETTLED_S:
            self._opened_s.popleft()


class _DecayingSum:
    """A sum in which an amount decays to 1/e after `memory_s`. A steady rate adds up to
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
