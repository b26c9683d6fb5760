"""What the study tries: speech under conditions, pauses of known length, and no speech.

Randomness comes from a seed and the number of the clip, so every run tries the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import VoiceDetector
from oyez.turns.endpointing import EndpointerSettings
from research.audio import (
    WITHOUT_SPEECH,
    amplified,
    level_db,
    narrow_band,
    pink_noise,
    reverberated,
)
from research.endpoints.reference import (
    HOP_SAMPLES,
    EndpointErrors,
    Span,
    probabilities,
    reference,
    turns,
)

SEED = 20_261
MAKE_S = 60
"""The length of each synthetic sound."""
SOUND_LEVELS_DB = (0, -20, -40)
PAUSES_MS = (200, 300, 350, 600, 1500, 5000)
AROUND_S = 1.5
"""The length of the background before and behind a sentence with a pause."""
BACKGROUND_DB = -40
"""The level of that background, relative to the speech."""
MIN_SENTENCE_S = 1.5
MARGIN_S = 0.5
"""The least distance of a pause from the ends of a sentence."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip with speech, and the conditions it can be put under."""

    samples: Samples
    spans: Sequence[Span]
    number: int
    noises: Sequence[Samples]
    """Recorded noises; there may be none."""

    @property
    def random(self) -> Generator:
        """A new generator, the same for this clip each time."""
        return np.random.default_rng([SEED, self.number])

    @property
    def speech_db(self) -> float:
        """The level of the speech."""
        return level_db(np.concatenate([self.samples[start:end] for start, end in self.spans]))

    def with_noise(self, noise: Samples, snr_db: float) -> Samples:
        """Add noise `snr_db` below the speech."""
        return self.samples + amplified(noise, self.speech_db - snr_db - level_db(noise))

    def with_pink(self, snr_db: float) -> Samples:
        """Add pink noise."""
        return self.with_noise(pink_noise(len(self.samples), self.random), snr_db)

    def with_recorded(self, snr_db: float) -> Samples:
        """Add one of the recorded noises."""
        noise = self.noises[self.number % len(self.noises)]
        return self.with_noise(np.resize(noise, len(self.samples)), snr_db)

    def in_room(self) -> Samples:
        """Put the speaker some metres from the microphone."""
        return reverberated(self.samples, self.random)


Condition = Callable[[Scene], Samples]
CONDITIONS: Mapping[str, Condition] = {
    "as recorded": lambda scene: scene.samples,
    "pink noise 15 dB": lambda scene: scene.with_pink(15),
    "pink noise 5 dB": lambda scene: scene.with_pink(5),
    "-20 dB": lambda scene: amplified(scene.samples, -20),
    "-30 dB": lambda scene: amplified(scene.samples, -30),
    "-40 dB": lambda scene: amplified(scene.samples, -40),
    "8 kHz": lambda scene: narrow_band(scene.samples),
    "room, 0.6 s": lambda scene: scene.in_room(),
    "room, -30 dB": lambda scene: amplified(scene.in_room(), -30),
}
WITH_RECORDINGS: Mapping[str, Condition] = {
    "recorded noise 15 dB": lambda scene: scene.with_recorded(15),
    "recorded noise 5 dB": lambda scene: scene.with_recorded(5),
}


def scenes(
    detector: VoiceDetector, clips: Iterable[Samples], noises: Sequence[Samples]
) -> list[Scene]:
    """Return the clips in which the reference finds speech. Noises with speech are left out."""
    quiet = [noise for noise in noises if level_db(noise) > -100 and not reference(detector, noise)]
    found = [Scene(clip, reference(detector, clip), n, quiet) for n, clip in enumerate(clips)]
    return [scene for scene in found if scene.spans]


def try_conditions(
    detector: VoiceDetector, scenes_: Sequence[Scene], settings: EndpointerSettings
) -> Iterator[tuple[str, EndpointErrors]]:
    """Try every condition on every scene."""
    recordings = WITH_RECORDINGS if scenes_ and scenes_[0].noises else {}
    for name, condition in (*CONDITIONS.items(), *recordings.items()):
        errors = EndpointErrors()
        for scene in scenes_:
            found = turns(detector, condition(scene), settings)
            errors.add(found, scene.spans, len(scene.samples), settings.silence_samples)
        yield name, errors


@dataclass(frozen=True, slots=True)
class Sentence:
    """Speech without a pause, and the place between two words where one fits best."""

    samples: Samples
    gap: int
    number: int

    def with_pause(self, pause_ms: int, *, noisy: bool) -> Samples:
        """Put a pause into the gap, on digital silence or in soft pink noise."""
        pause = np.zeros(pause_ms * SAMPLE_RATE // 1000, np.float32)
        around = np.zeros(round(AROUND_S * SAMPLE_RATE), np.float32)
        parts = [around, self.samples[: self.gap], pause, self.samples[self.gap :], around]
        whole = np.concatenate(parts)
        if not noisy:
            return whole
        random = np.random.default_rng([SEED, self.number])
        noise = pink_noise(len(whole), random)
        return whole + amplified(noise, level_db(self.samples) + BACKGROUND_DB - level_db(noise))


def sentences(
    detector: VoiceDetector, scenes_: Iterable[Scene], settings: EndpointerSettings
) -> list[Sentence]:
    """Return the longest sentence of each scene that is long enough and is one turn by itself."""
    found = []
    margin = round(MARGIN_S * SAMPLE_RATE)
    for scene in scenes_:
        start, end = max(scene.spans, key=lambda span: span[1] - span[0])
        if end - start < MIN_SENTENCE_S * SAMPLE_RATE:
            continue
        inside = probabilities(detector, scene.samples)
        first, last = (start + margin) // HOP_SAMPLES, (end - margin) // HOP_SAMPLES
        gap = (first + int(inside[first:last].argmin())) * HOP_SAMPLES - start
        said = Sentence(scene.samples[start:end], gap, scene.number)
        if turn_counts(detector, [said], settings, pause_ms=0) == [1, 1]:
            found.append(said)
    return found


def turn_counts(
    detector: VoiceDetector, said: Iterable[Sentence], settings: EndpointerSettings, pause_ms: int
) -> list[int]:
    """Count the turns that each sentence makes with such a pause, on silence and in noise."""
    return [
        len(turns(detector, sentence.with_pause(pause_ms, noisy=noisy), settings))
        for sentence in said
        for noisy in (False, True)
    ]


def try_pauses(
    detector: VoiceDetector, scenes_: Iterable[Scene], settings: EndpointerSettings
) -> Iterator[tuple[int, list[int]]]:
    """Yield each pause in ms, and how many turns the sentences with it make."""
    said = sentences(detector, scenes_, settings)
    for pause_ms in PAUSES_MS:
        yield pause_ms, turn_counts(detector, said, settings, pause_ms)


def try_sounds(
    detector: VoiceDetector, settings: EndpointerSettings
) -> Iterator[tuple[str, float, int]]:
    """Yield the name of each synthetic sound, its seconds, and how many turns it starts."""
    for name, make in WITHOUT_SPEECH.items():
        count = 0
        for number, gain_db in enumerate(SOUND_LEVELS_DB):
            sound = make(MAKE_S * SAMPLE_RATE, np.random.default_rng([SEED, number]))
            count += len(turns(detector, amplified(sound, gain_db), settings))
        yield name, MAKE_S * len(SOUND_LEVELS_DB), count


def try_recordings(
    detector: VoiceDetector, recordings: Iterable[tuple[str, Samples]], settings: EndpointerSettings
) -> Iterator[tuple[str, float, int]]:
    """Yield the same for recordings without speech, by kind."""
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for kind, samples in recordings:
        name = f"recorded {kind or 'sound'}"
        seconds[name] = seconds.get(name, 0) + len(samples) / SAMPLE_RATE
        counts[name] = counts.get(name, 0) + len(turns(detector, samples, settings))
    return ((name, seconds[name], counts[name]) for name in counts)
