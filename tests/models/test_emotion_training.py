"""From recordings to a server's answers: training with the real model."""

from __future__ import annotations

import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import soundfile
from click.testing import CliRunner

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.driver import transcribe
from oyez.bench.options import load_engines
from oyez.engines.emotion import SHIPPED, Neutral
from oyez.engines.registry import load_emotion_classifier
from research.emotion.train import train as train_command

pytestmark = pytest.mark.model

STARTS_S = (0.5, 3.0, 6.0, 9.0, 12.0)
LENGTH_S = 2.5


@pytest.fixture(scope="module")
def sample() -> Samples:
    with files("oyez.assets").joinpath("two_cities.wav").open("rb") as file:
        audio, _ = soundfile.read(file, dtype="float32")
    return np.asarray(audio, np.float32)


def part(sample: Samples, start_s: float) -> Samples:
    return sample[int(start_s * SAMPLE_RATE) : int((start_s + LENGTH_S) * SAMPLE_RATE)]


def agitated(samples: Samples) -> Samples:
    """Faster, higher and louder."""
    places = np.arange(0, len(samples) - 1, 1.3)
    faster: Samples = np.interp(places, np.arange(len(samples)), samples).astype(np.float32)
    return np.float32(1.5) * faster


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, sample: Samples) -> Path:
    folder = tmp_path_factory.mktemp("plays")
    rows = []
    for start_s in STARTS_S:
        for emotion, change in (("neutral", lambda samples: samples), ("angry", agitated)):
            name = f"{emotion}{start_s}.wav"
            soundfile.write(folder / name, change(part(sample, start_s)), SAMPLE_RATE)
            rows.append({"path": name, "corpus": "plays", "speaker": "a", "emotion": emotion})
    file = folder / "plays.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    return file


def train(manifest: Path, output: Path) -> str:
    options = ["--manifest", str(manifest), "--output", str(output)]
    done = CliRunner().invoke(train_command, options, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def test_a_server_answers_what_it_was_trained_to(
    manifest: Path, tmp_path: Path, sample: Samples
) -> None:
    weights = tmp_path / "mine.npz"
    assert "10 recordings of plays" in train(manifest, weights)
    engines = load_engines()
    space = engines.recogniser.info.feature_space
    # ten recordings are too few for confident answers
    classifier = load_emotion_classifier(str(weights), space, 0.0)
    said = part(sample, 15.0)[: 3 * SAMPLE_RATE // 2]
    for audio, expected in ((said, "neutral"), (agitated(said), "angry")):
        transcript = transcribe(
            np.concatenate([audio, np.zeros(SAMPLE_RATE, np.float32)]),
            recogniser=engines.recogniser,
            detector=engines.detector,
            emotions=classifier.new_tracker(),
        )
        assert transcript.emotions == [expected]


def test_the_same_recordings_give_the_same_file(manifest: Path, tmp_path: Path) -> None:
    train(manifest, tmp_path / "one.npz")
    train(manifest, tmp_path / "two.npz")
    assert (tmp_path / "one.npz").read_bytes() == (tmp_path / "two.npz").read_bytes()


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_weights_fit_the_built_in_model(name: str) -> None:
    space = load_engines().recogniser.info.feature_space
    assert not isinstance(load_emotion_classifier(name, space, 0.33), Neutral)


def test_a_manifest_that_cannot_be_used_is_explained(tmp_path: Path) -> None:
    file = tmp_path / "m.jsonl"
    file.write_text('{"path": "a.wav", "corpus": "c", "speaker": "s", "emotion": "calm"}')
    options = ["--manifest", str(file), "--output", str(tmp_path / "w")]
    done = CliRunner().invoke(train_command, options)
    assert done.exit_code == 1
    assert "line 1: emotion 'calm' is none of surprised, neutral, happy" in done.output
