from __future__ import annotations

from oyez.metrics import Metrics


def test_figures_show_in_the_exposition() -> None:
    metrics = Metrics()
    metrics.job_wait.labels("final").observe(0.02)
    metrics.occurrences.labels("retractions").inc()
    text = metrics.exposition().decode()
    assert 'oyez_job_wait_seconds_count{urgency="final"} 1.0' in text
    assert 'oyez_occurrences_total{name="retractions"} 1.0' in text
    assert "_created" not in text


def test_servers_in_one_process_do_not_mix_their_figures() -> None:
    first, second = Metrics(), Metrics()
    first.audio_seconds.inc()
    assert "oyez_audio_seconds_total 0.0" in second.exposition().decode()
