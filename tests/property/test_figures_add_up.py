"""Whatever a client does and however the engine fares: every turn is counted and ends once."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.engines.base import Hypothesis, Request
from oyez.metrics import MODES, OUTCOMES, Metrics
from oyez.protocol.effects import Effect
from oyez.protocol.errors import Overload
from oyez.server.session.session_metrics import ServerMetrics
from support.driver import Driver, silence, speech, spell

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("speech"), st.sampled_from([0.05, 0.4, 1.3, 21.0])),
        st.tuples(st.just("silence"), st.sampled_from([0.2, 0.9])),
        st.tuples(st.just("answer"), st.integers(1, 5)),
        st.tuples(st.sampled_from(["commit", "clear", "bad", "wait"]), st.just(0)),
    ),
    max_size=25,
)


class WatchedDriver(Driver):
    """The session's shell, watched as the server's is."""

    def __init__(self, metrics: Metrics, **options: Any) -> None:
        self.watch = ServerMetrics(metrics, []).session("any", lambda: 0.0)
        super().__init__(**options)

    def take(self, effect: Effect) -> None:
        self.watch.observe(effect)
        super().take(effect)

    def on_answer(self, job: int) -> None:
        self.watch.answered(job)


def run(driver: WatchedDriver, steps: list[tuple[str, Any]]) -> None:
    for step, value in steps:
        match step:
            case "speech":
                driver.append(speech(value))
            case "silence":
                driver.append(silence(value))
            case "answer":
                driver.answer(value)
            case "commit":
                driver.commit()
            case "clear":
                driver.send({"type": "input_audio_buffer.clear"})
            case "bad":
                driver.raw("{")
            case "wait":
                driver.wait(500)


def value(text: str, series: str) -> float:
    return next(
        float(line.rsplit(" ", 1)[1])
        for line in text.splitlines()
        if line.startswith(f"oyez_{series} ")
    )


def total(text: str, name: str) -> float:
    """Of all series of a counter."""
    lines = [line for line in text.splitlines() if line.startswith(f"oyez_{name}{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@settings(max_examples=80, deadline=None)
@given(
    steps=STEPS,
    manual=st.booleans(),
    at_once=st.booleans(),
    failing=st.sets(st.integers(0, 30)),
    silent=st.booleans(),
    finishes=st.booleans(),
)
@pytest.mark.slow
def test_figures_add_up(
    steps: list[tuple[str, Any]],
    manual: bool,
    at_once: bool,
    failing: set[int],
    silent: bool,
    finishes: bool,
) -> None:
    calls = 0

    def recognise(request: Request) -> Hypothesis:
        nonlocal calls
        calls += 1
        if calls in failing:
            raise Overload()
        return Hypothesis((), "en") if silent else spell(request)

    metrics = Metrics()
    driver = WatchedDriver(metrics, recognise=recognise, answer_at_once=at_once)
    driver.update(turn_detection=None if manual else {"silence_duration_ms": 400})
    run(driver, steps)
    check(metrics, driver)
    if finishes:
        driver.finish()
        driver.answer()
    driver.watch.ended(1000)
    check(metrics, driver)
    text = metrics.exposition().decode()
    assert value(text, "turns_open") == 0
    if finishes:
        assert all(
            value(text, f'turns_ended_total{{mode="{mode}",outcome="abandoned"}}') == 0
            for mode in MODES
        )


def check(metrics: Metrics, driver: WatchedDriver) -> None:
    text = metrics.exposition().decode()
    ended = {
        (mode, outcome): value(text, f'turns_ended_total{{mode="{mode}",outcome="{outcome}"}}')
        for mode in MODES
        for outcome in OUTCOMES
    }
    started, stopped = value(text, "speech_started_total"), value(text, "speech_stopped_total")
    committed = {mode: value(text, f'turns_committed_total{{mode="{mode}"}}') for mode in MODES}
    told = started + committed["manual"]
    assert told == sum(ended.values()) + value(text, "turns_open")
    assert committed["vad"] == stopped <= started <= stopped + 1
    assert sum(committed.values()) == len(driver.of(".committed"))
    finals = sum(ended[mode, outcome] for mode in MODES for outcome in ("words", "empty"))
    assert finals == len(driver.of("transcription.completed"))
    failed = sum(ended[mode, "failed"] for mode in MODES)
    assert failed == len(driver.of("transcription.failed"))
    assert failed == value(text, 'occurrences_total{name="failed_items"}')
    final_counts = [
        value(text, f'final_seconds_count{{mode="{mode}",pace="live"}}') for mode in MODES
    ]
    assert sum(final_counts) == finals
    assert total(text, "errors_total") == len(driver.of("error"))
    speech_s = sum(done.speech_s for done in driver.completed)
    assert total(text, "speech_seconds_total") == pytest.approx(speech_s)
    assert value(text, "interims_total") == len(driver.of("transcription.text"))
