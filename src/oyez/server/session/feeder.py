"""Feeds one session: its messages in order of arrival, and what they hold in windows to score.

Nothing here waits. The session gets turns, together with others; whoever does away with something
it may have waited for calls `wake`.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

from oyez.audio.pcm import Samples
from oyez.engines.base import AudioChunk, Scores
from oyez.metrics import Tally
from oyez.protocol.session import Session
from oyez.runtime.vad_batcher import MAX_WINDOWS, VadPool

MESSAGE_OVERHEAD_BYTES = 200
"""Counted for each message besides its length, so that many small ones are bounded too."""
MESSAGES_A_TURN = 4
"""Most messages without a whole window of audio that a session takes in at one turn …"""
TURN_S = 0.002
"""… which ends earlier when it has taken so long."""


class Feeder:
    """A `Hearer`. Event loop only."""

    def __init__(
        self,
        session: Session,
        vad_pool: VadPool,
        *,
        call: Callable[..., Any],
        fail: Callable[[Exception], None],
        held_back: Callable[[], bool],
        heard: Callable[[int, float], None],
        tally: Tally,
    ) -> None:
        """call: calls a method of the session and carries out its effects; does not raise. fail:
        takes our bugs. held_back: the session must not be fed now. heard: is told of samples
        when they are decoded, before they are scored, and when their message came, on
        time.monotonic. tally: takes what the session's calls cost."""
        self._session = session
        self._vad_pool = vad_pool
        self._heard = heard
        self._tally = tally
        self._vad_state = vad_pool.initial_state()
        self._call = call
        self._fail = fail
        self._held_back = held_back
        self._inbox: deque[tuple[str | bytes, float]] = deque()
        self.waiting_bytes = 0
        """Memory that is taken by messages which the session has not taken in yet."""
        self._arrived_s = 0.0
        self._told_samples = 0
        self._asked = False
        self._draining = False

    def put(self, message: str | bytes) -> None:
        """The client's next message."""
        self._inbox.append((message, time.monotonic()))
        self.waiting_bytes += len(message) + MESSAGE_OVERHEAD_BYTES
        self._ask_turn(behind=False)

    @property
    def has_input(self) -> bool:
        """Whether anything has come that the session has not taken in."""
        return bool(self._inbox) or self._session.busy

    def release(self) -> None:
        """The session is over: forget everything that waits, and whom to call."""
        self._inbox.clear()
        self.waiting_bytes = 0
        self._call = self._fail = self._heard = _ignore
        self._held_back = _always

    def drain(self) -> None:
        """End the session after what it is hearing, before any message that waits."""
        self._draining = True
        self._ask_turn(behind=False)

    def wake(self) -> None:
        """Perhaps it is not held back any longer, or has something to do by itself."""
        if self._has_more:
            self._ask_turn(behind=False)

    def next_stretch(self) -> AudioChunk | None:
        self._asked = False
        over_s = time.perf_counter() + TURN_S
        for _ in range(MESSAGES_A_TURN):
            if self._held_back():
                return None
            self._feed()
            if time.perf_counter() > over_s:
                break  # the message was a long one; what is in it comes with the next turn
            windows = self._next_windows()
            self._tell_heard()
            if windows is not None and len(windows):
                return windows, self._vad_state
            if windows is not None:
                self._call(self._session.scored, windows)
            if not self._has_more:
                return None
            if time.perf_counter() > over_s:
                break
        self._ask_turn(behind=True)
        return None

    def scored(self, outcome: Scores | Exception) -> None:
        if isinstance(outcome, Exception):
            return self._fail(outcome)
        probabilities, self._vad_state = outcome
        began_s = time.perf_counter()
        self._call(self._session.scored, probabilities)
        self._tally.follow_s += time.perf_counter() - began_s
        if self._has_more:
            self._ask_turn(behind=True)

    @property
    def _has_more(self) -> bool:
        return self.has_input or self._draining

    def _ask_turn(self, *, behind: bool) -> None:
        if not self._asked:
            self._asked = True
            self._vad_pool.ask_turn(self, behind=behind)

    def _feed(self) -> None:
        if self._session.busy:
            return
        if self._draining:
            self._draining = False
            self._call(self._session.drain)
        elif self._inbox:
            message, self._arrived_s = self._inbox.popleft()
            self.waiting_bytes -= len(message) + MESSAGE_OVERHEAD_BYTES
            began_s = time.perf_counter()
            self._call(self._session.receive, message)
            self._tally.receive_s += time.perf_counter() - began_s

    def _tell_heard(self) -> None:
        if samples := self._session.heard_samples - self._told_samples:
            self._told_samples += samples
            self._heard(samples, self._arrived_s)

    def _next_windows(self) -> Samples | None:
        began_s = time.perf_counter()
        try:
            return self._session.next_windows(MAX_WINDOWS)
        except Exception as error:  # noqa: BLE001 - our bug may be any
            self._fail(error)
            return None
        finally:
            self._tally.decode_s += time.perf_counter() - began_s


def _ignore(*arguments: Any) -> None:
    pass


def _always() -> bool:
    return True
