"""Tells operators what the scheduler does."""

from __future__ import annotations

from collections.abc import Sequence

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import Purpose
from oyez.metrics import Metrics
from oyez.runtime.job import Job, Urgency
from oyez.runtime.scheduler import End

BATCH_KINDS = (*(purpose.value for purpose in Purpose), "background")
"""What the jobs of a batch are for."""


class Watch:
    """An `Observer` that fills the metrics."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        for urgency in Urgency:
            for by_urgency in (metrics.jobs_waiting, metrics.job_wait, metrics.job_late):
                by_urgency.labels(urgency.label)
            for end in End:
                metrics.jobs_ended.labels(urgency.label, end.value)
        for kind in BATCH_KINDS:
            for by_kind in (metrics.batch_run, metrics.batch_jobs, metrics.batch_audio):
                by_kind.labels(kind)

    def ran(self, batch: Sequence[Job], began_s: float, ended_s: float) -> None:
        for job in batch:
            self._metrics.job_wait.labels(job.urgency.label).observe(began_s - job.submitted_s)
        kind = "background" if batch[0].is_background else batch[0].request.purpose.value
        audio_samples = sum(job.samples for job in batch)
        self._metrics.batch_run.labels(kind).observe(ended_s - began_s)
        self._metrics.batch_jobs.labels(kind).observe(len(batch))
        self._metrics.batch_audio.labels(kind).observe(audio_samples / SAMPLE_RATE)

    def ended(self, job: Job, end: End, now_s: float) -> None:
        self._metrics.jobs_ended.labels(job.urgency.label, end.value).inc()
        if end is End.ANSWERED:
            late_s = max(0.0, now_s - job.deadline_s)
            self._metrics.job_late.labels(job.urgency.label).observe(late_s)
