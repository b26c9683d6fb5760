"""Recordings → the features a server would have of them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import WINDOW_SAMPLES, Info, VoiceDetector
from oyez.files.media import MediaError, read_media
from oyez.training.conditions import Condition, anything
from oyez.training.corpus import CorpusError, Recording

SPEECH = 0.5
MAYBE_SPEECH = 0.2
LEAD_SAMPLES = SAMPLE_RATE * 3 // 10
TAIL_SAMPLES = 6 * WINDOW_SAMPLES
"""Audio that a server recognises with an utterance, before and behind its speech."""
MAX_SAMPLES = 20 * SAMPLE_RATE
CLEAN = "clean"
VARIED = "varied"

Progress = Callable[[int, int], None]


class Encoder(Protocol):
    """An engine that gives features alone; `WhisperOnnx` does."""

    @property
    def info(self) -> Info: ...

    def features(self, samples: Samples) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class Heard:
    """Features of recordings under several conditions."""

    recordings: Sequence[Recording]
    features: Mapping[str, NDArray[np.float32]]
    """By condition, float32 [recordings, n]."""
    space: str

    def of(self, corpora: Sequence[str]) -> NDArray[np.bool_]:
        """Which recordings belong to these."""
        return np.array([each.corpus in corpora for each in self.recordings])


def hear(
    recordings: Sequence[Recording],
    encoder: Encoder,
    detector: VoiceDetector,
    *,
    seed: int,
    tested: Mapping[str, Condition] | None = None,
    cache_dir: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> Heard:
    """Features of all recordings as they are (CLEAN), in a random condition each that `seed`
    decides (VARIED), and in the `tested` ones.

    cache_dir: where features are kept for the next time. Raises CorpusError for a recording that
    cannot be read, OSError where `cache_dir` cannot be written.
    """
    conditions: dict[str, Condition] = {CLEAN: lambda samples, random: samples, VARIED: anything}
    conditions |= tested or {}
    ear = _Ear(encoder, detector, conditions, seed, cache_dir)
    rows = []
    with ThreadPoolExecutor(encoder.info.parallel) as pool:
        for row in pool.map(ear.hear, recordings):
            rows.append(row)
            progress(len(rows), len(recordings))
    stacked = np.stack(rows, axis=1)
    arrays = dict(zip(conditions, stacked, strict=True))
    return Heard(recordings, arrays, encoder.info.feature_space)


def speech_of(samples: Samples, detector: VoiceDetector) -> Samples:
    """The part a server would recognise: from a little before the first speech to a little behind
    the last, at most 20 s. All of it where no speech is found."""
    whole = np.pad(samples, (0, -len(samples) % WINDOW_SAMPLES))
    probabilities, _ = detector.score(whole, detector.initial_state())
    for least in (SPEECH, MAYBE_SPEECH):
        (speech,) = np.nonzero(probabilities >= least)
        if len(speech):
            start = max(0, int(speech[0]) * WINDOW_SAMPLES - LEAD_SAMPLES)
            end = (int(speech[-1]) + 1) * WINDOW_SAMPLES + TAIL_SAMPLES
            return samples[start : min(end, start + MAX_SAMPLES)]
    return samples[:MAX_SAMPLES]


@dataclass(frozen=True, slots=True)
class _Ear:
    encoder: Encoder
    detector: VoiceDetector
    conditions: Mapping[str, Condition]
    seed: int
    cache_dir: Path | None

    def hear(self, recording: Recording) -> NDArray[np.float32]:
        """Features [conditions, n] of one recording."""
        files = [self._file(recording, name) for name in self.conditions]
        if all(file and file.is_file() for file in files):
            return np.stack([np.load(file) for file in files if file])
        try:
            samples = read_media(recording.path)
        except (OSError, MediaError) as error:
            raise CorpusError(f"{recording.path}: {error}") from error
        speech = speech_of(samples, self.detector)
        rows = []
        for file, condition in zip(files, self.conditions.values(), strict=True):
            random = np.random.default_rng([self.seed, _number(recording)])
            rows.append(self.encoder.features(condition(speech, random)).reshape(-1))
            if file:
                file.parent.mkdir(parents=True, exist_ok=True)
                np.save(file, rows[-1])
        return np.stack(rows)

    def _file(self, recording: Recording, condition: str) -> Path | None:
        if self.cache_dir is None:
            return None
        size = recording.path.stat().st_size
        space = self.encoder.info.feature_space
        what = f"{recording.path.resolve()} {size} {condition} {self.seed} {space}"
        return self.cache_dir / f"{hashlib.sha256(what.encode()).hexdigest()[:24]}.npy"


def _number(recording: Recording) -> int:
    """Randomness that does not depend on what else is in the manifest."""
    digest = hashlib.sha256(f"{recording.corpus}/{recording.path.name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
