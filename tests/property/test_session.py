"""What must hold for any audio, any packets, any messages."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oyez.protocol.effects import Completed
from oyez.protocol.errors import ClientError
from support.driver import Driver, loudness_probabilities, silence, speech, to_pcm
from support.order import check_events

utterances = st.lists(
    st.tuples(
        st.sampled_from([0.1, 0.4, 0.9, 1.4]),
        st.sampled_from([0.05, 0.3, 0.9, 2.5, 12.0]),
        st.sampled_from([0.2, 0.3, 0.5]),
    ),
    max_size=4,
)


def audio_of(parts: list[tuple[float, float, float]]) -> np.ndarray:
    pieces = [np.concatenate([silence(quiet), speech(loud, level)]) for quiet, loud, level in parts]
    return np.concatenate([*pieces, silence(0.1)])


def run(audio: bytes, cuts: list[int], manual: bool, windows_at_once: int = 64) -> Driver:
    driver = Driver(windows_at_once=windows_at_once)
    driver.update(turn_detection=None if manual else {"silence_duration_ms": 400})
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    for start, end in zip(edges, edges[1:], strict=False):
        driver.append_bytes(audio[start:end])
    if manual and audio:
        driver.commit()
    driver.finish()
    return driver


def outcome(driver: Driver) -> list[tuple[Any, ...]]:
    """Edges, items and finals; how those of different turns interleave may depend on pace."""
    keys = ("type", "audio_start_ms", "audio_end_ms", "transcript", "language")
    events = [
        tuple(event.get(key) for key in keys)
        for event in driver.events
        if not event["type"].endswith("transcription.text")
    ]
    return sorted(events, key=lambda event: str(event[0]))


def unnamed(driver: Driver) -> list[Completed]:
    """Items are named as they come, and interim events may take numbers too."""
    return [replace(each, item_id="") for each in driver.completed]


def check_completed(driver: Driver) -> None:
    """One for each item, in its order, with every word between the turn's ends."""
    sent = [(event["item_id"], event["transcript"]) for event in driver.of(".completed")]
    assert [(each.item_id, each.transcript) for each in driver.completed] == sent
    for each in driver.completed:
        assert "".join(word.text for word in each.words) == each.transcript
        times = [time for word in each.words for time in (word.start_samples, word.end_samples)]
        assert [each.start_samples, *times, each.end_samples] == sorted(
            [each.start_samples, *times, each.end_samples]
        )
        assert bool(each.words) <= (each.speech_s > 0)
        assert each.speech_s <= (each.end_samples - each.start_samples) / 16000


@settings(max_examples=40, deadline=None)
@given(
    parts=utterances,
    cuts=st.lists(st.integers(0, 800_000), max_size=30),
    manual=st.booleans(),
    windows_at_once=st.sampled_from([1, 7, 64]),
)
def test_packets_change_nothing(
    parts: list[tuple[float, float, float]], cuts: list[int], manual: bool, windows_at_once: int
) -> None:
    audio = to_pcm(audio_of(parts))
    whole = run(audio, [], manual)
    cut = run(audio, cuts, manual, windows_at_once)
    assert outcome(cut) == outcome(whole)
    assert unnamed(cut) == unnamed(whole)
    check_completed(cut)
    check_events(cut.events)
    check_events(whole.events)


@settings(max_examples=60, deadline=None)
@given(
    parts=utterances,
    manual=st.booleans(),
    answers=st.lists(st.integers(0, 5), min_size=1, max_size=20),
    shuffle=st.randoms(use_true_random=False),
)
@pytest.mark.slow
def test_late_and_shuffled_answers_change_no_final(
    parts: list[tuple[float, float, float]], manual: bool, answers: list[int], shuffle: Any
) -> None:
    audio = audio_of(parts)
    at_once = run(to_pcm(audio), [], manual)
    driver = Driver(answer_at_once=False)
    driver.update(turn_detection=None if manual else {"silence_duration_ms": 400})
    for number, start in enumerate(range(0, len(audio), 4800)):
        driver.append(audio[start : start + 4800])
        shuffle.shuffle(driver.jobs)
        driver.answer(answers[number % len(answers)])
    if manual:
        driver.commit()
    driver.finish()
    while driver.jobs:
        shuffle.shuffle(driver.jobs)
        driver.answer(1)
    assert outcome(driver) == outcome(at_once)
    assert unnamed(driver) == unnamed(at_once)
    check_events(driver.events)


@settings(max_examples=40, deadline=None)
@given(
    parts=utterances,
    muted_at=st.integers(0, 400_000),
    pauses_ms=st.lists(st.integers(0, 30_000), min_size=2, max_size=2),
    packet_samples=st.sampled_from([320, 1600, 48_000]),
)
def test_however_long_nothing_comes_turns_and_finals_are_the_same(
    parts: list[tuple[float, float, float]],
    muted_at: int,
    pauses_ms: list[int],
    packet_samples: int,
) -> None:
    audio = audio_of(parts)
    outcomes = []
    for pause_ms in pauses_ms:
        driver = Driver()
        driver.update(turn_detection={"silence_duration_ms": 400})
        driver.stream(audio[:muted_at], packet_samples)
        for _ in range(10):
            driver.wait(pause_ms // 10)
        driver.stream(audio[muted_at:], packet_samples)
        driver.finish()
        check_completed(driver)
        check_events(driver.events)
        outcomes.append((outcome(driver), unnamed(driver)))
    stalls = [pause_ms // 10 * 10 >= 4400 for pause_ms in pauses_ms]
    assert stalls[0] != stalls[1] or outcomes[0] == outcomes[1]
    if not any(stalls):
        whole = run(to_pcm(audio), [], manual=False)
        assert outcomes[0] == (outcome(whole), unnamed(whole))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner),
    max_leaves=12,
)
KEYS = [
    "modalities", "input_audio_format", "sample_rate", "input_audio_transcription", "language",
    "corpus", "text", "turn_detection", "type", "threshold", "silence_duration_ms",
    "prefix_padding_ms", "audio", "input", "format", "rate", "session", "event_id",
]  # fmt: skip
TYPES = [
    "session.update", "input_audio_buffer.append", "input_audio_buffer.commit",
    "input_audio_buffer.clear", "session.finish", "response.create",
]  # fmt: skip
plausible = st.recursive(
    json_values | st.sampled_from(["server_vad", "zh", "pcm", "opus", 8000, "AAAA"]),
    lambda inner: st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=10,
)
events = st.fixed_dictionaries(
    {"type": st.sampled_from(TYPES) | json_values},
    optional={"session": plausible, "audio": st.sampled_from(["AAAA", "A", "/38="]) | json_values},
)
messages = st.one_of(
    st.text(max_size=60),
    st.binary(max_size=60),
    json_values.map(json.dumps),
    events.map(json.dumps),
)


@settings(max_examples=200, deadline=None)
@given(st.lists(messages, max_size=12))
def test_nothing_a_client_sends_raises(sent: list[str | bytes]) -> None:
    driver = Driver()
    for message in sent:
        driver.raw(message)
    driver.finish()
    assert driver.types()[-1] == "session.finished"
    check_events(driver.events)


@settings(max_examples=40, deadline=None)
@given(
    parts=utterances,
    cuts=st.lists(st.integers(0, 800_000), max_size=30),
    manual=st.booleans(),
    windows_at_once=st.sampled_from([1, 7, 64]),
    ended_at=st.integers(0, 40),
)
def test_a_session_ended_at_any_moment_answers_what_it_had_begun_to_hear(
    parts: list[tuple[float, float, float]],
    cuts: list[int],
    manual: bool,
    windows_at_once: int,
    ended_at: int,
) -> None:
    scorings = 0

    def score(samples: np.ndarray) -> np.ndarray:
        nonlocal scorings
        scorings += 1
        if scorings == ended_at:
            driver.end(ClientError("The key was revoked.", code="InvalidApiKey"))
        return loudness_probabilities(samples)

    driver = Driver(windows_at_once=windows_at_once, score=score)
    driver.update(turn_detection=None if manual else {"silence_duration_ms": 400})
    audio = to_pcm(audio_of(parts))
    edges = [0, *sorted(min(cut, len(audio)) for cut in cuts), len(audio)]
    for start, end in zip(edges, edges[1:], strict=False):
        driver.append_bytes(audio[start:end])
    driver.end(ClientError("The key was revoked.", code="InvalidApiKey"))
    driver.wait(0)
    check_events(driver.events)
    assert [event["error"]["code"] for event in driver.of("error")] == ["InvalidApiKey"]
    assert driver.types()[-1] == "session.finished"
    committed, answered = driver.of("committed"), driver.of("transcription.completed")
    assert [e["item_id"] for e in committed] == [e["item_id"] for e in answered]
    assert driver.finish() == driver.append(speech(1.0)) == []
