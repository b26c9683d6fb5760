from __future__ import annotations

import unicodedata
import wave
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest

from oyez.audio.pcm import Samples
from oyez.engines.base import (
    BUILT_IN_MODEL,
    LANGUAGES,
    EngineOptions,
    Hypothesis,
    Purpose,
    Recogniser,
    Request,
)
from oyez.engines.language_prior import FLAT, prior_after
from oyez.engines.whisper_onnx import engine as whisper_onnx
from oyez.engines.whisper_onnx.engine import WhisperOnnx

pytestmark = pytest.mark.model


@pytest.fixture(scope="module")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def engine(cache_dir: Path) -> Recogniser:
    return WhisperOnnx.load(EngineOptions(BUILT_IN_MODEL, "cpu", 2, str(cache_dir)))


@pytest.fixture(scope="module")
def speech() -> Samples:
    path = files("oyez") / "assets" / "two_cities.wav"
    with path.open("rb") as file, wave.open(file) as audio:
        data = audio.readframes(audio.getnframes())
    return np.frombuffer(data, np.int16).astype(np.float32) / np.float32(32768)


def recognise(engine: Recogniser, request: Request) -> Hypothesis:
    (answer,) = engine.recognise([request])
    assert isinstance(answer, Hypothesis)
    return answer


def noise(seconds: float, level: float) -> Samples:
    return np.random.default_rng(1).normal(0, level, int(seconds * 16_000)).astype(np.float32)


def tone(seconds: float, *hz: float) -> Samples:
    time = np.arange(int(seconds * 16_000)) / 16_000
    samples: Samples = (0.2 * np.sum([np.sin(2 * np.pi * f * time) for f in hz], axis=0)).astype(
        np.float32
    )
    return samples


def test_words_really_repeated_are_kept(engine: Recogniser, speech: Samples) -> None:
    answer = recognise(engine, Request(speech, Purpose.FINAL))
    assert answer.language == "en"
    assert set(answer.language_scores) == set(LANGUAGES)
    assert answer.text.lower().count("it was the") >= 4
    assert answer.no_speech < 0.5


def test_pieces_end_in_order_within_the_audio(engine: Recogniser, speech: Samples) -> None:
    pieces = recognise(engine, Request(speech, Purpose.FINAL, language="en")).pieces
    ends = [piece.end_samples for piece in pieces]
    assert ends == sorted(ends)
    assert ends[0] >= 0
    assert 0.7 * len(speech) < ends[-1] <= len(speech)


def test_a_hint_does_not_change_the_words(engine: Recogniser, speech: Samples) -> None:
    plain = recognise(engine, Request(speech, Purpose.FINAL, language="en"))
    half = speech[: len(speech) // 2]
    partial = recognise(engine, Request(half, Purpose.PARTIAL, language="en"))
    wrong = plain.pieces[:5] + plain.pieces[9:]
    for hint in (plain.pieces, partial.pieces, wrong):
        hinted = recognise(engine, Request(speech, Purpose.FINAL, language="en", hint=hint))
        assert hinted.text == plain.text


def test_a_prefix_is_kept_and_continued(engine: Recogniser, speech: Samples) -> None:
    plain = recognise(engine, Request(speech, Purpose.FINAL, language="en"))
    prefix = plain.pieces[:6]
    answer = recognise(engine, Request(speech, Purpose.FINAL, language="en", prefix=prefix))
    assert answer.pieces[:6] == prefix
    assert answer.text == plain.text


def test_batch_mates_change_nothing(engine: Recogniser, speech: Samples) -> None:
    lengths = (len(speech), len(speech) * 2 // 3, 32_000, 8_000)
    requests = [Request(speech[:length], Purpose.FINAL, language="en") for length in lengths]
    together = engine.recognise(requests)
    for request, answer in zip(requests, together, strict=True):
        assert isinstance(answer, Hypothesis)
        alone = recognise(engine, request)
        assert answer.text == alone.text
        assert answer.no_speech == pytest.approx(alone.no_speech, abs=0.02)
        assert answer.features is not None and alone.features is not None
        assert np.array_equal(answer.features, alone.features)


def test_features_do_not_depend_on_what_else_is_wanted(engine: Recogniser, speech: Samples) -> None:
    assert isinstance(engine, WhisperOnnx)
    alone = engine.features(speech)
    assert alone.shape == (2, 512) and alone.dtype == np.float32
    for purpose in Purpose:
        answer = recognise(engine, Request(speech, purpose))
        assert answer.features is not None
        assert np.array_equal(answer.features, alone)
    assert engine.info.feature_space.endswith("-layers-1-2")


def test_features_of_a_louder_or_longer_voice_differ_from_those_of_another(
    engine: Recogniser, speech: Samples
) -> None:
    """They tell how something sounds: less from level and cut than from pitch and speed."""
    assert isinstance(engine, WhisperOnnx)

    def distance(changed: Samples) -> float:
        return float(np.linalg.norm(engine.features(changed) - engine.features(speech)))

    higher = np.interp(np.arange(0, len(speech) - 1, 1.25), np.arange(len(speech)), speech)
    assert distance(speech[1600:]) < distance(higher.astype(np.float32)) / 2
    assert distance(speech * np.float32(0.5)) < distance(higher.astype(np.float32)) / 2


def test_calls_at_the_same_time_do_not_disturb_each_other(
    engine: Recogniser, speech: Samples
) -> None:
    requests = [
        Request(speech[start : start + 48_000], purpose, language)
        for start in (0, 60_000, 150_000)
        for purpose in Purpose
        for language in ("en", None)
    ]
    alone = [recognise(engine, request).text for request in requests]
    with ThreadPoolExecutor(engine.info.parallel) as threads:
        at_once = list(threads.map(lambda request: recognise(engine, request).text, requests * 2))
    assert at_once == alone * 2


def test_a_language_that_the_audio_excludes_is_overruled(
    engine: Recogniser, speech: Samples
) -> None:
    right = Request(speech, Purpose.FINAL, language="en")
    wrong = Request(speech, Purpose.FINAL, language="ko")
    asked, overruled = engine.recognise([right, wrong])
    assert isinstance(asked, Hypothesis)
    assert isinstance(overruled, Hypothesis)
    assert overruled.language == "en"
    assert overruled.text == asked.text


@pytest.mark.parametrize("purpose", Purpose)
def test_a_term_is_written_as_given_where_it_is_spoken(
    engine: Recogniser, speech: Samples, purpose: Purpose
) -> None:
    pieces = recognise(engine, Request(speech, Purpose.FINAL, "en")).pieces
    (end,) = [piece.end_samples for piece in pieces if piece.text == " winter"]
    request = Request(speech[end - 11_200 : end + 4_000], purpose, "en")
    assert "Wintour" not in recognise(engine, request).text
    context = "Defarge, Wintour, Lorry"
    assert "Wintour" in recognise(engine, replace(request, context=context)).text


@pytest.mark.parametrize("purpose", Purpose)
def test_terms_that_nobody_says_change_nothing(
    engine: Recogniser, speech: Samples, purpose: Purpose
) -> None:
    request = Request(speech, purpose, "en")
    context = "Madame Defarge, Jarvis Lorry, guillotine, Wintour, Evrémonde, Bastille"
    plain = recognise(engine, request)
    assert recognise(engine, replace(request, context=context)).text == plain.text


@pytest.mark.parametrize(
    "samples",
    [
        pytest.param(np.zeros(0, np.float32), id="nothing"),
        pytest.param(np.zeros(1_600, np.float32), id="100 ms"),
        pytest.param(np.zeros(80_000, np.float32), id="silence"),
        pytest.param(noise(3, 0.05), id="noise"),
        pytest.param(noise(8, 1e-4), id="hiss"),
        pytest.param(tone(4, 50, 150), id="hum"),
        pytest.param(tone(2, 1000), id="tone"),
        pytest.param(tone(1, 770, 1336), id="DTMF"),
        pytest.param(tone(6, 220, 277, 330), id="chord"),
    ],
)
@pytest.mark.parametrize("context", ["", "Kubernetes, Saravanan"])
def test_sounds_without_speech_give_no_words(
    engine: Recogniser, samples: Samples, context: str
) -> None:
    assert recognise(engine, Request(samples, Purpose.FINAL, context=context)).pieces == ()


def test_no_language_has_words_for_silence_and_breath(engine: Recogniser) -> None:
    swelling = np.sin(np.arange(64_000) * np.pi / 48_000) ** 2
    sounds = [np.zeros(32_000, np.float32), noise(4, 0.02) * swelling.astype(np.float32)]
    asked = [Request(x, Purpose.FINAL, language) for x in sounds for language in LANGUAGES]
    assert [recognise(engine, request).text for request in asked] == [""] * len(asked)


def test_audio_that_is_too_long_fails_alone(engine: Recogniser, speech: Samples) -> None:
    too_long = np.zeros(engine.info.max_samples + 1, np.float32)
    failed, answer = engine.recognise(
        [Request(too_long, Purpose.FINAL), Request(speech, Purpose.FINAL)]
    )
    assert isinstance(failed, Exception)
    assert isinstance(answer, Hypothesis)


def test_what_was_prepared_is_used_again(cache_dir: Path, engine: Recogniser) -> None:
    def built() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in cache_dir.rglob("*")}

    before = built()
    WhisperOnnx.load(EngineOptions(BUILT_IN_MODEL, "cpu", 1, str(cache_dir)))
    assert built() == before
    assert not list(cache_dir.glob(".preparing-*"))


def test_a_language_is_rather_written_in_its_own_script(
    engine: Recogniser, speech: Samples
) -> None:
    samples = speech[168_000:198_000]
    hindi = Request(samples, Purpose.PARTIAL, "hi")
    answer = recognise(engine, hindi)
    letters = [char for char in answer.text if char.isalpha()]
    assert letters and all(unicodedata.name(char).startswith("DEVANAGARI") for char in letters)


def test_what_is_plainly_english_is_written_so(engine: Recogniser, speech: Samples) -> None:
    answer = recognise(engine, Request(speech[:30_000], Purpose.PARTIAL, "hi"))
    assert "was the best" in answer.text


def test_partials_of_several_scripts_do_not_mix(engine: Recogniser, speech: Samples) -> None:
    samples = speech[168_000:198_000]
    asked = [Request(samples, Purpose.PARTIAL, language) for language in ("hi", "en", "th")]
    together = [answer for answer in engine.recognise(asked) if isinstance(answer, Hypothesis)]
    assert [answer.language for answer in together] == ["hi", "en", "th"]
    assert [answer.text for answer in together] == [recognise(engine, one).text for one in asked]


def test_a_scrap_of_speech_is_taken_for_the_language_spoken_before(
    engine: Recogniser, speech: Samples
) -> None:
    before = Request(speech[: 4 * 16_000], Purpose.FINAL)
    expected = prior_after(FLAT, recognise(engine, before).language_scores, len(before.samples))
    scrap = Request(speech[16 * 16_000 :][:5_600], Purpose.FINAL)
    alone = recognise(engine, scrap)
    behind = recognise(engine, replace(scrap, language_prior=expected))
    assert alone.language != "en"
    assert behind.language == "en"
    assert behind.language_scores == alone.language_scores


def test_long_clear_speech_is_taken_for_what_it_is_whatever_was_spoken_before(
    engine: Recogniser, speech: Samples
) -> None:
    german = {code: 0.97 if code == "de" else 0.03 / 26 for code in LANGUAGES}
    expected = prior_after(FLAT, german, 4 * 16_000)
    clear = Request(speech[: 8 * 16_000], Purpose.FINAL, language_prior=expected)
    answer = recognise(engine, clear)
    assert answer.language == "en"
    assert answer.text == recognise(engine, replace(clear, language_prior={})).text


def test_text_without_commas_is_decoded_again_with_commas_boosted(
    engine: Recogniser, speech: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = Request(speech[: 6 * 16_000], Purpose.FINAL, "en")
    assert "," not in recognise(engine, request).text
    monkeypatch.setattr(whisper_onnx, "lacks_punctuation", lambda text, language: "," not in text)
    assert "," in recognise(engine, request).text
    monkeypatch.setattr(whisper_onnx, "lacks_punctuation", lambda text, language: True)
    assert "," not in recognise(engine, request).text, "the second text lacks them too"
