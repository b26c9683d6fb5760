from __future__ import annotations

from oyez.metrics import Metrics
from oyez.runtime.job import End, JobMetrics, Urgency
from support.jobs import make_job


def test_operators_see_what_ran_how_long_it_waited_and_how_late_it_was() -> None:
    metrics = Metrics()
    watch = JobMetrics(metrics)
    partial = make_job(Urgency.PARTIAL, deadline_s=11.5, submitted_s=10.0, samples=16_000)
    watch.ran([partial, partial], 10.3, 10.7)
    watch.ended(partial, End.ANSWERED, 12.0)
    watch.ended(make_job(Urgency.FINAL, deadline_s=99.0), End.ANSWERED, 12.0)
    watch.ended(make_job(Urgency.SPECULATIVE), End.REPLACED, 12.0)
    shown = metrics.exposition().decode().splitlines()
    for line in (
        'oyez_job_wait_seconds_bucket{le="0.25",urgency="partial"} 0.0',
        'oyez_job_wait_seconds_bucket{le="0.5",urgency="partial"} 2.0',
        'oyez_job_late_seconds_sum{urgency="partial"} 0.5',
        'oyez_job_late_seconds_bucket{le="0.0",urgency="final"} 1.0',
        'oyez_batch_jobs_sum{kind="partial"} 2.0',
        'oyez_batch_audio_seconds_sum{kind="partial"} 2.0',
        'oyez_batch_run_seconds_count{kind="partial"} 1.0',
        'oyez_jobs_total{end="answered",urgency="partial"} 1.0',
        'oyez_jobs_total{end="replaced",urgency="speculative"} 1.0',
    ):
        assert line in shown
    assert 'oyez_job_late_seconds_count{urgency="speculative"} 0.0' in shown
