"""Gives sessions their turns, and scores the windows of all whose turn it is in one call.

On the event loop: a few windows take less time than handing them to a thread and back would. And
not at once for each packet: work for many sessions in one go finds code and weights in the caches.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Protocol
from weakref import WeakKeyDictionary

from oyez.engines.base import WINDOW_SAMPLES, AudioChunk, Scores, VoiceDetector
from oyez.metrics import Tally

MAX_WINDOWS = 64
"""Most windows of a session in a round, so that sessions share fairly."""
MAX_WINDOWS_A_ROUND = 128
"""About where a round stops, for others on the event loop: some milliseconds of work. A turn
without a window counts for one."""
BUDGET_S = 0.005
"""Of the event loop's time for turns in a round; then others have theirs."""
ROUND_S = 0.01
"""From one round to the next, unless a session is behind. Who asks after a quiet need not wait."""


class Hearer(Protocol):
    """A session, as far as turns go. It must not raise."""

    def next_stretch(self) -> AudioChunk | None:
        """Its turn: at most MAX_WINDOWS windows to be scored; None: there are none."""
        ...

    def scored(self, outcome: Scores | Exception) -> None:
        """The answer: scores, or what the detector raised. Comes before anything else happens."""
        ...


class VadPool:
    """A detector for all sessions, whose turns are fair. Event loop only."""

    def __init__(self, detector: VoiceDetector, tally: Tally | None = None) -> None:
        """tally: takes what scoring costs."""
        self._detector = detector
        self._tally = tally or Tally()
        self._waiting: list[tuple[float, int, Hearer]] = []
        """A heap: the session that has had the least of the event loop's time comes first
        (start-time fair queueing), so that one whose input costs much time waits for the others."""
        self._asked = itertools.count()
        self._virtual_s = 0.0
        self._finished_s: WeakKeyDictionary[Hearer, float] = WeakKeyDictionary()
        self._due: asyncio.Handle | None = None
        self._due_at_once = False
        self._last_round_s = 0.0

    def initial_state(self) -> object:
        """The state before the first window of a stream."""
        return self._detector.initial_state()

    def ask_turn(self, hearer: Hearer, *, behind: bool = False) -> None:
        """Give it one turn in the next round. behind: which should not wait for others."""
        start_s = max(self._virtual_s, self._finished_s.get(hearer, 0.0))
        heappush(self._waiting, (start_s, next(self._asked), hearer))
        self._plan_round(at_once=behind)

    def stop(self) -> None:
        """No more turns."""
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
        turns = self._take_turns()
        outcomes = self._outcomes([stretch for _, stretch in turns])
        for (hearer, _), outcome in zip(turns, outcomes, strict=True):
            hearer.scored(outcome)
        if self._waiting:
            self._plan_round(at_once=True)

    def _take_turns(self) -> list[tuple[Hearer, AudioChunk]]:
        turns: list[tuple[Hearer, AudioChunk]] = []
        room = MAX_WINDOWS_A_ROUND
        began_s = time.perf_counter()
        # who asks again meanwhile comes in the next round
        this_round, self._waiting = self._waiting, []
        while this_round and room > 0 and time.perf_counter() - began_s < BUDGET_S:
            start_s, _, hearer = heappop(this_round)
            self._virtual_s = start_s
            turn_began_s = time.perf_counter()
            room -= 1
            stretch = hearer.next_stretch()
            if stretch:
                room -= len(stretch[0]) // WINDOW_SAMPLES - 1
                turns.append((hearer, stretch))
            self._finished_s[hearer] = start_s + time.perf_counter() - turn_began_s
        for each in this_round:
            heappush(self._waiting, each)
        return turns

    def _outcomes(self, stretches: list[AudioChunk]) -> Sequence[Scores | Exception]:
        began_s = time.perf_counter()
        try:
            return self._detector.score_many(stretches)
        except Exception:  # noqa: BLE001 - a detector may fail as it likes
            # only the session whose windows it fails on is to know
            return [self._outcome(stretch) for stretch in stretches]
        finally:
            self._tally.vad_s += time.perf_counter() - began_s

    def _outcome(self, stretch: AudioChunk) -> Scores | Exception:
        try:
            return self._detector.score(*stretch)
        except Exception as error:  # noqa: BLE001 - as above
            return error
