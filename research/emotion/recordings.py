"""Labelled recordings, and the features that a server would have of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import EMOTIONS, WINDOW_SAMPLES, Info, VoiceDetector
from oyez.files.media import MediaError, read_media
from research.audio import Condition, varied

SPEECH = 0.5
MAYBE_SPEECH = 0.2
LEAD_SAMPLES = SAMPLE_RATE * 3 // 10
TAIL_SAMPLES = 6 * WINDOW_SAMPLES
"""The audio that a server recognises before and behind the speech of an utterance."""
MAX_SAMPLES = 20 * SAMPLE_RATE
CLEAN = "clean"
VARIED = "varied"

Progress = Callable[[int, int], None]


class CorpusError(Exception):
    """A manifest or one of its recordings cannot be used. The message names the file."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording with the emotion of its speaker."""

    path: Path
    corpus: str
    speaker: str
    """Unique among all corpora."""
    emotion: int
    """An index of EMOTIONS."""
    licence: str = ""


def read_recordings(file: Path, corpora: Iterable[str] = ()) -> list[Recording]:
    """Read the recordings of `file`.

    Each line is a JSON object with `path` (relative to the file), `corpus`, `speaker`, `emotion`
    (one of EMOTIONS), and perhaps `licence`. corpora: if not empty, only these. Raises CorpusError.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise CorpusError(f"{file}: {error}") from error
    recordings = [
        _parse(line, file, number) for number, line in enumerate(lines, start=1) if line.strip()
    ]
    wanted = set(corpora)
    if missing := wanted - {recording.corpus for recording in recordings}:
        raise CorpusError(f"{file} holds no corpus {', '.join(sorted(missing))}")
    chosen = [each for each in recordings if not wanted or each.corpus in wanted]
    if not chosen:
        raise CorpusError(f"{file} holds no recording")
    return chosen


def _parse(line: str, file: Path, number: int) -> Recording:
    where = f"{file}, line {number}"
    try:
        row = json.loads(line)
        emotion, corpus = row["emotion"], str(row["corpus"])
        path, speaker = file.parent / row["path"], str(row["speaker"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorpusError(f"{where}: {type(error).__name__}: {error}") from error
    if emotion not in EMOTIONS:
        raise CorpusError(f"{where}: emotion {emotion!r} is none of {', '.join(EMOTIONS)}")
    return Recording(
        path, corpus, f"{corpus}/{speaker}", EMOTIONS.index(emotion), row.get("licence") or ""
    )


class Encoder(Protocol):
    """An engine that computes features without text, as `WhisperOnnx` does."""

    @property
    def info(self) -> Info: ...

    def features(self, samples: Samples) -> NDArray[np.float32]: ...


@dataclass(frozen=True, slots=True)
class LabelledFeatures:
    """The features of recordings under several conditions."""

    recordings: Sequence[Recording]
    features: Mapping[str, NDArray[np.float32]]
    """By condition, float32 [recordings, n]."""
    space: str
    """The `feature_space` of the engine that computed them."""

    def of(self, corpora: Sequence[str]) -> NDArray[np.bool_]:
        """Return which recordings belong to these corpora, bool [recordings]."""
        return np.array([each.corpus in corpora for each in self.recordings])


def compute_features(
    recordings: Sequence[Recording],
    encoder: Encoder,
    detector: VoiceDetector,
    *,
    seed: int,
    tested: Mapping[str, Condition] | None = None,
    cache_dir: Path | None = None,
    progress: Progress = lambda done, total: None,
) -> LabelledFeatures:
    """Compute the features of all recordings under several conditions.

    The conditions are: as recorded (CLEAN), a random mixture that `seed` decides (VARIED), and the
    `tested` ones. cache_dir: where features are kept for the next run. Raises CorpusError for a
    recording that cannot be read, OSError if `cache_dir` cannot be written.
    """
    conditions: dict[str, Condition] = {CLEAN: lambda samples, random: samples, VARIED: varied}
    conditions |= tested or {}
    source = _FeatureSource(encoder, detector, conditions, seed, cache_dir)
    rows = []
    with ThreadPoolExecutor(encoder.info.parallel) as pool:
        for row in pool.map(source.compute, recordings):
            rows.append(row)
            progress(len(rows), len(recordings))
    stacked = np.stack(rows, axis=1)
    arrays = dict(zip(conditions, stacked, strict=True))
    return LabelledFeatures(recordings, arrays, encoder.info.feature_space)


def speech_of(samples: Samples, detector: VoiceDetector) -> Samples:
    """Return the part that a server would recognise, at most 20 s.

    It reaches from a little before the first speech to a little behind the last. Without speech it
    is the whole recording.
    """
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
class _FeatureSource:
    encoder: Encoder
    detector: VoiceDetector
    conditions: Mapping[str, Condition]
    seed: int
    cache_dir: Path | None

    def compute(self, recording: Recording) -> NDArray[np.float32]:
        """Return the features of one recording, float32 [conditions, n]."""
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
    """Return a seed that does not depend on the other recordings of the manifest."""
    digest = hashlib.sha256(f"{recording.corpus}/{recording.path.name}".encode()).digest()
    return int.from_bytes(digest[:4], "big")
