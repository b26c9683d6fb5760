"""The endpoints people expect, heard by the real detector: the shipped sample with pauses, softly,
far away; and sounds that are no speech."""

from __future__ import annotations

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import pytest
from click.testing import CliRunner

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines import registry
from oyez.files.media import read_media
from oyez.turns.endpointing import EndpointerSettings
from research.audio import WITHOUT_SPEECH, amplified
from research.endpoints import cases
from research.endpoints.__main__ import endpoints
from research.endpoints.cases import Scene, Sentence, turn_counts
from research.endpoints.reference import EndpointErrors, turns

DETECTOR = registry.load_detector("silero")
RECOMMENDED = EndpointerSettings.from_wire(0.0, 400, 300)
DEFAULT = EndpointerSettings.from_wire(0.2, 800, 300)


@cache
def scene() -> Scene:
    with as_file(files("oyez") / "assets" / "two_cities.wav") as file:
        (found,) = cases.scenes(DETECTOR, [read_media(file)], [])
    return found


@cache
def sentence() -> Sentence:
    (found,) = cases.sentences(DETECTOR, [scene()], RECOMMENDED)
    return found


def under(samples: Samples, settings: EndpointerSettings = DEFAULT) -> EndpointErrors:
    errors = EndpointErrors()
    heard = turns(DETECTOR, samples, settings)
    errors.add(heard, scene().spans, len(samples), settings.silence_samples)
    return errors


@pytest.mark.parametrize("pause_ms", [200, 300, 350])
def test_a_hesitation_does_not_end_a_turn(pause_ms: int) -> None:
    assert turn_counts(DETECTOR, [sentence()], RECOMMENDED, pause_ms) == [1, 1]


@pytest.mark.parametrize("pause_ms", [600, 1500, 5000])
def test_a_long_pause_ends_a_turn_once(pause_ms: int) -> None:
    assert turn_counts(DETECTOR, [sentence()], RECOMMENDED, pause_ms) == [2, 2]


@pytest.mark.parametrize("gain_db", [0, -20, -30, -40])
def test_quiet_speakers_are_detected(gain_db: float) -> None:
    errors = under(amplified(scene().samples, gain_db))
    assert errors.missed_samples < 0.03 * errors.speech_samples
    assert errors.false_starts == errors.splits == 0


def test_far_speakers_are_detected() -> None:
    errors = under(amplified(scene().in_room(), -40))
    assert errors.missed_samples < 0.1 * errors.speech_samples


@pytest.mark.parametrize("snr_db", [15, 5])
def test_speakers_are_detected_in_noise(snr_db: float) -> None:
    errors = under(scene().with_pink(snr_db))
    assert errors.missed_samples < 0.01 * errors.speech_samples
    assert errors.false_starts == 0


def test_a_start_is_reported_soon() -> None:
    errors = under(scene().samples)
    assert max(errors.start_announced_ms) <= 130 and np.median(np.abs(errors.start_ms)) <= 32


@pytest.mark.parametrize("settings", [RECOMMENDED, DEFAULT], ids=["recommended", "default"])
@pytest.mark.parametrize("gain_db", [0, -20])
@pytest.mark.parametrize("name", [n for n in WITHOUT_SPEECH if n not in ("knocks", "chords")])
def test_sounds_without_speech_start_no_turn(
    name: str, gain_db: float, settings: EndpointerSettings
) -> None:
    sound = WITHOUT_SPEECH[name](30 * SAMPLE_RATE, np.random.default_rng(7))
    assert turns(DETECTOR, amplified(sound, gain_db), settings) == []


def test_typing_while_speaking_splits_nothing() -> None:
    keys = WITHOUT_SPEECH["keyboard"](len(scene().samples), np.random.default_rng(7))
    errors = under(scene().samples + amplified(keys, -20))
    assert errors.missed_samples < 0.01 * errors.speech_samples
    assert errors.false_starts == errors.splits == 0


def test_noises_in_which_somebody_speaks_are_left_out() -> None:
    noise = WITHOUT_SPEECH["pink noise"](3 * SAMPLE_RATE, np.random.default_rng(0))
    (found,) = cases.scenes(DETECTOR, [scene().samples, noise], [scene().samples, noise])
    assert found.number == 0
    assert len(found.noises) == 1 and np.array_equal(found.noises[0], noise)


@pytest.mark.slow
def test_the_command() -> None:
    result = CliRunner().invoke(endpoints, ["--silence-ms", "400", "--threshold", "0"])
    assert result.exit_code == 0, result.output
    rows = [line for line in result.stdout.splitlines() if line.startswith("|")]
    names = [line.split("|")[1].strip() for line in rows]
    assert {"as recorded", "-30 dB", "300 ms", "keyboard"} <= set(names)
    assert "unknown voice detector" in CliRunner().invoke(endpoints, ["--vad", "x"]).output
