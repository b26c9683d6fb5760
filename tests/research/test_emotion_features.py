from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import soundfile

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import LANGUAGES, Info
from oyez.testing import FakeDetector
from research.audio import EMOTION_CONDITIONS
from research.emotion.recordings import (
    CLEAN,
    MAX_SAMPLES,
    VARIED,
    CorpusError,
    Recording,
    compute_features,
    speech_of,
)


class Ruler:
    """Measures audio instead of encoding it."""

    def __init__(self) -> None:
        self.info = Info("ruler", LANGUAGES, 30 * SAMPLE_RATE, 1, feature_space="ruler")
        self.calls = 0

    def features(self, samples: Samples) -> np.ndarray:
        self.calls += 1
        return np.array([[len(samples), np.abs(samples).mean()]], np.float32)


def recordings(folder: Path, count: int = 3) -> list[Recording]:
    made = []
    for number in range(count):
        path = folder / f"{number}.wav"
        audio = np.full(SAMPLE_RATE + 1600 * number, 0.2, np.float32)
        soundfile.write(path, audio, SAMPLE_RATE)
        made.append(Recording(path, "plays", "plays/anna", number))
    return made


def test_speech_is_cut_out_as_a_server_would() -> None:
    audio = np.zeros(4 * SAMPLE_RATE, np.float32)
    audio[SAMPLE_RATE : 2 * SAMPLE_RATE] = 0.2
    speech = speech_of(audio, FakeDetector())
    assert 1.4 < len(speech) / SAMPLE_RATE < 1.6
    assert np.abs(speech[:4000]).max() == 0


def test_audio_without_speech_and_very_long_speech() -> None:
    silence = np.zeros(SAMPLE_RATE, np.float32)
    assert len(speech_of(silence, FakeDetector())) == SAMPLE_RATE
    assert len(speech_of(np.full(2 * MAX_SAMPLES, 0.2, np.float32), FakeDetector())) == MAX_SAMPLES


def test_each_condition_has_a_row_for_each_recording(tmp_path: Path) -> None:
    heard = compute_features(
        recordings(tmp_path), Ruler(), FakeDetector(), seed=1, tested=EMOTION_CONDITIONS
    )
    assert set(heard.features) == {CLEAN, VARIED, *EMOTION_CONDITIONS}
    assert heard.space == "ruler"
    assert all(rows.shape == (3, 2) for rows in heard.features.values())
    assert heard.features[CLEAN][:, 0].tolist() == sorted(heard.features[CLEAN][:, 0].tolist())
    quiet = heard.features["20 dB quieter"][:, 1]
    assert np.allclose(quiet, heard.features[CLEAN][:, 1] / 10)


def test_conditions_do_not_depend_on_what_else_is_in_the_manifest(tmp_path: Path) -> None:
    every = recordings(tmp_path)
    all_three = compute_features(every, Ruler(), FakeDetector(), seed=1)
    last = compute_features(every[2:], Ruler(), FakeDetector(), seed=1)
    assert np.array_equal(all_three.features[VARIED][2], last.features[VARIED][0])
    other_seed = compute_features(every[2:], Ruler(), FakeDetector(), seed=2)
    assert not np.array_equal(other_seed.features[VARIED], last.features[VARIED])


def test_what_is_kept_is_not_computed_again(tmp_path: Path) -> None:
    every, ruler = recordings(tmp_path), Ruler()
    first = compute_features(every, ruler, FakeDetector(), seed=1, cache_dir=tmp_path / "kept")
    calls = ruler.calls
    again = compute_features(every, ruler, FakeDetector(), seed=1, cache_dir=tmp_path / "kept")
    assert ruler.calls == calls
    assert np.array_equal(first.features[VARIED], again.features[VARIED])


def test_progress_is_reported(tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    compute_features(
        recordings(tmp_path), Ruler(), FakeDetector(), seed=1,
        progress=lambda done, total: told.append((done, total)),
    )  # fmt: skip
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_a_recording_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "torn.wav").write_bytes(b"RIFF torn")
    torn = Recording(tmp_path / "torn.wav", "plays", "plays/anna", 1)
    with pytest.raises(CorpusError, match=r"torn\.wav"):
        compute_features([torn], Ruler(), FakeDetector(), seed=1)
    gone = Recording(tmp_path / "gone.wav", "plays", "plays/anna", 1)
    with pytest.raises(CorpusError, match=r"gone\.wav"):
        compute_features([gone], Ruler(), FakeDetector(), seed=1)


def test_recordings_are_varied_each_in_its_own_way(tmp_path: Path) -> None:
    audio = np.full(SAMPLE_RATE, 0.2, np.float32)
    alike = []
    for name in ("one.wav", "two.wav"):
        soundfile.write(tmp_path / name, audio, SAMPLE_RATE)
        alike.append(Recording(tmp_path / name, "plays", "plays/anna", 1))
    heard = compute_features(alike, Ruler(), FakeDetector(), seed=1)
    assert np.array_equal(*heard.features[CLEAN])
    assert not np.array_equal(*heard.features[VARIED])
