"""The metrics of a server, in Prometheus' text format at `/metrics`.

Each server has a registry of its own, so that servers in one process do not mix their figures.
Clients cannot invent values of labels: ids, keys and unknown names are never labels.

Labels declared with `()` get their values from the code that defines these values, before the
server listens. The values of all other labels are listed in this file.
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

from oyez.audio.pcm import SAMPLE_RATE

CONTENT_TYPE = CONTENT_TYPE_LATEST

MODES = ("vad", "manual")
PACES = ("live", "background")
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
"""The label of everything that has no label of its own."""

# Bounds of buckets are dense where measured figures lie (docs/performance.md) and near the goals:
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
    """Sums that grow several times a message, too often for a counter with its lock.

    Use it on the event loop only. `Metrics.exposition` moves the sums into counters.
    """

    audio_samples: int = 0
    receive_s: float = 0.0
    decode_s: float = 0.0
    vad_s: float = 0.0
    follow_s: float = 0.0
    answer_s: float = 0.0


STAGES = tuple(field.name[:-2] for field in fields(Tally) if field.name.endswith("_s"))


class Metrics:
    """Every metric, as an attribute that the code which measures it fills."""

    def __init__(self) -> None:
        # Without this, each series has a second one with the time of its creation.
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = CollectorRegistry()
        self.tally = Tally()
        self._define_sessions()
        self._define_speech()
        self._define_latency()
        self._define_engine()
        self._define_process()

    def exposition(self) -> bytes:
        """Return all metrics in the format of CONTENT_TYPE. Call it on the event loop only."""
        tally = self.tally
        self.audio_seconds.inc(tally.audio_samples / SAMPLE_RATE)
        tally.audio_samples = 0
        for stage in STAGES:
            self._stage_seconds.labels(stage).inc(getattr(tally, f"{stage}_s"))
            setattr(tally, f"{stage}_s", 0.0)
        return generate_latest(self._registry)

    def watch_engine(self, pid: Callable[[], int | None]) -> None:
        """Show memory, CPU time and files of the engine's process, as `oyez_engine_process_…`.

        `pid` returns the id of the process that runs now, or None if none does.
        """
        ProcessCollector(namespace="oyez_engine", pid=lambda: pid() or -1, registry=self._registry)

    def _define_sessions(self) -> None:
        self.sessions_open = self._gauge("sessions_open", "Sessions that are open.")
        self.sessions_room = self._gauge(
            "sessions_room", "Sessions that the server would accept in addition."
        )
        self.sessions_opened = self._counter(
            "sessions_opened",
            "Sessions that have begun, by the model that the client asked for.",
            model=(),
        )
        self.sessions_closed = self._counter(
            "sessions_closed",
            "Sessions that have ended, by close code.",
            close_code=(*CLOSE_CODES, OTHER),
        )
        self.refused = self._counter(
            "refused", "Requests that were refused before a session began, by reason.", reason=()
        )
        self.errors = self._counter(
            "errors", "Events of type error that were sent, by code.", code=()
        )
        self.http_requests = self._counter(
            "http_requests",
            "HTTP requests by route and status; a session has status 101.",
            path=(),
            status=(),
        )
        self.http_seconds = self._histogram(
            "http_request_seconds", "Time until an HTTP request was answered.", _HTTP_S, path=()
        )
        self.transcriptions_open = self._gauge(
            "transcriptions_open", "Files that are being uploaded, wait, or are being transcribed."
        )
        self.transcriptions = self._counter(
            "transcriptions", "Files by outcome.", outcome=TRANSCRIBED
        )
        self.occurrences = self._counter(
            "occurrences", "Events inside sessions, by name.", name=OCCURRENCES
        )

    def _define_speech(self) -> None:
        self.audio_seconds = self._counter("audio_seconds", "Audio received by sessions.")
        self.speech_seconds = self._counter(
            "speech_seconds", "Speech in turns that were recognised, by language.", language=()
        )
        self.speech_started = self._counter("speech_started", "Turns that began by voice activity.")
        self.speech_stopped = self._counter("speech_stopped", "Turns that ended by voice activity.")
        self.turns_committed = self._counter(
            "turns_committed", "Turns whose audio is complete, by mode.", mode=MODES
        )
        self.turns_ended = self._counter(
            "turns_ended",
            "Turns that have ended, by mode and outcome.",
            mode=MODES,
            outcome=OUTCOMES,
        )
        self.turns_open = self._gauge("turns_open", "Turns that have begun and have not ended.")
        self.interims = self._counter("interims", "Interim results that were sent.")

    def _define_latency(self) -> None:
        self.first_words = self._histogram(
            "first_words_seconds",
            "Time from sending speech_started to sending the first words.",
            _FIRST_WORDS_S,
            pace=PACES,
        )
        self.first_words_after_onset = self._histogram(
            "first_words_after_onset_seconds",
            "Time from receiving the first speech of a turn to sending its first words.",
            _FIRST_WORDS_S,
            pace=PACES,
        )
        self.final = self._histogram(
            "final_seconds",
            "Time from the end of a turn (speech_stopped, or a commit) to sending its final.",
            _FINAL_S,
            mode=MODES,
            pace=PACES,
        )
        self.interim_gap = self._histogram(
            "interim_gap_seconds",
            "Time between two interim results of a turn that goes on.",
            _GAP_S,
            pace=PACES,
        )
        self.interim_lag = self._histogram(
            "interim_lag_seconds",
            "Time from receiving the newest audio of an interim result to sending the result.",
            _LAG_S,
            pace=PACES,
        )
        self.backlog = self._gauge(
            "backlog_seconds", "Audio that waits for its final, in the session that has most of it."
        )
        self.send = self._histogram(
            "send_seconds", "Time until the socket accepted an event.", _SEND_S
        )

    def _define_engine(self) -> None:
        self.load_busy = self._gauge(
            "load_busy", "Share of the engine's time in use in the last seconds."
        )
        self.load_demand = self._gauge(
            "load_demand", "Share that would be in use with partials as often as requested."
        )
        self.load_needed = self._gauge(
            "load_needed", "Share that the open sessions need, with partials at their lowest rate."
        )
        self.load_limit = self._gauge("load_limit", "The setting max_load; 0 is no limit.")
        self.jobs_waiting = self._gauge(
            "jobs_waiting", "Recognition jobs that have not begun, by urgency.", urgency=()
        )
        self.jobs_ended = self._counter(
            "jobs",
            "Recognition jobs that have ended, by urgency and by how they ended.",
            urgency=(),
            end=(),
        )
        self.job_wait = self._histogram(
            "job_wait_seconds",
            "Time from requesting a recognition job to its beginning.",
            _JOB_S,
            urgency=(),
        )
        self.job_late = self._histogram(
            "job_late_seconds",
            "Time from the deadline of a recognition job to its answer; 0 if in time.",
            (0.0, *_JOB_S),
            urgency=(),
        )
        self.batch_run = self._histogram(
            "batch_run_seconds", "Time of one call of the engine.", _JOB_S, kind=()
        )
        self.batch_jobs = self._histogram(
            "batch_jobs", "Jobs in one call of the engine.", _JOBS, kind=()
        )
        self.batch_audio = self._histogram(
            "batch_audio_seconds", "Audio in one call of the engine.", _BATCH_AUDIO_S, kind=()
        )

    def _define_process(self) -> None:
        self._stage_seconds = self._counter(
            "stage_seconds", "Time of the event loop, by stage of the work.", stage=STAGES
        )
        self.loop_lag = self._histogram(
            "event_loop_lag_seconds", "Delay of the event loop.", _LOOP_LAG_S
        )
        self.build = Info(
            "oyez_build", "Version, engine and model of this server.", registry=self._registry
        )
        self.usage_waiting = self._gauge(
            "usage_waiting", "Sessions whose usage is not in the database yet."
        )
        self.usage_write_failures = self._counter(
            "usage_write_failures",
            "Failed attempts to write usage to the database; each is repeated.",
        )
        ProcessCollector(registry=self._registry)
        PlatformCollector(registry=self._registry)
        GCCollector(registry=self._registry)

    def _gauge(self, name: str, help_text: str, /, **labels: Sequence[str]) -> Gauge:
        gauge = Gauge(f"oyez_{name}", help_text, list(labels), registry=self._registry)
        return _with_series(gauge, labels)

    def _counter(self, name: str, help_text: str, /, **labels: Sequence[str]) -> Counter:
        counter = Counter(f"oyez_{name}", help_text, list(labels), registry=self._registry)
        return _with_series(counter, labels)

    def _histogram(
        self, name: str, help_text: str, bounds: tuple[float, ...], /, **labels: Sequence[str]
    ) -> Histogram:
        histogram = Histogram(
            f"oyez_{name}", help_text, list(labels), buckets=bounds, registry=self._registry
        )
        return _with_series(histogram, labels)


def _with_series(metric: T, labels: dict[str, Sequence[str]]) -> T:
    """Create a series for each combination of labels, at 0: a series that appears later with the
    value 1 shows no increase."""
    if labels:
        for values in product(*labels.values()):
            metric.labels(*values)
    return metric
