"""One session at work: its events, its voice activity state and its recognition jobs.

    peer.next_event ─► receive ──┐
    take_slice ─► score ─► scored┼─► Session ─► effects ─► Peer.take | Recognition.submit | cancel
    answered ────────────────────┘

Sockets, files, benchmarks and tests use the same class. They differ in their `Peer`, where events
come from and effects go to, in who answers jobs (`Recognition`), and in who gives the session its
slices of time (`Slices`). Nothing here waits.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import AudioChunk, Scores, VoiceDetector
from oyez.metrics import Tally
from oyez.protocol.client_events import ClientEvent
from oyez.protocol.effects import Cancel, Effect, Recognise
from oyez.protocol.errors import ProtocolError
from oyez.protocol.session import Session
from oyez.runtime.job import MAX_FINALS, Outcome

MAX_WINDOWS = 64
"""A session hands out at most so many windows per slice, so that sessions share fairly."""
EVENTS_PER_SLICE = 4
"""A session takes in at most so many events per slice while they bring no whole window of audio."""
SLICE_S = 0.002
"""A slice ends early when it has taken this long."""


class Peer:
    """The other side of a session. Override what matters; by default a peer sends nothing, and
    ignores everything."""

    def clock_ms(self) -> int:
        """Return the session's time: any clock that does not go back."""
        return 0

    def may_feed(self) -> bool:
        """Return whether the session may take in more input now."""
        return True

    def has_events(self) -> bool:
        """Return whether `next_event` has an event."""
        return False

    def next_event(self) -> ClientEvent | None:
        """Return the oldest event that waits, decoded; None if none waits."""
        return None

    def on_audio(self, samples: int) -> None:
        """Called after this many samples were decoded, before they are scored."""

    def on_answer(self, job: int) -> None:
        """Called before the effects that follow from the answer to this job."""

    def take(self, effect: Effect) -> None:
        """Carry out one effect. `Recognise` and `Cancel` come here too, and need nothing done."""

    def on_step(self) -> None:
        """Called after each step of the session, when its effects are carried out."""

    def fail(self, error: Exception) -> None:
        """End the session because of an error that is not its client's."""


class Recognition(Protocol):
    """The recognition jobs of one session that are not answered yet."""

    @property
    def count(self) -> int:
        """How many they are."""

    @property
    def finals_waiting(self) -> int:
        """How many of them are finals, speculative ones included."""

    def submit(self, effect: Recognise, runner: SessionRunner) -> None:
        """Have a request recognised; its answer goes to `runner.answered`."""

    def cancel(self, number: int) -> None:
        """Drop a job: its answer is no longer wanted."""

    def cancel_all(self) -> None:
        """Drop all jobs, and the runner."""


class Slices(Protocol):
    """Gives sessions slices of time, and scores their windows."""

    def initial_state(self) -> object:
        """Return the state of the detector before the first window of a stream."""

    def schedule(self, runner: SessionRunner, *, behind: bool = False) -> None:
        """Call `runner.take_slice` once, soon. behind: as soon as possible."""


class SessionRunner:
    """Drives one session; the module describes how. `release` it at its end."""

    def __init__(
        self,
        session: Session,
        peer: Peer,
        recognition: Recognition,
        slices: Slices,
        *,
        max_backlog_s: float,
        tally: Tally | None = None,
        max_windows: int = MAX_WINDOWS,
    ) -> None:
        """max_backlog_s: audio that may wait for recognition before no more input is taken in.
        tally: counts what the session's calls cost. max_windows: most windows of a slice."""
        self.session = session
        self._peer = peer
        self._recognition = recognition
        self._slices = slices
        self._max_backlog_samples = max_backlog_s * SAMPLE_RATE
        self._tally = tally or Tally()
        self._max_windows = max_windows
        self._vad_state = slices.initial_state()
        self._began_s = time.monotonic()
        self._reported_samples = 0
        self._is_scheduled = False
        self._is_stopped = False

    @property
    def has_input(self) -> bool:
        """Whether anything has come that the session has not taken in."""
        return self.session.busy or self._peer.has_events()

    @property
    def is_behind(self) -> bool:
        """Whether so much audio waits for recognition that the session must not be fed."""
        if self._recognition.finals_waiting >= MAX_FINALS:
            return True
        is_much = self.session.backlog_samples > self._max_backlog_samples
        return is_much and self._recognition.count > 0  # an answer is a reason to go on

    @property
    def ahead_s(self) -> float:
        """How far the session's audio is ahead of the clock."""
        return self.session.decoded_samples / SAMPLE_RATE - (time.monotonic() - self._began_s)

    def open(self) -> None:
        """Begin the session."""
        self._step(lambda now_ms: self.session.open())

    def receive(self, event: ClientEvent) -> None:
        """Give the session an event. It must not be busy with an earlier one."""
        self._step(self.session.receive, event)
        if self.session.busy:
            self._schedule(behind=True)

    def tick(self) -> None:
        """Let time pass; call about twice a second."""
        has_input = self.has_input
        self._step(lambda now_ms: self.session.tick(now_ms, has_input))
        self.wake()

    def drain(self) -> None:
        """End the session after the audio that it has taken in, before any event that waits."""
        self._step(self.session.drain)
        self.wake()

    def end(self, error: ProtocolError) -> None:
        """End the session with an error, because it may not go on."""
        self._step(self.session.end, error)
        self.wake()

    def wake(self) -> None:
        """Request a slice if there is input. Call it after whatever lets the session continue."""
        if self.has_input:
            self._schedule(behind=False)

    def stop(self) -> None:
        """Call the session no more, and cancel its jobs."""
        self._is_stopped = True
        self._recognition.cancel_all()

    def release(self) -> None:
        """Stop, and drop the peer, so that memory is freed without a garbage collection."""
        self.stop()
        self._peer = Peer()

    def take_slice(self) -> AudioChunk | None:
        """Take in events until there are windows to score: float32 [n * 512] with n up to
        `max_windows`, and the detector's state before them. None: there are none in this slice.
        Their scores must come to `scored` before anything else happens to this session."""
        self._is_scheduled = False
        try:
            return self._next_chunk()
        except Exception as error:  # noqa: BLE001 - a bug may be any; it ends this session only
            self._peer.fail(error)
            return None

    def scored(self, outcome: Scores | Exception) -> None:
        """Take the scores of the windows handed out last, or what the detector raised."""
        if isinstance(outcome, Exception):
            return self._peer.fail(outcome)
        probabilities, self._vad_state = outcome
        began_s = time.perf_counter()
        self._step(self.session.scored, probabilities)
        self._tally.follow_s += time.perf_counter() - began_s
        if self.has_input:
            self._schedule(behind=True)

    def answered(self, job: int, outcome: Outcome) -> None:
        """Take the answer to a recognition job."""
        began_s = time.perf_counter()
        self._peer.on_answer(job)
        self._step(self.session.recognised, job, outcome)
        self._tally.answer_s += time.perf_counter() - began_s
        self.wake()

    def fail(self, error: Exception) -> None:
        """End the session because its jobs cannot be answered any more."""
        self._peer.fail(error)

    def _schedule(self, *, behind: bool) -> None:
        if not self._is_scheduled and not self._is_stopped:
            self._is_scheduled = True
            self._slices.schedule(self, behind=behind)

    def _next_chunk(self) -> AudioChunk | None:
        over_s = time.perf_counter() + SLICE_S
        for _ in range(EVENTS_PER_SLICE):
            if self._is_stopped or self.is_behind or not self._peer.may_feed():
                return None
            began_s = time.perf_counter()
            if not self.session.busy and (event := self._peer.next_event()) is not None:
                self._step(self.session.receive, event)
                received_s = time.perf_counter()
                self._tally.receive_s += received_s - began_s
                if received_s > over_s:
                    break  # decoding the event took long; its audio waits for the next slice
                began_s = received_s
            windows = self.session.next_windows(self._max_windows)
            self._tally.decode_s += time.perf_counter() - began_s
            if samples := self.session.decoded_samples - self._reported_samples:
                self._reported_samples += samples
                self._peer.on_audio(samples)
            if windows is not None and len(windows):
                return windows, self._vad_state
            if windows is not None:
                self._step(self.session.scored, windows)
            if not self.has_input:
                return None
            if time.perf_counter() > over_s:
                break
        self._schedule(behind=True)
        return None

    def _step(self, method: Callable[..., list[Effect]], *arguments: Any) -> None:
        """Call the session with these arguments and the time, and carry out its effects in
        order."""
        if self._is_stopped:
            return
        try:
            for effect in method(*arguments, self._peer.clock_ms()):
                self._peer.take(effect)
                match effect:
                    case Recognise():
                        self._recognition.submit(effect, self)
                    case Cancel(job):
                        self._recognition.cancel(job)
        except Exception as error:  # noqa: BLE001 - a bug may be any; it ends this session only
            return self._peer.fail(error)
        self._peer.on_step()


class InlineDriver(Peer):
    """Drives a session in the caller's thread, without an event loop and as fast as the machine
    goes, for benchmarks and tests. It is the peer of the session, and its `Recognition` and
    `Slices` too: windows are scored at once, and jobs are answered when `answer_jobs` does it.

    Subclasses override `take` and `answer_jobs`. Errors are raised to the caller."""

    finals_waiting = 0  # no bound: an owner that answers nothing wants the session to go on

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
            if chunk := self.runner.take_slice():
                self.runner.scored(self._detector.score(*chunk))
            self.answer_jobs()

    def answer_jobs(self) -> None:
        """Answer jobs that wait with `runner.answered`, as many as there should be."""

    def fail(self, error: Exception) -> None:
        raise error

    def initial_state(self) -> object:
        return self._detector.initial_state()

    def schedule(self, runner: SessionRunner, *, behind: bool = False) -> None:
        self._is_scheduled = True

    @property
    def count(self) -> int:
        return len(self.jobs)

    def submit(self, effect: Recognise, runner: SessionRunner) -> None:
        self.jobs.append(effect)

    def cancel(self, number: int) -> None:
        self.jobs = deque(job for job in self.jobs if job.job != number)

    def cancel_all(self) -> None:
        self.jobs.clear()
