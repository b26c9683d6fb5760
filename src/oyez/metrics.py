"""What operators can watch, in Prometheus' text format at `/metrics`.

One registry per server, so that servers in one process do not mix their figures. No label has
values that clients can make up: ids, keys and unknown names are never labels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from itertools import product
from typing import TypeVar

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
SAMPLES_PER_S = 16_000

URGENCIES = ("final", "speculative", "partial", "background")
MODES = ("vad", "manual")
PACES = ("live", "background")
KINDS = ("final", "partial", "background")
ENDS = ("answered", "replaced", "cancelled", "evicted", "refused", "stopped", "given_up")
OUTCOMES = ("words", "empty", "failed", "abandoned")
TRANSCRIBED = ("transcribed", "failed", "abandoned")
OCCURRENCES = (
    "automatic_commits",
    "commits_after_automatic_commit",
    "commits_in_vad_mode",
    "failed_items",
    "failed_partials",
    "foreign_events",
    "idle_timeouts",
    "internal_errors",
    "retractions",
    "session_timeouts",
    "stalled_turns",
    "usage_recorded_late",
)
CLOSE_CODES = ("1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1011")
OTHER = "other"
"""Stands for all that has no label of its own."""

# Bounds lie close where the measured figures lie (docs/performance.md) and at what is aimed at:
# finals within 0.7 s, partials at least every 2.5 s.
_FIRST_WORDS_S = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.5, 5.0, 10.0)
_FINAL_S = (0.005, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0)
_GAP_S = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 10.0)
_LAG_S = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.5, 5.0, 10.0)
_SEND_S = (0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
_LOOP_LAG_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_HTTP_S = (0.01, 0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 1800.0)
_JOB_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_JOBS = (1, 2, 4, 8, 16, 32)
_BATCH_AUDIO_S = (0.5, 1, 2, 4, 8, 16, 30)

T = TypeVar("T", bound=Counter | Gauge | Histogram)


@dataclass(slots=True)
class Tally:
    """Sums that grow several times a message, too often for a counter with its lock. Event loop
    only; `Metrics.exposition` moves them into counters."""

    audio_samples: int = 0
    receive_s: float = 0.0
    decode_s: float = 0.0
    vad_s: float = 0.0
    follow_s: float = 0.0
    answer_s: float = 0.0


STAGES = tuple(field.name[:-2] for field in fields(Tally) if field.name.endswith("_s"))


class Metrics:
    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # birthdays tell nothing
        self._registry = CollectorRegistry()
        self.tally = Tally()
        self._define_sessions()
        self._define_speech()
        self._define_latency()
        self._define_engine()
        self._define_process()

    def exposition(self) -> bytes:
        """Everything, as CONTENT_TYPE says. Event loop only."""
        tally = self.tally
        self.audio_seconds.inc(tally.audio_samples / SAMPLES_PER_S)
        tally.audio_samples = 0
        for stage in STAGES:
            self._stage_seconds.labels(stage).inc(getattr(tally, f"{stage}_s"))
            setattr(tally, f"{stage}_s", 0.0)
        return generate_latest(self._registry)

    def watch_engine(self, pid: Callable[[], int | None]) -> None:
        """Show memory and CPU time of the engine's process too, as `oyez_engine_process_…`. pid: of
        the one that runs now; None: none does."""
        ProcessCollector(namespace="oyez_engine", pid=lambda: pid() or -1, registry=self._registry)

    def _define_sessions(self) -> None:
        self.sessions_open = self._gauge("sessions_open", "Sessions open now.")
        self.sessions_room = self._gauge("sessions_room", "Sessions that would be let in now.")
        self.sessions_opened = self._counter(
            "sessions_opened", "Sessions that began, by the model asked for.", model=()
        )
        self.sessions_closed = self._counter(
            "sessions_closed", "Sessions that ended.", close_code=(*CLOSE_CODES, OTHER)
        )
        self.refused = self._counter(
            "refused", "Callers turned away before a session began.", reason=()
        )
        self.errors = self._counter("errors", "Events of type error that were sent.", code=())
        self.http_requests = self._counter(
            "http_requests", "HTTP requests by route; sessions have status 101.", path=(), status=()
        )
        self.http_seconds = self._histogram(
            "http_request_seconds", "Until an HTTP request was answered.", _HTTP_S, path=()
        )
        self.transcriptions_open = self._gauge(
            "transcriptions_open", "Files that are uploaded, wait or are transcribed now."
        )
        self.transcriptions = self._counter(
            "transcriptions", "Files by what became of them.", outcome=TRANSCRIBED
        )
        self.occurrences = self._counter(
            "occurrences", "Things sessions count, by name.", name=OCCURRENCES
        )

    def _define_speech(self) -> None:
        self.audio_seconds = self._counter("audio_seconds", "Audio heard, while it is heard.")
        self.speech_seconds = self._counter(
            "speech_seconds", "Speech in turns that were recognised.", language=()
        )
        self.speech_started = self._counter("speech_started", "Turns that voice activity began.")
        self.speech_stopped = self._counter("speech_stopped", "Turns that voice activity ended.")
        self.turns_committed = self._counter(
            "turns_committed", "Turns whose audio is complete.", mode=MODES
        )
        self.turns_ended = self._counter(
            "turns_ended", "Turns by what became of them.", mode=MODES, outcome=OUTCOMES
        )
        self.turns_open = self._gauge("turns_open", "Turns that have begun and not ended.")
        self.interims = self._counter("interims", "Interim results that were sent.")

    def _define_latency(self) -> None:
        self.first_words = self._histogram(
            "first_words_seconds",
            "From the sending of speech_started to that of the first words.",
            _FIRST_WORDS_S,
            pace=PACES,
        )
        self.first_words_after_onset = self._histogram(
            "first_words_after_onset_seconds",
            "From the arrival of a turn's first speech to the sending of its first words.",
            _FIRST_WORDS_S,
            pace=PACES,
        )
        self.final = self._histogram(
            "final_seconds",
            "From the end of a turn (speech_stopped, or a commit) to the sending of its final.",
            _FINAL_S,
            mode=MODES,
            pace=PACES,
        )
        self.interim_gap = self._histogram(
            "interim_gap_seconds",
            "Between two interim results of a turn that goes on.",
            _GAP_S,
            pace=PACES,
        )
        self.interim_lag = self._histogram(
            "interim_lag_seconds",
            "From the arrival of the newest audio behind an interim result to its sending.",
            _LAG_S,
            pace=PACES,
        )
        self.backlog = self._gauge(
            "backlog_seconds", "Audio that waits for its final, of the session with most of it."
        )
        self.send = self._histogram("send_seconds", "Until the socket took an event.", _SEND_S)

    def _define_engine(self) -> None:
        self.load_busy = self._gauge("load_busy", "Share of the engine's time in use, lately.")
        self.load_demand = self._gauge(
            "load_demand", "Share that partials as often as asked for would take, lately."
        )
        self.load_needed = self._gauge(
            "load_needed", "Share that the open sessions need, partials at their slowest."
        )
        self.load_limit = self._gauge("load_limit", "The setting max_load; 0: no limit.")
        self.jobs_waiting = self._gauge(
            "jobs_waiting", "Recognition jobs that have not begun.", urgency=URGENCIES
        )
        self.jobs_ended = self._counter(
            "jobs", "Recognition jobs by how they ended.", urgency=URGENCIES, end=ENDS
        )
        self.job_wait = self._histogram(
            "job_wait_seconds", "From asked to begun.", _JOB_S, urgency=URGENCIES
        )
        self.job_late = self._histogram(
            "job_late_seconds",
            "Answered so long after it was wanted.",
            (0.0, *_JOB_S),
            urgency=URGENCIES,
        )
        self.batch_run = self._histogram(
            "batch_run_seconds", "One engine call.", _JOB_S, kind=KINDS
        )
        self.batch_jobs = self._histogram(
            "batch_jobs", "Jobs in one engine call.", _JOBS, kind=KINDS
        )
        self.batch_audio = self._histogram(
            "batch_audio_seconds", "Audio in one engine call.", _BATCH_AUDIO_S, kind=KINDS
        )

    def _define_process(self) -> None:
        self._stage_seconds = self._counter(
            "stage_seconds", "Time of the event loop, by what it was spent on.", stage=STAGES
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "How late the event loop is.", _LOOP_LAG_S
        )
        self.build = Info("oyez_build", "What is running.", registry=self._registry)
        self.usage_waiting = self._gauge(
            "usage_waiting", "Sessions whose usage is not yet in the database."
        )
        self.usage_write_failures = self._counter(
            "usage_write_failures", "Times the database did not take usage; it is tried again."
        )
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def _gauge(self, name: str, help_text: str, /, **labels: Sequence[str]) -> Gauge:
        gauge = Gauge(f"oyez_{name}", help_text, list(labels), registry=self._registry)
        return _shown_from_the_start(gauge, labels)

    def _counter(self, name: str, help_text: str, /, **labels: Sequence[str]) -> Counter:
        counter = Counter(f"oyez_{name}", help_text, list(labels), registry=self._registry)
        return _shown_from_the_start(counter, labels)

    def _histogram(
        self, name: str, help_text: str, bounds: tuple[float, ...], /, **labels: Sequence[str]
    ) -> Histogram:
        histogram = Histogram(
            f"oyez_{name}", help_text, list(labels), buckets=bounds, registry=self._registry
        )
        return _shown_from_the_start(histogram, labels)


def _shown_from_the_start(metric: T, labels: dict[str, Sequence[str]]) -> T:
    """Where all values of its labels are known: else nobody would see the first rise from 0."""
    if labels:
        for values in product(*labels.values()):
            metric.labels(*values)
    return metric
