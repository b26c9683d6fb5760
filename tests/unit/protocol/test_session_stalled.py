"""A client that stops sending while a turn is open: it ends, as silence would have ended it."""

from __future__ import annotations

import base64
import json

import numpy as np
import pytest

from oyez.protocol.client_events import AudioAppend
from oyez.protocol.dialect import SessionLimits
from support.driver import Driver, silence, speech, to_pcm
from support.order import COMMITTED, COMPLETED, CREATED, STARTED, STOPPED, TEXT, check_events

PATIENCE_MS = 800 + 4000


def muted(**options: object) -> Driver:
    """In mid speech, after 1.6 s of audio."""
    driver = Driver(**options)  # type: ignore[arg-type]
    driver.stream(np.concatenate([silence(0.5), speech(1.1)]))
    return driver


def edges(driver: Driver) -> list[str]:
    return [name for name in driver.types() if name not in (TEXT, "session.created")]


def test_the_turn_ends_where_the_audio_ends_and_its_final_comes() -> None:
    driver = muted()
    driver.wait(PATIENCE_MS - 1)
    assert edges(driver) == [STARTED]
    driver.wait(1)
    assert edges(driver) == [STARTED, STOPPED, COMMITTED, CREATED, COMPLETED]
    assert driver.of("speech_stopped")[0]["audio_end_ms"] == 1600
    assert driver.finals[0].startswith("w30")
    assert driver.counts == ["stalled_turns"]
    driver.wait(60_000)
    assert edges(driver) == [STARTED, STOPPED, COMMITTED, CREATED, COMPLETED]


def test_later_audio_goes_on_and_begins_a_new_turn() -> None:
    driver = muted()
    driver.wait(PATIENCE_MS)
    driver.stream(np.concatenate([speech(1.0, 0.5), silence(1.2)]))
    driver.finish()
    starts = [event["audio_start_ms"] for event in driver.of("speech_started")]
    assert starts == [180, 1600], "not before the end of the turn before"
    assert [final[:3] for final in driver.finals] == ["w30", "w50"]
    check_events(driver.events)


def test_the_time_counts_from_the_last_audio_and_nothing_else_resets_it() -> None:
    driver = muted()
    driver.wait(PATIENCE_MS - 1000)
    driver.append(speech(0.1))
    driver.wait(PATIENCE_MS - 1)
    driver.commit()
    driver.send({"type": "response.create"})
    driver.append_bytes(b"")
    assert edges(driver) == [STARTED]
    driver.wait(1)
    assert edges(driver)[1] == STOPPED


def test_a_longer_silence_that_ends_turns_waits_longer() -> None:
    driver = Driver()
    driver.update(turn_detection={"silence_duration_ms": 2000})
    driver.stream(speech(1.0))
    driver.wait(PATIENCE_MS)
    assert STOPPED not in driver.types()
    driver.wait(1200)
    assert STOPPED in driver.types()


def test_input_that_waits_is_no_silence() -> None:
    driver = muted(limits=SessionLimits(idle_timeout_ms=10_000))
    for _ in range(20):
        driver.now_ms += 1000
        assert driver.session.tick(driver.now_ms, more_waits=True) == []
    driver.wait(PATIENCE_MS - 1)
    assert edges(driver) == [STARTED]
    driver.wait(1)
    assert edges(driver)[1] == STOPPED


def test_audio_that_is_not_scored_yet_is_no_silence() -> None:
    driver = muted()
    driver.session.receive(AudioAppend(None, to_pcm(speech(4.0))), driver.now_ms)
    for _ in range(10):
        driver.now_ms += 1000
        assert driver.session.tick(driver.now_ms) == []


def append_message(samples: np.ndarray) -> str:
    audio = base64.b64encode(to_pcm(samples)).decode()
    return json.dumps({"type": "input_audio_buffer.append", "audio": audio})


def test_it_can_be_switched_off_and_manual_turns_wait_for_their_commit() -> None:
    for driver in (muted(limits=SessionLimits(stalled_turn_ms=0)), Driver()):
        if not driver.of("speech_started"):
            driver.update(turn_detection=None)
            driver.stream(speech(1.0))
        driver.wait(200_000)
        assert not {STOPPED, COMMITTED} & set(driver.types())


def test_without_an_open_turn_nothing_happens() -> None:
    driver = Driver()
    driver.wait(PATIENCE_MS)
    driver.update(turn_detection={"silence_duration_ms": 400})
    driver.wait(PATIENCE_MS)
    driver.stream(silence(1.0))
    driver.wait(2 * PATIENCE_MS)
    assert edges(driver) == ["session.updated"]


@pytest.mark.parametrize("rate", [8000, 24_000])
def test_what_the_resampler_holds_belongs_to_the_turn(rate: int) -> None:
    driver = Driver()
    driver.update(audio={"input": {"format": {"rate": rate}}})
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate).astype(np.float32)
    driver.append_bytes(to_pcm(tone) + b"\x00")
    driver.wait(PATIENCE_MS)
    assert driver.of("speech_stopped")[0]["audio_end_ms"] == 1000
    driver.append_bytes(b"\x00" + bytes(2 * rate - 2))
    driver.finish()
    assert driver.session.decoded_samples == 32_000
    check_events(driver.events)
