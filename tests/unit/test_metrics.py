from __future__ import annotations

import re
from pathlib import Path

import oyez
from oyez.metrics import OCCURRENCES, Metrics


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


def test_all_that_sessions_count_is_shown_from_the_start() -> None:
    source = "".join(path.read_text() for path in Path(oyez.__file__).parent.rglob("*.py"))
    counted = set(re.findall(r'(?:Count|occurrences\.labels|_time_out)\("(\w+)"', source))
    assert counted == set(OCCURRENCES)
    text = Metrics().exposition().decode()
    assert all(f'oyez_occurrences_total{{name="{name}"}} 0.0' in text for name in counted)


def test_tallies_are_counted_once() -> None:
    metrics = Metrics()
    metrics.tally.audio_samples += 16_000
    metrics.tally.decode_s += 0.25
    for _ in range(2):
        text = metrics.exposition().decode()
    assert "oyez_audio_seconds_total 1.0" in text
    assert 'oyez_stage_seconds_total{stage="decode"} 0.25' in text
