"""Measures what sessions do, for the metrics and for the last log line of each.

Latencies are those that a client sees, without the network: they end when an event is handed to
the outbox. Times are seconds of a clock that comes in. Event loop only.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from statistics import median

from oyez.accounts.usage import LanguageUsage
from oyez.audio.pcm import SAMPLE_RATE
from oyez.logs import RateLimitedLogger
from oyez.metrics import CLOSE_CODES, OTHER, Metrics
from oyez.protocol.effects import Completed, Count, Effect, Recognise, Send, SpeechOnset
from oyez.protocol.server_events import (
    ERROR_CODES,
    BufferCleared,
    BufferCommitted,
    ErrorEvent,
    InterimText,
    ServerEvent,
    SpeechStarted,
    SpeechStopped,
    TranscriptionCompleted,
    TranscriptionFailed,
)
from oyez.runtime.session_jobs import AHEAD_S
from oyez.server.access.refusals import REASONS, SERVER_REASONS

LATE_FINAL_S = 2.0
REMEMBERED_TURNS = 256
REMEMBERED_JOBS = 64
REMEMBERED_PACKETS = 64
TOGETHER_S = 0.03
"""Packets that come so close after each other are remembered as one, with the time of the first.
So the remembered packets cover almost two seconds of speech, however small they are."""

log = logging.getLogger(__name__)


_latest = partial(deque[float], maxlen=REMEMBERED_TURNS)


@dataclass(slots=True)
class Figures:
    """What one session or file did so far, for its usage and its last log line."""

    audio_samples: int = 0
    speech_s: float = 0.0
    turns: int = 0
    interims: int = 0
    finals: int = 0
    empty: int = 0
    """Finals without words."""
    failed: int = 0
    errors: int = 0
    retractions: int = 0
    first_words_s: deque[float] = field(default_factory=_latest)
    """From `speech_started` to the first words, for the latest turns."""
    final_s: deque[float] = field(default_factory=_latest)
    """From the end of a turn to its final, for the latest turns."""
    languages: dict[str, LanguageUsage] = field(default_factory=dict)

    @property
    def audio_s(self) -> float:
        return self.audio_samples / SAMPLE_RATE

    def completed(self, item: Completed) -> None:
        """Count the result of an item."""
        self.speech_s += item.speech_s
        if item.failure is not None:
            self.failed += 1
            return
        self.finals += 1
        self.empty += not item.transcript
        before = self.languages.get(item.language, LanguageUsage(0, 0.0))
        self.languages[item.language] = LanguageUsage(
            before.turns + 1, before.speech_s + item.speech_s
        )

    def fields(self) -> dict[str, float | int]:
        """Return the fields of a log line. Medians are left out while they have no values."""
        counts = ("turns", "interims", "finals", "empty", "failed", "errors", "retractions")
        fields: dict[str, float | int] = {
            "audio_s": round(self.audio_s, 2),
            "speech_s": round(self.speech_s, 2),
            **{name: getattr(self, name) for name in counts},
        }
        if self.first_words_s:
            fields["first_words_ms"] = round(1000 * median(self.first_words_s))
        if self.final_s:
            fields["final_ms"] = round(1000 * median(self.final_s))
            fields["slowest_final_ms"] = round(1000 * max(self.final_s))
        return fields


class ServerMetrics:
    """The metrics that all sessions of a server share."""

    def __init__(self, metrics: Metrics, models: Sequence[str]) -> None:
        """models: names with a label of their own; clients may make up others."""
        self.metrics = metrics
        self.seldom = RateLimitedLogger(log)
        self._models = frozenset(models)
        for model in self._models:
            metrics.sessions_opened.labels(model)
        for reason in REASONS:
            metrics.refused.labels(reason)
        for code in ERROR_CODES:
            metrics.errors.labels(code)

    def refused(self, reason: str) -> None:
        """Count a caller that was refused, for one of REASONS."""
        self.metrics.refused.labels(reason).inc()
        write = self.seldom.warning if reason in SERVER_REASONS else self.seldom.info
        write(f"callers are turned away: {reason}")

    def session(self, model: str, clock: Callable[[], float]) -> SessionMetrics:
        """Count a session that begins, and return its metrics."""
        shown = model if model in self._models else OTHER
        self.metrics.sessions_opened.labels(shown).inc()
        return SessionMetrics(self, clock)


class Arrivals:
    """When the latest audio of a session came. Positions are samples since the session began; times
    are seconds of any one clock."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, float]] = deque(maxlen=REMEMBERED_PACKETS)
        self.latest_s = 0.0
        """When the newest audio came; 0 before any came."""

    def add(self, end_samples: int, at_s: float) -> None:
        """Note that the audio up to `end_samples`, behind what is noted already, came at `at_s`."""
        self.latest_s = at_s
        if self._ends and at_s - self._ends[-1][1] < TOGETHER_S:
            at_s = self._ends.pop()[1]
        self._ends.append((end_samples, at_s))

    def at_s(self, sample: int) -> float | None:
        """Return when a sample came, at most 30 ms too early. A forgotten sample has the time of
        the earliest remembered one. None: no audio has come."""
        found = None
        for end_samples, at_s in reversed(self._ends):
            if found is not None and end_samples <= sample:
                break
            found = at_s
        return found


@dataclass(slots=True)
class _Turn:
    """The times of a turn that has not ended."""

    mode: str = "manual"
    started_s: float | None = None
    """When `speech_started` was sent."""
    onset_s: float | None = None
    """When its first speech arrived."""
    committed_s: float | None = None
    interim_s: float | None = None
    """When its last interim result was sent."""
    has_words: bool = False

    @property
    def is_announced(self) -> bool:
        """Whether the client was sent an event about it. In manual mode, only a commit makes a
        turn."""
        return self.started_s is not None or self.committed_s is not None


class SessionMetrics:
    """The metrics of one session, made by `ServerMetrics.session`."""

    def __init__(self, server: ServerMetrics, clock: Callable[[], float]) -> None:
        self.figures = Figures()
        self._metrics = server.metrics
        self._seldom = server.seldom
        self._clock = clock
        self._began_s = clock()
        self._arrivals = Arrivals()
        self._turns: dict[str, _Turn] = {}
        """By item. In manual mode any event may be the first of a turn."""
        self._requested_s: dict[int, float] = {}
        self._covered_s = 0.0

    @property
    def duration_s(self) -> float:
        """The time since the session began."""
        return self._clock() - self._began_s

    def add_audio(self, samples: int, arrived_s: float) -> None:
        """Count audio that was decoded; its message came at `arrived_s`."""
        self.figures.audio_samples += samples
        self._metrics.tally.audio_samples += samples
        self._arrivals.add(self.figures.audio_samples, arrived_s)

    def answered(self, job: int) -> None:
        """Note that the events sent until the next call follow from this answer."""
        self._covered_s = self._requested_s.pop(job, self._arrivals.latest_s)

    def observe(self, effect: Effect) -> None:
        """Measure an effect of the session that is about to be carried out."""
        match effect:
            case Send(event):
                self._sent(event)
            case Recognise(job):
                self._requested_s[job] = self._arrivals.latest_s
                if len(self._requested_s) > REMEMBERED_JOBS:  # those replaced are never answered
                    del self._requested_s[next(iter(self._requested_s))]
            case SpeechOnset(item_id, onset_samples):
                self._turns[item_id].onset_s = self._arrivals.at_s(onset_samples)
            case Completed():
                self.figures.completed(effect)
                self._metrics.speech_seconds.labels(effect.language).inc(effect.speech_s)
            case Count(name):
                self.figures.retractions += name == "retractions"
                self._metrics.occurrences.labels(name).inc()

    def ended(self, close_code: int) -> None:
        """End the session: turns that have not ended are abandoned."""
        for turn in self._turns.values():
            if turn.is_announced:
                self._end(turn, "abandoned")
        self._turns.clear()
        shown = str(close_code)
        self._metrics.sessions_closed.labels(shown if shown in CLOSE_CODES else OTHER).inc()

    def _sent(self, event: ServerEvent) -> None:
        metrics, figures = self._metrics, self.figures
        match event:
            case SpeechStarted():
                metrics.speech_started.inc()
                metrics.turns_open.inc()
                self._turns[event.item_id] = _Turn(mode="vad", started_s=self._clock())
            case SpeechStopped():
                metrics.speech_stopped.inc()
            case BufferCommitted():
                figures.turns += 1
                turn = self._turns.setdefault(event.item_id, _Turn())
                if not turn.is_announced:
                    metrics.turns_open.inc()
                turn.committed_s = self._clock()
                metrics.turns_committed.labels(turn.mode).inc()
            case BufferCleared():
                self._turns = {key: turn for key, turn in self._turns.items() if turn.is_announced}
            case InterimText():
                figures.interims += 1
                metrics.interims.inc()
                turn = self._turns.setdefault(event.item_id, _Turn())
                self._interim(turn, bool(event.text or event.stash))
            case TranscriptionCompleted():
                self._completed(self._turns.pop(event.item_id), bool(event.transcript))
            case TranscriptionFailed():
                self._end(self._turns.pop(event.item_id), "failed")
            case ErrorEvent():
                figures.errors += 1
                metrics.errors.labels(event.error.code or event.error.type).inc()

    @property
    def _pace(self) -> str:
        """Whether the session's audio is so far ahead of the clock that it comes from a file."""
        ahead_s = self.figures.audio_s - self.duration_s
        return "background" if ahead_s > AHEAD_S else "live"

    def _interim(self, turn: _Turn, has_words: bool) -> None:
        if has_words:
            self._words(turn)
        if turn.committed_s is not None:
            return  # it repeats what is complete
        now_s, pace = self._clock(), self._pace
        if turn.interim_s is not None:
            self._metrics.interim_gap.labels(pace).observe(now_s - turn.interim_s)
        turn.interim_s = now_s
        self._metrics.interim_lag.labels(pace).observe(now_s - self._covered_s)

    def _words(self, turn: _Turn) -> None:
        if turn.has_words or turn.started_s is None:
            return
        turn.has_words = True
        now_s, pace = self._clock(), self._pace
        self.figures.first_words_s.append(now_s - turn.started_s)
        self._metrics.first_words.labels(pace).observe(now_s - turn.started_s)
        if turn.onset_s is not None:
            self._metrics.first_words_after_onset.labels(pace).observe(now_s - turn.onset_s)

    def _completed(self, turn: _Turn, has_words: bool) -> None:
        if has_words:
            self._words(turn)
        self._end(turn, "words" if has_words else "empty")
        assert turn.committed_s is not None, "completed before it was committed"
        final_s, pace = self._clock() - turn.committed_s, self._pace
        self.figures.final_s.append(final_s)
        self._metrics.final.labels(turn.mode, pace).observe(final_s)
        if pace == "live" and final_s > LATE_FINAL_S:
            self._seldom.warning("finals are late", after_s=round(final_s, 2))

    def _end(self, turn: _Turn, outcome: str) -> None:
        self._metrics.turns_ended.labels(turn.mode, outcome).inc()
        self._metrics.turns_open.dec()
