"""What operators can watch, in Prometheus' text format at `/metrics`.

One registry per server, so that servers in one process do not mix their figures.
"""

from __future__ import annotations

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_JOBS = (1, 2, 4, 8, 16, 32)
_AUDIO_SECONDS = (0.5, 1, 2, 4, 8, 16, 30)


class Metrics:
    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]  # birthdays tell nothing
        self._registry = registry = CollectorRegistry()
        self.sessions_open = Gauge("oyez_sessions_open", "Sessions open now.", registry=registry)
        self.sessions_closed = Counter(
            "oyez_sessions_closed", "Sessions that ended.", ["close_code"], registry=registry
        )
        self.refused = Counter(
            "oyez_refused", "Upgrades refused before a session began.", ["code"], registry=registry
        )
        self.audio_seconds = Counter(
            "oyez_audio_seconds", "Audio heard in sessions that ended.", registry=registry
        )
        self.occurrences = Counter(
            "oyez_occurrences", "Things sessions count, by name.", ["name"], registry=registry
        )
        self.jobs_waiting = Gauge(
            "oyez_jobs_waiting", "Recognition jobs that have not begun.", registry=registry
        )
        self.sessions_room = self._gauge("sessions_room", "Sessions that would be let in now.")
        self.load_busy = self._gauge("load_busy", "Share of the engine's time in use, lately.")
        self.load_demand = self._gauge(
            "load_demand", "Share that partials as often as asked for would take, lately."
        )
        self.load_needed = self._gauge(
            "load_needed", "Share that the open sessions need, partials at their slowest."
        )
        self.jobs_ended = Counter(
            "oyez_jobs",
            "Recognition jobs by how they ended.",
            ["urgency", "end"],
            registry=registry,
        )
        self.job_wait = self._histogram(
            "job_wait_seconds", "From asked to begun.", "urgency", _SECONDS
        )
        self.job_late = self._histogram(
            "job_late_seconds", "Answered so long after it was wanted.", "urgency", (0.0, *_SECONDS)
        )
        self.batch_run = self._histogram("batch_run_seconds", "One engine call.", "kind", _SECONDS)
        self.batch_jobs = self._histogram("batch_jobs", "Jobs in one engine call.", "kind", _JOBS)
        self.batch_audio = self._histogram(
            "batch_audio_seconds", "Audio in one engine call.", "kind", _AUDIO_SECONDS
        )

        self.usage_waiting = self._gauge(
            "usage_waiting", "Sessions whose usage is not yet in the database."
        )
        self.usage_write_failures = Counter(
            "oyez_usage_write_failures",
            "Times the database did not take usage; it is tried again.",
            registry=registry,
        )

    def exposition(self) -> bytes:
        """Everything, as CONTENT_TYPE says."""
        return generate_latest(self._registry)

    def _gauge(self, name: str, help_text: str) -> Gauge:
        return Gauge(f"oyez_{name}", help_text, registry=self._registry)

    def _histogram(
        self, name: str, help_text: str, label: str, buckets: tuple[float, ...]
    ) -> Histogram:
        return Histogram(
            f"oyez_{name}", help_text, [label], buckets=buckets, registry=self._registry
        )
