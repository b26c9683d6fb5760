"""The metrics of a server, in Prometheus' text format at `/metrics`.

Each server has a registry of its own, so that servers in one process do not mix their figures.
Clients cannot invent values of labels: ids, keys and unknown names are never labels.

Labels declared with `()` get their values from the code that defines these values, before the
server listens. The values of all other labels are listed in this file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import partial
from itertools import product
from typing import Any, TypeVar

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
        self._define_latency()
        self._define_engine()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)

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
        counter, gauge = partial(self._add, Counter), partial(self._add, Gauge)
        self.sessions_open = gauge("sessions_open", "Sessions that are open.")
        text = "Sessions that the server would accept in addition."
        self.sessions_room = gauge("sessions_room", text)
        text = "Sessions that have begun, by the model that the client requested."
        self.sessions_opened = counter("sessions_opened", text, model=())
        text = "Sessions that have ended, by close code."
        self.sessions_closed = counter("sessions_closed", text, close_code=(*CLOSE_CODES, OTHER))
        text = "Requests that were refused before a session began, by reason."
        self.refused = counter("refused", text, reason=())
        self.errors = counter("errors", "Events of type error that were sent, by code.", code=())
        text = "Events inside sessions, by name."
        self.occurrences = counter("occurrences", text, name=OCCURRENCES)
        text = "HTTP requests by route and status; a session has status 101."
        self.http_requests = counter("http_requests", text, path=(), status=())
        text = "Files that are being uploaded, wait, or are being transcribed."
        self.transcriptions_open = gauge("transcriptions_open", text)
        self.transcriptions = counter("transcriptions", "Files by outcome.", outcome=TRANSCRIBED)
        self.audio_seconds = counter("audio_seconds", "Audio received by sessions.")
        text = "Speech in turns that were recognised, by language."
        self.speech_seconds = counter("speech_seconds", text, language=())
        self.speech_started = counter("speech_started", "Turns that began by voice activity.")
        self.speech_stopped = counter("speech_stopped", "Turns that ended by voice activity.")
        text = "Turns whose audio is complete, by mode."
        self.turns_committed = counter("turns_committed", text, mode=MODES)
        text = "Turns that have ended, by mode and outcome."
        self.turns_ended = counter("turns_ended", text, mode=MODES, outcome=OUTCOMES)
        self.turns_open = gauge("turns_open", "Turns that have begun and have not ended.")
        self.interims = counter("interims", "Interim results that were sent.")
        text = "Sessions whose usage is not in the database yet."
        self.usage_waiting = gauge("usage_waiting", text)
        text = "Failed attempts to write usage to the database; each is repeated."
        self.usage_write_failures = counter("usage_write_failures", text)

    def _define_latency(self) -> None:
        histogram = partial(self._add, Histogram)
        text = "Time from sending speech_started to sending the first words."
        self.first_words = histogram("first_words_seconds", text, _FIRST_WORDS_S, pace=PACES)
        text = "Time from receiving the first speech of a turn to sending its first words."
        self.first_words_after_onset = histogram(
            "first_words_after_onset_seconds", text, _FIRST_WORDS_S, pace=PACES
        )
        text = "Time from the end of a turn (speech_stopped, or a commit) to sending its final."
        self.final = histogram("final_seconds", text, _FINAL_S, mode=MODES, pace=PACES)
        text = "Time between two interim results of a turn that goes on."
        self.interim_gap = histogram("interim_gap_seconds", text, _GAP_S, pace=PACES)
        text = "Time from receiving the newest audio of an interim result to sending the result."
        self.interim_lag = histogram("interim_lag_seconds", text, _LAG_S, pace=PACES)
        text = "Audio that waits for its final, in the session that has most of it."
        self.backlog = self._add(Gauge, "backlog_seconds", text)
        self.send = histogram("send_seconds", "Time until the socket accepted an event.", _SEND_S)
        text = "Time until an HTTP request was answered."
        self.http_seconds = histogram("http_request_seconds", text, _HTTP_S, path=())
        self.loop_lag = histogram("event_loop_lag_seconds", "Delay of the event loop.", _LOOP_LAG_S)
        text = "Time of the event loop, by stage of the work."
        self._stage_seconds = self._add(Counter, "stage_seconds", text, stage=STAGES)

    def _define_engine(self) -> None:
        gauge, histogram = partial(self._add, Gauge), partial(self._add, Histogram)
        text = "Version, engine and model of this server."
        self.build = Info("oyez_build", text, registry=self._registry)
        text = "Share of the engine's time in use in the last seconds."
        self.load_busy = gauge("load_busy", text)
        text = "Share that would be in use with partials as often as requested."
        self.load_demand = gauge("load_demand", text)
        text = "Share that the open sessions need, with partials at their lowest rate."
        self.load_needed = gauge("load_needed", text)
        self.load_limit = gauge("load_limit", "The setting max_load; 0 is no limit.")
        text = "Recognition jobs that have not begun, by urgency."
        self.jobs_waiting = gauge("jobs_waiting", text, urgency=())
        text = "Recognition jobs that have ended, by urgency and by how they ended."
        self.jobs_ended = self._add(Counter, "jobs", text, urgency=(), end=())
        text = "Time from requesting a recognition job to its beginning."
        self.job_wait = histogram("job_wait_seconds", text, _JOB_S, urgency=())
        text = "Time from the deadline of a recognition job to its answer; 0 if in time."
        self.job_late = histogram("job_late_seconds", text, (0.0, *_JOB_S), urgency=())
        text = "Time of one call of the engine."
        self.batch_run = histogram("batch_run_seconds", text, _JOB_S, kind=())
        self.batch_jobs = histogram("batch_jobs", "Jobs in one call of the engine.", _JOBS, kind=())
        text = "Audio in one call of the engine."
        self.batch_audio = histogram("batch_audio_seconds", text, _BATCH_AUDIO_S, kind=())

    def _add(
        self,
        kind: type[T],
        name: str,
        help_text: str,
        bounds: Sequence[float] = (),
        /,
        **labels: Sequence[str],
    ) -> T:
        """Add a metric, with a series for each combination of labels at 0: a series that appears
        later with the value 1 shows no increase. bounds: of a histogram's buckets."""
        buckets: dict[str, Any] = {"buckets": bounds} if bounds else {}
        metric = kind(f"oyez_{name}", help_text, list(labels), registry=self._registry, **buckets)
        if labels:
            for values in product(*labels.values()):
                metric.labels(*values)
        return metric
