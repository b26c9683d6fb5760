"""Drives a session in the caller's thread, without an event loop and as fast as the machine goes.

For benchmarks and tests: windows are scored at once, and jobs are answered when the owner says so.
"""

from __future__ import annotations

import math
from collections import deque

from oyez.engines.base import VoiceDetector
from oyez.protocol.client_events import ClientEvent
from oyez.protocol.effects import Recognise
from oyez.protocol.session import Session
from oyez.runtime.session_runner import MAX_WINDOWS, Peer, SessionRunner


class InlineDriver(Peer):
    """The peer of a session, and its `Recognition` and `Turns` too. Subclasses override `take` and
    `answer_jobs`. Errors are raised to the caller."""

    def __init__(
        self, session: Session, detector: VoiceDetector, max_windows: int = MAX_WINDOWS
    ) -> None:
        """The session is not open yet. max_windows: the most windows that the detector is given in
        one call."""
        self.session = session
        self.jobs: deque[Recognise] = deque()
        """Requests that are not answered, oldest first."""
        self._detector = detector
        self._is_scheduled = False
        self.runner = SessionRunner(
            session, self, self, self, max_backlog_s=math.inf, max_windows=max_windows
        )

    def receive(self, event: ClientEvent) -> None:
        """Give the session an event, and do all that follows from it."""
        self.runner.receive(event)
        self.run()

    def run(self) -> None:
        """Answer jobs and score windows until nothing is left to do."""
        self.answer_jobs()
        while self._is_scheduled:
            self._is_scheduled = False
            if stretch := self.runner.take_turn():
                self.runner.scored(self._detector.score(*stretch))
            self.answer_jobs()

    def answer_jobs(self) -> None:
        """Answer jobs that wait with `runner.answered`, as many as there should be."""

    def fail(self, error: Exception) -> None:
        raise error

    # the detector's side

    def initial_state(self) -> object:
        return self._detector.initial_state()

    def schedule(self, runner: SessionRunner, *, behind: bool = False) -> None:
        self._is_scheduled = True

    # the recogniser's side

    @property
    def count(self) -> int:
        return len(self.jobs)

    @property
    def finals_waiting(self) -> int:
        return 0  # no bound: an owner that answers nothing wants the session to go on

    @property
    def audio_bytes(self) -> int:
        return sum(job.request.samples.nbytes for job in self.jobs)

    def submit(self, effect: Recognise, runner: SessionRunner) -> None:
        self.jobs.append(effect)

    def cancel(self, number: int) -> None:
        self.jobs = deque(job for job in self.jobs if job.job != number)

    def cancel_all(self) -> None:
        self.jobs.clear()
