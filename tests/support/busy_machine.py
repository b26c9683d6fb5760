"""Conversations on a machine of a given speed, in virtual time: what the queue and the load figures
make of them, in milliseconds instead of minutes, and the same each time.

Speakers ask as `turns/segment` does; calls cost what they cost with Whisper base.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Info, Purpose, Request
from oyez.runtime.capacity import Capacity
from oyez.runtime.job import MAX_FINALS, Job, Urgency
from oyez.runtime.queue import Queue
from oyez.runtime.session_jobs import FIRST_PARTIAL_S, OWN_FINAL_S, PARTIAL_S
from oyez.settings import Settings

SILENCE = np.zeros(30 * SAMPLE_RATE, np.float32)
PAUSE_S = 0.2
"""Silence after which a final is asked for."""
TURN_END_S = 0.6
"""From there to the end of the turn."""


@dataclass(eq=False)
class Speaker:
    """One session: talks, pauses, is silent while the other talks."""

    number: int
    gaps_s: list[float] = field(default_factory=list)
    """Between answers while speech goes on; the first from the moment it was asked for."""
    late_s: list[float] = field(default_factory=list)
    """Finals, past the end of their turn."""
    finals_s: list[float] = field(default_factory=list)
    """The same finals, from when they were asked for."""
    tenant: Hashable = None
    turn: int = 0
    talking: bool = False
    began_s: float = 0.0
    heard_s: float | None = None
    next_partial_s: float = 0.0
    leaving: bool = False


class Flooder:
    """A session that commits moments of audio as fast as it may."""

    def __init__(self, machine: Machine, tenant: Hashable, finals: int = MAX_FINALS) -> None:
        """finals: so many are always waiting."""
        self._machine = machine
        self._tenant = tenant
        self._patience_s = OWN_FINAL_S * (finals - 1)
        self.answered = 0
        self._commits = itertools.count()
        machine.load.session_opened(tenant)
        for _ in range(finals):
            self._commit()

    def _commit(self) -> None:
        machine = self._machine
        moment = Request(SILENCE[: int(0.032 * SAMPLE_RATE)], Purpose.FINAL)
        job = Job(
            self, next(self._commits), 0, moment, Urgency.FINAL, machine.now_s + self._patience_s,
            lambda outcome: self._answered(), is_realtime=False, measures_delay=False,
            tenant=self._tenant,
        )  # fmt: skip
        machine.submit(job)

    def _answered(self) -> None:
        self.answered += 1
        self._commit()


class Machine:
    """Workers, a queue, and speakers that come and go."""

    def __init__(self, *, workers: int = 2, slowness: float = 1.0, assumed: float = 0.02) -> None:
        self.now_s = 0.0
        self.info = Info("test", (), 480_000, max_batch=16, parallel=workers)
        self.slowness = slowness
        self.load = Capacity(workers, assumed, Settings().max_load, lambda: self.now_s)
        self.queue = Queue(1024, self.load.weight)
        self.idle = workers
        self.speakers: list[Speaker] = []
        self._random = random.Random(0)
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._count = itertools.count()

    def at(self, when_s: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._events, (when_s, next(self._count), action))

    def run(self, until_s: float) -> None:
        while self._events and self._events[0][0] <= until_s:
            self.now_s, _, action = heapq.heappop(self._events)
            action()
        self.now_s = until_s

    def submit(self, job: Job) -> None:
        self.queue.add(job, self.now_s)
        self._feed_workers()

    def join(self, tenant: Hashable = None) -> Speaker:
        speaker = Speaker(len(self.speakers), tenant=tenant)
        self.speakers.append(speaker)
        self.load.session_opened(tenant)
        self.at(self.now_s + self._random.uniform(0, 6), lambda: self._begin(speaker))
        return speaker

    def leave(self, speaker: Speaker) -> None:
        speaker.leaving = True
        self.speakers.remove(speaker)
        self.load.session_closed(speaker.tenant)

    @property
    def room(self) -> float:
        return self.load.room(self.queue.overdue_s(self.now_s))

    def _begin(self, who: Speaker) -> None:
        if who.leaving:
            return
        who.turn += 1
        who.began_s, who.heard_s, who.talking = self.now_s, None, True
        who.next_partial_s = self.now_s + 0.35
        self._talk(who, who.turn, self._random.uniform(2, 6))

    def _talk(self, who: Speaker, turn: int, left_s: float) -> None:
        """Speech of some length, then a pause: short, or the end of the turn."""
        spoken_s = min(left_s, self._random.expovariate(1 / 2))
        who.talking = True
        self.at(self.now_s, lambda: self._tick(who, turn))
        self.at(self.now_s + spoken_s, lambda: self._pause(who, turn, left_s - spoken_s))

    def _tick(self, who: Speaker, turn: int) -> None:
        if who.turn != turn or not who.talking:
            return
        if self.now_s >= who.next_partial_s:
            who.next_partial_s = self.now_s + 1.0
            self._ask(who, Urgency.PARTIAL)
        self.at(self.now_s + 0.032, lambda: self._tick(who, turn))

    def _pause(self, who: Speaker, turn: int, left_s: float) -> None:
        who.talking = False
        ends = left_s <= 0
        pause_s = TURN_END_S + PAUSE_S if ends else self._random.uniform(0.1, 0.5)
        if pause_s > PAUSE_S:
            self.at(self.now_s + PAUSE_S, lambda: self._ask(who, Urgency.SPECULATIVE, ends))
        if ends:
            self.at(self.now_s + self._random.uniform(3, 7), lambda: self._begin(who))
        else:
            self.at(self.now_s + pause_s, lambda: self._talk(who, turn, left_s))

    def _ask(self, who: Speaker, urgency: Urgency, ends: bool = False) -> None:
        is_partial = urgency is Urgency.PARTIAL
        spoken_s = self.now_s - who.began_s + 0.3
        interval_s = 0.25 if who.heard_s is None else 0.5
        partial_s = FIRST_PARTIAL_S if who.heard_s is None else PARTIAL_S
        due_s = partial_s if is_partial else TURN_END_S
        job = Job(
            who, who.turn, 0,
            Request(SILENCE[: int(spoken_s * SAMPLE_RATE)],
                    Purpose.PARTIAL if is_partial else Purpose.FINAL),
            urgency, self.now_s + due_s,
            lambda outcome: self._answered(who, job, ends),
            is_replaceable=True, interval_s=interval_s, tenant=who.tenant,
        )  # fmt: skip
        self.submit(job)

    def _answered(self, who: Speaker, job: Job, ends: bool) -> None:
        if job.is_partial and job.item == who.turn:
            who.gaps_s.append(self.now_s - (who.heard_s or job.first_requested_s))
            who.next_partial_s = min(who.next_partial_s, job.submitted_s + job.interval_s)
        if job.item == who.turn:
            who.heard_s = self.now_s
        if ends:
            who.late_s.append(max(0.0, self.now_s - job.deadline_s))
            who.finals_s.append(self.now_s - job.submitted_s)

    def _feed_workers(self) -> None:
        while self.idle and self.queue:
            batch = self.queue.take(self.info, self.idle)
            self.idle -= 1
            began_s = self.now_s
            self.at(began_s + self.cost_s(batch), lambda b=batch, s=began_s: self._done(b, s))  # type: ignore[misc]

    def _done(self, batch: Sequence[Job], began_s: float) -> None:
        self.idle += 1
        self.load.ran(batch, began_s, self.now_s)
        for job in batch:
            job.callback(ValueError())
        self._feed_workers()

    def cost_s(self, batch: Sequence[Job]) -> float:
        audio_s = [job.samples / SAMPLE_RATE for job in batch]
        encoding_s = 0.007 * sum(audio_s)
        if not batch[0].is_partial:
            return self.slowness * (encoding_s + 0.01 * len(batch) + 0.015 * sum(audio_s))
        decoding_s = 8 * (0.0024 + 0.0008 * (len(batch) - 1))
        return self.slowness * (encoding_s + decoding_s)
