"""What `oyez bench endpoints` tries: speech under conditions, pauses of known length, no speech.

Chance comes from a seed and the number of the clip, so every run tries the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench import sounds
from oyez.bench.endpoints import HOP_SAMPLES, Span, Tally, likelihoods, reference, turns
from oyez.bench.sounds import WITHOUT_SPEECH, amplified, level_db
from oyez.engines.base import VoiceDetector
from oyez.turns.endpointing import EdgeSettings

SEED = 20_261
MAKE_S = 60
"""Length of each synthesised sound."""
SOUND_LEVELS_DB = (0, -20, -40)
PAUSES_MS = (200, 300, 350, 600, 1500, 5000)
AROUND_S = 1.5
"""Background before and behind a sentence with a pause …"""
BACKGROUND_DB = -40
"""… so far below the speech."""
MIN_SENTENCE_S = 1.5
MARGIN_S = 0.5
"""A pause is put no closer to the ends of a sentence."""


@dataclass(frozen=True, slots=True)
class Scene:
    """A clip with speech, and what may happen to it."""

    samples: Samples
    spans: Sequence[Span]
    number: int
    noises: Sequence[Samples]
    """Recorded; perhaps none."""

    @property
    def random(self) -> Generator:
        return np.random.default_rng([SEED, self.number])

    @property
    def speech_db(self) -> float:
        return level_db(np.concatenate([self.samples[start:end] for start, end in self.spans]))

    def with_noise(self, noise: Samples, snr_db: float) -> Samples:
        return self.samples + amplified(noise, self.speech_db - snr_db - level_db(noise))

    def with_pink(self, snr_db: float) -> Samples:
        return self.with_noise(sounds.pink_noise(len(self.samples), self.random), snr_db)

    def with_recorded(self, snr_db: float) -> Samples:
        noise = self.noises[self.number % len(self.noises)]
        return self.with_noise(np.resize(noise, len(self.samples)), snr_db)

    def in_room(self) -> Samples:
        return sounds.reverberated(self.samples, self.random)


Condition = Callable[[Scene], Samples]
CONDITIONS: Mapping[str, Condition] = {
    "as recorded": lambda scene: scene.samples,
    "pink noise 15 dB": lambda scene: scene.with_pink(15),
    "pink noise 5 dB": lambda scene: scene.with_pink(5),
    "-20 dB": lambda scene: amplified(scene.samples, -20),
    "-30 dB": lambda scene: amplified(scene.samples, -30),
    "-40 dB": lambda scene: amplified(scene.samples, -40),
    "8 kHz": lambda scene: sounds.narrow_band(scene.samples),
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
    """Clips in which the reference hears speech; noises in which it does are left out."""
    quiet = [noise for noise in noises if level_db(noise) > -100 and not reference(detector, noise)]
    found = [Scene(clip, reference(detector, clip), n, quiet) for n, clip in enumerate(clips)]
    return [scene for scene in found if scene.spans]


def try_conditions(
    detector: VoiceDetector, scenes_: Sequence[Scene], settings: EdgeSettings
) -> Iterator[tuple[str, Tally]]:
    """Every condition on every scene."""
    recordings = WITH_RECORDINGS if scenes_ and scenes_[0].noises else {}
    for name, condition in (*CONDITIONS.items(), *recordings.items()):
        tally = Tally()
        for scene in scenes_:
            heard = turns(detector, condition(scene), settings)
            tally.add(heard, scene.spans, len(scene.samples), settings.silence_samples)
        yield name, tally


@dataclass(frozen=True, slots=True)
class Sentence:
    """Speech without a pause, and where between two words one fits best."""

    samples: Samples
    gap: int
    number: int

    def with_pause(self, pause_ms: int, *, noisy: bool) -> Samples:
        """Between background, on digital silence or in soft pink noise."""
        pause = np.zeros(pause_ms * SAMPLE_RATE // 1000, np.float32)
        around = np.zeros(round(AROUND_S * SAMPLE_RATE), np.float32)
        parts = [around, self.samples[: self.gap], pause, self.samples[self.gap :], around]
        whole = np.concatenate(parts)
        if not noisy:
            return whole
        random = np.random.default_rng([SEED, self.number])
        noise = sounds.pink_noise(len(whole), random)
        return whole + amplified(noise, level_db(self.samples) + BACKGROUND_DB - level_db(noise))


def sentences(
    detector: VoiceDetector, scenes_: Iterable[Scene], settings: EdgeSettings
) -> list[Sentence]:
    """The longest of each scene, if it is long enough, and one turn as long as nobody pauses."""
    found = []
    margin = round(MARGIN_S * SAMPLE_RATE)
    for scene in scenes_:
        start, end = max(scene.spans, key=lambda span: span[1] - span[0])
        if end - start < MIN_SENTENCE_S * SAMPLE_RATE:
            continue
        inside = likelihoods(detector, scene.samples)
        first, last = (start + margin) // HOP_SAMPLES, (end - margin) // HOP_SAMPLES
        gap = (first + int(inside[first:last].argmin())) * HOP_SAMPLES - start
        said = Sentence(scene.samples[start:end], gap, scene.number)
        if turn_counts(detector, [said], settings, pause_ms=0) == [1, 1]:
            found.append(said)
    return found


def turn_counts(
    detector: VoiceDetector, said: Iterable[Sentence], settings: EdgeSettings, pause_ms: int
) -> list[int]:
    """How many turns each makes with such a pause in it, on silence and in noise."""
    return [
        len(turns(detector, sentence.with_pause(pause_ms, noisy=noisy), settings))
        for sentence in said
        for noisy in (False, True)
    ]


def try_pauses(
    detector: VoiceDetector, scenes_: Iterable[Scene], settings: EdgeSettings
) -> Iterator[tuple[int, list[int]]]:
    """Each pause in ms, and how many turns the sentences with it make."""
    said = sentences(detector, scenes_, settings)
    for pause_ms in PAUSES_MS:
        yield pause_ms, turn_counts(detector, said, settings, pause_ms)


def try_sounds(detector: VoiceDetector, settings: EdgeSettings) -> Iterator[tuple[str, float, int]]:
    """Name of each synthesised sound, its seconds, and how many turns it starts."""
    for name, make in WITHOUT_SPEECH.items():
        count = 0
        for number, gain_db in enumerate(SOUND_LEVELS_DB):
            sound = make(MAKE_S * SAMPLE_RATE, np.random.default_rng([SEED, number]))
            count += len(turns(detector, amplified(sound, gain_db), settings))
        yield name, MAKE_S * len(SOUND_LEVELS_DB), count


def try_recordings(
    detector: VoiceDetector, recordings: Iterable[tuple[str, Samples]], settings: EdgeSettings
) -> Iterator[tuple[str, float, int]]:
    """The same for recordings without speech, by kind."""
    seconds: dict[str, float] = {}
    counts: dict[str, int] = {}
    for kind, samples in recordings:
        name = f"recorded {kind or 'sound'}"
        seconds[name] = seconds.get(name, 0) + len(samples) / SAMPLE_RATE
        counts[name] = counts.get(name, 0) + len(turns(detector, samples, settings))
    return ((name, seconds[name], counts[name]) for name in counts)
