"""Each latency of a session, by a clock of the test's own."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from oyez.engines.base import Purpose, Request
from oyez.metrics import Metrics
from oyez.protocol.effects import Completed, Count, Recognise, Send, SpeechOnset
from oyez.protocol.server_events import (
    BufferCleared,
    BufferCommitted,
    ErrorDetail,
    ErrorEvent,
    FailureDetail,
    InterimText,
    ServerEvent,
    SpeechStarted,
    SpeechStopped,
    TranscriptionCompleted,
    TranscriptionFailed,
)
from oyez.server.access.refusals import REASONS, Refusal
from oyez.server.session.session_metrics import REMEMBERED_JOBS, ServerMetrics

EVENT: dict[str, Any] = {"event_id": "event_1"}
WORDS: dict[str, Any] = {"language": "en", "emotion": "neutral"}


def started(item: str = "i") -> SpeechStarted:
    return SpeechStarted(**EVENT, audio_start_ms=0, item_id=item)


def stopped(item: str = "i") -> SpeechStopped:
    return SpeechStopped(**EVENT, audio_end_ms=1000, item_id=item)


def committed(item: str = "i") -> BufferCommitted:
    return BufferCommitted(**EVENT, previous_item_id=None, item_id=item)


def interim(stash: str = "hello", item: str = "i") -> InterimText:
    return InterimText(**EVENT, **WORDS, item_id=item, text="", stash=stash)


def completed(transcript: str = "Hello.", item: str = "i") -> TranscriptionCompleted:
    return TranscriptionCompleted(**EVENT, **WORDS, item_id=item, transcript=transcript)


def failed(item: str = "i") -> TranscriptionFailed:
    error = FailureDetail(code="InternalError", message="No.")
    return TranscriptionFailed(**EVENT, item_id=item, error=error)


def about(total: float, count: float) -> tuple[object, float]:
    """What `sum_and_count` should return. The sum may differ by rounding."""
    return (pytest.approx(total), count)


class Watched:
    """A session at 100.0 s; figures are read as Prometheus would."""

    def __init__(self, model: str = "known") -> None:
        self.now_s = 100.0
        self.metrics = Metrics()
        self.watch = ServerMetrics(self.metrics, ["known"]).session(model, lambda: self.now_s)

    def at(self, now_s: float, *events: ServerEvent) -> None:
        self.now_s = 100.0 + now_s
        for event in events:
            self.watch.observe(Send(event))

    def receive(self, until_s: float, arrived_s: float) -> None:
        samples = round(until_s * 16_000) - self.watch.figures.audio_samples
        self.watch.add_audio(samples, 100.0 + arrived_s)

    def ask(self, job: int) -> None:
        request = Request(samples=[], purpose=Purpose.PARTIAL)  # type: ignore[arg-type]
        self.watch.observe(Recognise(job, "i", 0, request, 0.5))

    def figure(self, series: str) -> float:
        lines = dict(
            line.rsplit(" ", 1)
            for line in self.metrics.exposition().decode().splitlines()
            if not line.startswith("#")
        )
        return float(lines.get(f"oyez_{series}", "nan"))

    def sum_and_count(self, name: str, labels: str) -> tuple[float, float]:
        return self.figure(f"{name}_sum{{{labels}}}"), self.figure(f"{name}_count{{{labels}}}")


def test_first_words_count_from_speech_started_and_from_the_arrival_of_the_first_speech() -> None:
    watched = Watched()
    for packet in range(10):
        watched.receive((packet + 1) / 10, packet / 10 + 0.1)
    watched.at(1.1, started())
    watched.watch.observe(SpeechOnset("i", round(0.65 * 16_000)))  # in the packet that came at 0.7
    watched.at(1.5, interim())
    watched.at(1.9, interim("hello there"))
    live = 'pace="live"'
    assert watched.sum_and_count("first_words_seconds", live) == about(0.4, 1.0)
    after_onset = watched.sum_and_count("first_words_after_onset_seconds", live)
    assert after_onset == about(0.8, 1.0)


def test_a_final_without_interims_has_the_first_words_and_an_empty_one_has_none() -> None:
    watched = Watched()
    watched.at(0.0, started("a"))
    watched.at(1.0, stopped("a"), committed("a"))
    watched.at(1.5, completed(item="a"))
    watched.at(2.0, started("b"))
    watched.at(2.5, stopped("b"), committed("b"), completed("", "b"))
    watched.watch.observe(Completed("b", 0, 8000, 0.2, "en", "neutral", "", ()))
    first_words = watched.sum_and_count("first_words_seconds", 'pace="live"')
    assert first_words == about(1.5, 1.0)
    assert watched.figure('turns_ended_total{mode="vad",outcome="words"}') == 1.0
    assert watched.figure('turns_ended_total{mode="vad",outcome="empty"}') == 1.0
    assert (watched.watch.figures.finals, watched.watch.figures.empty) == (1, 1)


def test_finals_count_from_the_end_of_their_turn() -> None:
    watched = Watched()
    watched.at(0.0, started())
    watched.at(2.0, stopped(), committed())
    watched.at(2.3, completed())
    watched.at(3.0, committed("manual"))
    watched.at(3.5, completed(item="manual"))
    vad, manual = (f'mode="{mode}",pace="live"' for mode in ("vad", "manual"))
    assert watched.sum_and_count("final_seconds", vad) == about(0.3, 1.0)
    assert watched.sum_and_count("final_seconds", manual) == about(0.5, 1.0)
    assert watched.watch.figures.fields()["final_ms"] == 400
    assert watched.watch.figures.fields()["slowest_final_ms"] == 500


def test_audio_far_ahead_of_the_clock_changes_no_figure_of_live_speech() -> None:
    watched = Watched()
    watched.receive(60.0, 0.1)
    watched.at(1.0, started(), interim(), stopped(), committed())
    watched.at(9.0, completed())
    assert watched.figure('first_words_seconds_count{pace="background"}') == 1.0
    assert watched.figure('final_seconds_count{mode="vad",pace="background"}') == 1.0
    assert watched.figure('final_seconds_count{mode="vad",pace="live"}') == 0.0


def test_the_gap_is_between_interims_of_one_turn_that_goes_on() -> None:
    watched = Watched()
    watched.at(0.0, started("a"))
    watched.at(0.5, interim(item="a"))
    watched.at(1.2, interim("hello you", item="a"))
    watched.at(2.0, stopped("a"), committed("a"))
    watched.at(2.4, interim("Hello, you.", item="a"), completed("Hello, you.", "a"))
    watched.at(5.0, started("b"), interim(item="b"))
    gaps = watched.sum_and_count("interim_gap_seconds", 'pace="live"')
    assert gaps == about(0.7, 1.0)
    assert watched.figure("interims_total") == 4.0


def test_the_lag_is_the_age_of_the_newest_audio_behind_a_result() -> None:
    watched = Watched()
    watched.at(0.0, started())
    watched.receive(0.5, 0.5)
    watched.ask(1)
    watched.receive(1.0, 1.0)
    watched.ask(2)
    watched.now_s = 101.3
    watched.watch.answered(1)
    watched.at(1.3, interim())
    watched.watch.answered(2)
    watched.at(1.4, interim("hello you"))
    lag = watched.sum_and_count("interim_lag_seconds", 'pace="live"')
    assert lag == about(0.8 + 0.4, 2.0)


def test_jobs_that_are_never_answered_are_forgotten() -> None:
    watched = Watched()
    for job in range(10 * REMEMBERED_JOBS):
        watched.ask(job)
    assert len(watched.watch._requested_s) == REMEMBERED_JOBS


def test_a_turn_is_open_from_its_first_event_to_its_end() -> None:
    watched = Watched()
    watched.at(0.0, started("a"), interim(item="manual"))
    assert watched.figure("turns_open") == 1.0
    watched.at(1.0, committed("a"), committed("manual"))
    assert watched.figure("turns_open") == 2.0
    watched.at(2.0, completed(item="a"), failed("manual"))
    assert watched.figure("turns_open") == 0.0
    assert watched.figure('turns_ended_total{mode="manual",outcome="failed"}') == 1.0


def test_turns_whose_client_left_are_abandoned() -> None:
    watched = Watched()
    watched.at(0.0, started("a"), committed("b"), interim(item="c"))
    watched.watch.ended(1006)
    assert watched.figure("turns_open") == 0.0
    assert watched.figure('turns_ended_total{mode="vad",outcome="abandoned"}') == 1.0
    assert watched.figure('turns_ended_total{mode="manual",outcome="abandoned"}') == 1.0
    assert watched.figure('sessions_closed_total{close_code="1006"}') == 1.0


def test_what_was_cleared_before_it_was_announced_is_forgotten() -> None:
    watched = Watched()
    for number in range(100):
        watched.at(0.0, interim(item=str(number)), BufferCleared(**EVENT))
    assert not watched.watch._turns


def test_clients_cannot_make_up_labels() -> None:
    watched = Watched(model="qwen3-asr-flash-realtime-of-my-own")
    watched.watch.ended(4321)
    text = watched.metrics.exposition().decode()
    assert "of-my-own" not in text
    assert "4321" not in text
    assert watched.figure('sessions_opened_total{model="other"}') == 1.0
    assert watched.figure('sessions_closed_total{close_code="other"}') == 1.0


def test_errors_and_occurrences_are_counted_by_name() -> None:
    watched = Watched()
    for code in ("invalid_value", None):
        detail = ErrorDetail(type="invalid_request_error", code=code, message="No.")
        watched.at(0.0, ErrorEvent(**EVENT, error=detail))
    watched.watch.observe(Count("retractions"))
    assert watched.figure('errors_total{code="invalid_value"}') == 1.0
    assert watched.figure('errors_total{code="invalid_request_error"}') == 1.0
    assert watched.figure('occurrences_total{name="retractions"}') == 1.0
    assert watched.watch.figures.fields()["retractions"] == 1


def test_late_finals_are_warned_of_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    watched = Watched()
    with caplog.at_level(logging.WARNING):
        for item in "abc":
            watched.at(0.0, committed(item))
            watched.at(2.5, completed(item=item))
    assert [record.message for record in caplog.records] == ["finals are late"]
    assert caplog.records[0].fields == {"after_s": 2.5}  # type: ignore[attr-defined]


def test_refused_callers_are_counted_by_reason_and_logged_once_in_a_while(
    caplog: pytest.LogCaptureFixture,
) -> None:
    metrics = Metrics()
    watch = ServerMetrics(metrics, [])
    with caplog.at_level(logging.INFO):
        for reason in ("key", "key", "busy", "key"):
            watch.refused(reason)
    logged = [(record.levelname, record.message) for record in caplog.records]
    assert logged == [
        ("INFO", "callers are turned away: key"),
        ("WARNING", "callers are turned away: busy"),
    ]
    assert 'oyez_refused_total{reason="key"} 3.0' in metrics.exposition().decode()


def test_a_refusal_has_one_of_the_reasons_that_operators_know() -> None:
    assert Refusal(503, "Code", "Message.", reason="busy").reason in REASONS
    with pytest.raises(ValueError, match="none of REASONS"):
        Refusal(503, "Code", "Message.", reason="made up")
