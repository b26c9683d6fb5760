"""Drives a session as the server does, in one thread and without a clock."""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.engines.base import (
    WINDOW_SAMPLES,
    EmotionTracker,
    Hypothesis,
    Piece,
    Request,
    Scores,
    VoiceDetector,
)
from oyez.engines.emotion import Neutral
from oyez.protocol.client_events import AudioAppend, AudioCommit, ClientEvent, SessionFinish
from oyez.protocol.dialect import SessionLimits
from oyez.protocol.effects import Close, Completed, Count, Effect, Recognise, Send
from oyez.protocol.errors import ProtocolError
from oyez.protocol.qwen.dialect import QwenDialect
from oyez.protocol.session import Session
from oyez.runtime.session_runner import InlineDriver, SessionRunner

WORD_SAMPLES = 4800


def loudness_probabilities(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """A detector for tests: loud windows are speech."""
    windows = samples.reshape(-1, WINDOW_SAMPLES)
    is_loud: NDArray[np.bool_] = np.abs(windows).mean(axis=1) > 0.01
    return is_loud.astype(np.float32)


def spell(request: Request) -> Hypothesis:
    """A recogniser for tests: a word for each 0.3 s of loud audio, named after its loudness."""
    pieces = []
    loud = np.flatnonzero(np.abs(request.samples) > 0.01)
    start = int(loud[0]) if len(loud) else len(request.samples)
    for at in range(start, len(request.samples) - WORD_SAMPLES // 2, WORD_SAMPLES):
        part = np.abs(request.samples[at : at + WORD_SAMPLES])
        if part.mean() > 0.005:
            level = int(round(float(part.max()) * 100))
            pieces.append(
                Piece(f" w{level}", (level,), min(at + WORD_SAMPLES, len(request.samples)), 0.9)
            )
    if request.prefix:
        pieces = list(request.prefix) + pieces[len(request.prefix) :]
    return Hypothesis(tuple(pieces), request.language or "en")


class CallableDetector(VoiceDetector):
    """Scores windows with a function, float32 [n * 512] → [n]; keeps no state."""

    def __init__(self, function: Any) -> None:
        self._function = function

    def initial_state(self) -> object:
        return None

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        return self._function(samples), state


class Driver(InlineDriver):
    """A session without a server. `events` is everything sent, as the client would parse it."""

    def __init__(
        self,
        *,
        recognise: Any = spell,
        score: Any = loudness_probabilities,
        answer_at_once: bool = True,
        windows_at_once: int = 64,
        limits: SessionLimits | None = None,
        emotions: EmotionTracker | None = None,
    ) -> None:
        numbers = itertools.count(1)
        limits = limits or SessionLimits()
        self.now_ms = 0
        self.events: list[dict[str, Any]] = []
        self.counts: list[str] = []
        self.completed: list[Completed] = []
        self.closed: Close | None = None
        self.requests: list[Recognise] = []
        self.answer_at_once = answer_at_once
        self._recognise = recognise
        session = Session(
            model="qwen3-asr-flash-realtime",
            dialect=QwenDialect(limits),
            new_id=lambda kind: f"{kind}_{next(numbers)}",
            limits=limits,
            emotions=emotions or Neutral(),
            now_ms=0,
        )
        super().__init__(session, CallableDetector(score), windows_at_once)
        self.runner.open()

    def send(self, event: dict[str, Any]) -> list[dict[str, Any]]:
        """One client event as it is on the wire; returns the events it brought."""
        return self.raw(json.dumps(event))

    def raw(self, message: str | bytes) -> list[dict[str, Any]]:
        return self.give(self.session.dialect.decode(message))

    def give(self, event: ClientEvent) -> list[dict[str, Any]]:
        """One client event; returns the events it brought."""
        seen = len(self.events)
        self.receive(event)
        return self.events[seen:]

    def update(self, **session: Any) -> list[dict[str, Any]]:
        return self.send({"event_id": "u", "type": "session.update", "session": session})

    def append(self, samples: NDArray[np.float32]) -> list[dict[str, Any]]:
        return self.append_bytes(to_pcm(samples))

    def append_bytes(self, data: bytes) -> list[dict[str, Any]]:
        return self.give(AudioAppend(None, data))

    def stream(self, samples: NDArray[np.float32], packet_samples: int = 1600) -> None:
        for start in range(0, len(samples), packet_samples):
            self.append(samples[start : start + packet_samples])

    def commit(self) -> list[dict[str, Any]]:
        return self.give(AudioCommit("c"))

    def finish(self) -> list[dict[str, Any]]:
        return self.give(SessionFinish(None))

    def wait(self, ms: int) -> list[dict[str, Any]]:
        seen = len(self.events)
        self.now_ms += ms
        self.runner.tick()
        self.run()
        return self.events[seen:]

    def end(self, error: ProtocolError) -> None:
        """The session may not go on; at any time, also while audio is being scored."""
        self.runner.end(error)
        self.answer_jobs()

    def answer(self, count: int | None = None) -> None:
        """Answer waiting jobs, oldest first."""
        while self.jobs and (count is None or count > 0):
            self._answer(self.jobs.popleft())
            count = None if count is None else count - 1

    def types(self) -> list[str]:
        return [event["type"] for event in self.events]

    def of(self, suffix: str) -> list[dict[str, Any]]:
        return [event for event in self.events if event["type"].endswith(suffix)]

    @property
    def finals(self) -> list[str]:
        return [event["transcript"] for event in self.of("transcription.completed")]

    def clock_ms(self) -> int:
        return self.now_ms

    def submit(self, effect: Recognise, runner: SessionRunner) -> None:
        self.requests.append(effect)
        super().submit(effect, runner)

    def answer_jobs(self) -> None:
        if self.answer_at_once:
            self.answer()

    def take(self, effect: Effect) -> None:
        match effect:
            case Send():
                self.events += map(json.loads, self.session.dialect.encode(effect))
            case Completed():
                self.completed.append(effect)
            case Count(name):
                self.counts.append(name)
            case Close():
                self.closed = effect

    def _answer(self, effect: Recognise) -> None:
        try:
            outcome = self._recognise(effect.request)
        except Exception as error:  # noqa: BLE001 - a fake may fail as it likes
            outcome = error
        self.runner.answered(effect.job, outcome)


def to_pcm(samples: NDArray[np.float32]) -> bytes:
    return (samples * 32767).astype("<i2").tobytes()


def speech(seconds: float, level: float = 0.3) -> NDArray[np.float32]:
    """Loud audio."""
    n = int(seconds * 16000)
    return (np.where(np.arange(n) % 2, level, -level)).astype(np.float32)


def silence(seconds: float) -> NDArray[np.float32]:
    return np.zeros(int(seconds * 16000), np.float32)
