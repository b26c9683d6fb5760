"""What every recognition engine must do: one suite, run on each engine by its name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
import pytest
import soundfile
import soxr

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import (
    BUILT_IN_MODEL,
    LANGUAGES,
    EngineOptions,
    Hypothesis,
    Purpose,
    Recogniser,
    RecogniserClass,
    RecognitionError,
    Request,
)
from oyez.engines.registry import RECOGNISERS, find_recogniser
from oyez.runtime.engine import EngineChoice
from oyez.runtime.engine_process import EngineProcess
from support.markdown import blocks

SAMPLE = Path(__file__).parents[2] / "src/oyez/assets/two_cities.wav"
WITH_MODEL = [name for name in RECOGNISERS if name != "fake"]
WISDOM_S, LIGHT_S = 5.8, 14.3
"""Where these words of the recording end."""
DOCUMENTED = "as documented"
IN_A_PROCESS = "whisper-onnx in a process of its own"
"""As a server uses it."""
PAGE = Path(__file__).parents[2] / "docs/engines.md"
SENTENCE_SAMPLES = 3 * SAMPLE_RATE

pytestmark = pytest.mark.model


@pytest.fixture(scope="module", params=[*RECOGNISERS, DOCUMENTED, IN_A_PROCESS])
def engine(request: pytest.FixtureRequest) -> Iterator[Recogniser]:
    with _loaded(request.param) as engine:
        yield engine


@pytest.fixture(scope="module", params=[*WITH_MODEL, IN_A_PROCESS])
def model(request: pytest.FixtureRequest) -> Iterator[Recogniser]:
    with _loaded(request.param) as model:
        yield model


@contextmanager
def _loaded(name: str) -> Iterator[Recogniser]:
    if name != IN_A_PROCESS:
        yield _load(name)
        return
    cache_dir = platformdirs.user_cache_dir("oyez")
    choice = EngineChoice(
        engine="whisper-onnx",
        model="base",
        device="cpu",
        threads=2,
        cache_dir=cache_dir,
        models_dir="unused",
    )
    process = EngineProcess(choice, lambda line: None)
    try:
        yield process
    finally:
        process.close()


def _load(name: str) -> Recogniser:
    engine_class = _documented_engine() if name == DOCUMENTED else find_recogniser(name)
    cache_dir = platformdirs.user_cache_dir("oyez")
    return engine_class.load(EngineOptions(BUILT_IN_MODEL, "cpu", 2, cache_dir))


def _documented_engine() -> RecogniserClass:
    """The engine that the page on engines shows."""
    (block,) = [each for each in blocks(PAGE) if each.info == "python engine"]
    names: dict[str, Any] = {}
    exec(compile(block.text, block.name, "exec"), names)
    engine_class: RecogniserClass
    (engine_class,) = [each for each in names.values() if hasattr(each, "recognise")]
    return engine_class


@pytest.fixture(scope="module")
def speech() -> Samples:
    """ "It was the best of times, it was the worst of times …", 20 s."""
    samples, rate = soundfile.read(SAMPLE, dtype="float32")
    heard: Samples = soxr.resample(samples, rate, SAMPLE_RATE).astype(np.float32)
    return heard


def answer(engine: Recogniser, request: Request) -> Hypothesis:
    (hypothesis,) = engine.recognise([request])
    assert isinstance(hypothesis, Hypothesis)
    return hypothesis


def check(hypothesis: Hypothesis, request: Request) -> None:
    assert hypothesis.language in LANGUAGES
    assert hypothesis.pieces[: len(request.prefix)] == request.prefix
    assert 0 <= hypothesis.no_speech <= 1
    ends = [piece.end_samples for piece in hypothesis.pieces]
    assert ends == sorted(ends)
    for piece in hypothesis.pieces:
        assert piece.text == piece.text.encode().decode()
        assert "\ufffd" not in piece.text
        assert piece.tokens
        assert 0 <= piece.probability <= 1
        assert piece.end_samples <= max(len(request.samples), *ends[: len(request.prefix)], 0)


def test_says_what_it_can_do(engine: Recogniser) -> None:
    info = engine.info
    assert set(info.languages) <= set(LANGUAGES)
    assert info.max_samples >= 25 * SAMPLE_RATE
    assert info.max_batch >= 1


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("language", ["en", None])
def test_answers_in_form(
    engine: Recogniser, speech: Samples, purpose: Purpose, language: str | None
) -> None:
    request = Request(speech[:SENTENCE_SAMPLES], purpose, language)
    hypothesis = answer(engine, request)
    check(hypothesis, request)
    assert hypothesis.pieces
    assert hypothesis.language == "en"
    if language is None:
        assert sum(hypothesis.language_scores.values()) == pytest.approx(1, abs=0.01)
    else:
        assert not hypothesis.language_scores


def test_begins_with_the_prefix(engine: Recogniser, speech: Samples) -> None:
    whole = Request(speech[:SENTENCE_SAMPLES], Purpose.PARTIAL, "en")
    pieces = answer(engine, whole).pieces
    for count in (1, 3, len(pieces)):
        request = Request(whole.samples, Purpose.PARTIAL, "en", prefix=pieces[:count])
        hypothesis = answer(engine, request)
        check(hypothesis, request)
        assert hypothesis.text.startswith("".join(piece.text for piece in pieces[:count]))


def test_short_speech_is_taken_for_the_language_that_is_expected(
    model: Recogniser, speech: Samples
) -> None:
    german = {code: 0.95 if code == "de" else 0.05 / 26 for code in LANGUAGES}
    word = Request(speech[: SAMPLE_RATE * 4 // 5], Purpose.FINAL)
    alone = answer(model, word)
    expected = answer(model, replace(word, language_prior=german))
    assert (alone.language, expected.language) == ("en", "de")
    assert expected.language_scores == alone.language_scores
    clear = Request(speech[: 6 * SAMPLE_RATE], Purpose.FINAL, language_prior=german)
    assert answer(model, clear).language == "en"


def test_a_hint_changes_nothing(engine: Recogniser, speech: Samples) -> None:
    shorter = Request(speech[: SENTENCE_SAMPLES - SAMPLE_RATE], Purpose.PARTIAL, "en")
    hint = answer(engine, shorter).pieces
    plain = Request(speech[:SENTENCE_SAMPLES], Purpose.PARTIAL, "en")
    hinted = Request(speech[:SENTENCE_SAMPLES], Purpose.PARTIAL, "en", hint=hint)
    assert answer(engine, hinted).text == answer(engine, plain).text


def test_a_batch_is_answered_in_order(engine: Recogniser, speech: Samples) -> None:
    requests = [
        Request(speech[: SENTENCE_SAMPLES // 2], Purpose.PARTIAL, "en"),
        Request(speech[:SENTENCE_SAMPLES], Purpose.FINAL, "en"),
        Request(speech[:SENTENCE_SAMPLES], Purpose.PARTIAL),
        Request(speech[: 2 * SENTENCE_SAMPLES], Purpose.PARTIAL, "en"),
    ]
    together = engine.recognise(requests)
    assert len(together) == len(requests)
    for request, hypothesis in zip(requests, together, strict=True):
        assert isinstance(hypothesis, Hypothesis)
        check(hypothesis, request)
        assert hypothesis.text == answer(engine, request).text


def test_no_requests_no_answers(engine: Recogniser) -> None:
    assert engine.recognise([]) == []


def test_no_audio_no_words(engine: Recogniser) -> None:
    request = Request(np.zeros(0, np.float32), Purpose.FINAL, "en")
    assert answer(engine, request).text == ""


def test_the_longest_audio_is_taken(engine: Recogniser, speech: Samples) -> None:
    longest = np.resize(speech, engine.info.max_samples)
    request = Request(longest, Purpose.FINAL, "en")
    check(answer(engine, request), request)


def test_audio_that_is_too_long_harms_only_itself(model: Recogniser, speech: Samples) -> None:
    good = Request(speech[:SENTENCE_SAMPLES], Purpose.FINAL, "en")
    too_long = Request(np.zeros(model.info.max_samples + 1, np.float32), Purpose.FINAL, "en")
    bad, fine = model.recognise([too_long, good])
    assert isinstance(bad, RecognitionError)
    assert isinstance(fine, Hypothesis) and fine.pieces


def test_warms_up(engine: Recogniser) -> None:
    engine.warm_up()


def test_recognises_what_is_said(model: Recogniser, speech: Samples) -> None:
    heard = answer(model, Request(speech, Purpose.FINAL)).text.lower()
    for word in ("best of times", "worst of times", "age of wisdom", "season of light"):
        assert word in heard


def test_reports_the_times_of_words(model: Recogniser, speech: Samples) -> None:
    pieces = answer(model, Request(speech, Purpose.PARTIAL, "en")).pieces
    heard = {piece.text.strip().lower(): piece.end_samples / SAMPLE_RATE for piece in pieces}
    assert heard["wisdom"] == pytest.approx(WISDOM_S, abs=0.3)
    assert heard["light"] == pytest.approx(LIGHT_S, abs=0.3)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_may_be_asked_for(model: Recogniser, speech: Samples, language: str) -> None:
    """On audio too short for an engine to know better."""
    request = Request(speech[: SAMPLE_RATE * 3 // 2], Purpose.PARTIAL, language)
    hypothesis = answer(model, request)
    check(hypothesis, request)
    assert hypothesis.language == language


def test_context_is_never_said_by_itself(model: Recogniser, speech: Samples) -> None:
    context = "Madame Defarge, Jarvis Lorry, guillotine. " * 60
    for samples in (np.zeros(2 * SAMPLE_RATE, np.float32), speech[:SENTENCE_SAMPLES]):
        heard = answer(model, Request(samples, Purpose.FINAL, "en", context)).text
        assert "Defarge" not in heard and "guillotine" not in heard


def _tone(*hertz: float, seconds: float = 4.0) -> Samples:
    time_s = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    waves = [np.sin(2 * np.pi * frequency * time_s) for frequency in hertz]
    samples: Samples = (0.3 * np.mean(waves, axis=0)).astype(np.float32)
    return samples


NON_SPEECH = {
    "silence": np.zeros(3 * SAMPLE_RATE, np.float32),
    "white noise": np.random.default_rng(1).normal(0, 0.05, 4 * SAMPLE_RATE).astype(np.float32),
    "faint noise": np.random.default_rng(2).normal(0, 0.001, 4 * SAMPLE_RATE).astype(np.float32),
    "tone": _tone(440),
    "mains hum": _tone(50, 100, 150),
    "touch tones": np.concatenate([_tone(697, 1209, seconds=0.2), _tone(770, 1336, seconds=0.2)]),
    "clicks": np.where(np.arange(4 * SAMPLE_RATE) % SAMPLE_RATE < 50, 0.5, 0).astype(np.float32),
}


@pytest.mark.parametrize("purpose", Purpose)
@pytest.mark.parametrize("language", ["en", "zh", None])
@pytest.mark.parametrize("sound", NON_SPEECH)
def test_no_words_without_speech(
    model: Recogniser, sound: str, language: str | None, purpose: Purpose
) -> None:
    assert answer(model, Request(NON_SPEECH[sound], purpose, language)).text == ""
