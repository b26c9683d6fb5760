"""Gives sessions slices of the event loop's time in rounds, and scores the windows of all sessions
of a round in one call.

This happens on the event loop, because scoring a few windows takes less time than handing them to
a thread and back. It happens in rounds, not for each packet, because work for many sessions in one
go finds code and weights in the processor's caches.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from heapq import heappop, heappush
from weakref import WeakKeyDictionary

from oyez.engines.base import WINDOW_SAMPLES, AudioChunk, Scores, VoiceDetector
from oyez.metrics import Tally
from oyez.runtime.session_runner import SessionRunner

MAX_WINDOWS_PER_ROUND = 128
"""A round ends at about this many windows, some milliseconds of work, so that other work gets the
event loop. A slice without a window counts for one."""
BUDGET_S = 0.005
"""A round spends at most about this much of the event loop's time on slices."""
ROUND_S = 0.01
"""The time from one round to the next, unless a session is behind. After an idle period the next
round starts at once."""


class VadBatcher:
    """One detector for all sessions, which get slices fairly. Event loop only."""

    def __init__(self, detector: VoiceDetector, tally: Tally | None = None) -> None:
        """tally: counts what scoring costs."""
        self._detector = detector
        self._tally = tally or Tally()
        self._waiting: list[tuple[float, int, SessionRunner]] = []
        """A heap. The session that has had the least of the event loop's time comes first
        (start-time fair queueing), so that one whose input costs much time waits for the others."""
        self._order = itertools.count()
        self._virtual_s = 0.0
        self._finished_s: WeakKeyDictionary[SessionRunner, float] = WeakKeyDictionary()
        self._due: asyncio.Handle | None = None
        self._due_at_once = False
        self._last_round_s = 0.0

    def initial_state(self) -> object:
        """Return the state of the detector before the first window of a stream."""
        return self._detector.initial_state()

    def schedule(self, runner: SessionRunner, *, behind: bool = False) -> None:
        """Give a session one slice in the next round. behind: that round starts at once."""
        start_s = max(self._virtual_s, self._finished_s.get(runner, 0.0))
        heappush(self._waiting, (start_s, next(self._order), runner))
        self._plan_round(at_once=behind)

    def stop(self) -> None:
        """Give no more slices."""
        self._waiting.clear()

    def _plan_round(self, *, at_once: bool) -> None:
        if self._due:
            if self._due_at_once or not at_once:
                return
            self._due.cancel()
        loop = asyncio.get_running_loop()
        next_s = loop.time() if at_once else self._last_round_s + ROUND_S
        self._due = loop.call_at(next_s, self._round)
        self._due_at_once = at_once

    def _round(self) -> None:
        self._due = None
        self._last_round_s = asyncio.get_running_loop().time()
        runners: list[SessionRunner] = []
        chunks: list[AudioChunk] = []
        room = MAX_WINDOWS_PER_ROUND
        over_s = time.perf_counter() + BUDGET_S
        # sessions that request another meanwhile come in the next round
        this_round, self._waiting = self._waiting, []
        while this_round and room > 0 and (began_s := time.perf_counter()) < over_s:
            start_s, _, runner = heappop(this_round)
            self._virtual_s = start_s
            room -= 1
            if chunk := runner.take_slice():
                room -= len(chunk[0]) // WINDOW_SAMPLES - 1
                runners.append(runner)
                chunks.append(chunk)
            self._finished_s[runner] = start_s + time.perf_counter() - began_s
        for each in this_round:
            heappush(self._waiting, each)
        began_s = time.perf_counter()
        outcomes = self._score(chunks)
        self._tally.vad_s += time.perf_counter() - began_s
        for runner, outcome in zip(runners, outcomes, strict=True):
            runner.scored(outcome)
        if self._waiting:
            self._plan_round(at_once=True)

    def _score(self, chunks: list[AudioChunk]) -> Sequence[Scores | Exception]:
        try:
            return self._detector.score_many(chunks)
        except Exception as error:  # noqa: BLE001 - a detector may fail as it likes
            # one by one: only sessions whose windows it fails on get the error
            return [error] if len(chunks) == 1 else [self._score([each])[0] for each in chunks]
