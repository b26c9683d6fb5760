"""What the streams of a load test say: planned from a seed, the same at every level.

A stream is one person on one line: one language, clips with pauses between, soft noise where
nobody speaks. What stream k says follows from k, the mode, the length and the clips alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.bench.manifest import Clip
from oyez.files.media import MediaError, read_media

Mode = Literal["conversational", "nonstop"]

SEED = 20_261
LEAD_S = 0.5
TAIL_S = 1.2
"""Longer than the silence that ends a turn, so that the last turn ends by itself."""
NO_CLIPS = "no clip with speech in one known language"
MAX_OFFSET_S = 4.0
NONSTOP_PAUSE_S = 0.15
SHORTEST_PAUSE_S = 1.2
PAUSE_SHARE = (0.7, 1.3)
"""Of the clip before it: the other side of the conversation speaks."""
LONG_CLIP_S = 20.0
NOISE_RMS = 10 ** (-70 / 20)
_PLAN, _NOISE = 0, 1
_GOLDEN = 0.618_034
"""Multiples of it, without their whole part, lie apart from each other however many there are."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a stream; without a clip nobody speaks."""

    clip: Clip | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class StreamPlan:
    number: int
    language: str
    offset_s: float
    """How long after the first stream may start this one starts."""
    seconds: float
    """Length without the noise before and after."""
    skip_s: float
    """How much of the first pieces is over when the stream begins."""
    pieces: tuple[Piece, ...]
    rotation: float
    """Share of every clip that is moved from its beginning to its end: tells streams apart
    that have but one clip."""

    @property
    def speech_s(self) -> float:
        """How much of `seconds` is clips."""
        spoken_s, at_s = 0.0, -self.skip_s
        for piece in self.pieces:
            end_s = at_s + piece.duration_s
            if piece.clip:
                spoken_s += max(0.0, min(end_s, self.seconds) - max(at_s, 0.0))
            at_s = end_s
        return spoken_s


def choose(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Clips by language, the language with most first: speech of one language, human and no
    longer than LONG_CLIP_S where the language has such clips."""
    by_language: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.has_speech and clip.language:
            by_language.setdefault(clip.language, []).append(clip)
    chosen = {language: _preferred(group) for language, group in by_language.items()}
    return dict(sorted(chosen.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def plan(
    number: int, languages: Mapping[str, Sequence[Clip]], mode: Mode, seconds: float
) -> StreamPlan:
    """What stream `number` (0, 1, …) says. Languages are dealt in turn."""
    language = list(languages)[number % len(languages)]
    clips = languages[language]
    random = plan_source(number, mode)
    offset_s = random.uniform(0, MAX_OFFSET_S)
    endless = pieces(clips, mode, random)
    opening = [next(endless), next(endless)]
    cycle_s = sum(piece.duration_s for piece in opening)
    skip_s = random.uniform(0, cycle_s) if mode == "conversational" else 0.0
    while sum(piece.duration_s for piece in opening) < skip_s + seconds:
        opening.append(next(endless))
    return StreamPlan(
        number, language, offset_s, seconds, skip_s, tuple(opening), rotation(number, clips)
    )


def pieces(clips: Sequence[Clip], mode: Mode, random: Generator) -> Iterator[Piece]:
    """A clip, a pause, a clip, … without end; every clip once before any comes again."""
    while True:
        for index in random.permutation(len(clips)):
            clip = clips[int(index)]
            yield Piece(clip, clip.duration_s)
            yield Piece(None, _pause_s(clip, mode, random))


def render(stream: StreamPlan) -> Samples:
    """The audio of a stream, float32 [n], 16 kHz. Raises RuntimeError if a clip cannot be read."""
    random = noise_source(stream.number)
    spoken = [sound(piece, random, stream.rotation) for piece in stream.pieces]
    body = np.concatenate(spoken)[_samples(stream.skip_s) :][: _samples(stream.seconds)]
    # a manifest may promise longer clips than there are
    missing = _samples(stream.seconds) - len(body)
    around = [noise(_samples(LEAD_S), random), body, noise(missing + _samples(TAIL_S), random)]
    samples: Samples = np.concatenate(around)
    return samples


def sound(piece: Piece, random: Generator, rotated: float) -> Samples:
    """One piece as audio. Raises RuntimeError if its clip cannot be read."""
    if piece.clip is None:
        return noise(_samples(piece.duration_s), random)
    try:
        samples = read_media(piece.clip.path)
    except (OSError, MediaError) as error:
        raise RuntimeError(f"{piece.clip.path}: {error}") from error
    turned: Samples = np.roll(samples, -round(rotated * len(samples)))
    return turned


def noise(count: int, random: Generator) -> Samples:
    """Noise too soft to be taken for speech: no line is digitally silent."""
    return random.standard_normal(count, dtype=np.float32) * np.float32(NOISE_RMS)


def noise_source(number: int) -> Generator:
    """Where a stream's noise comes from."""
    return np.random.default_rng([SEED, number, _NOISE])


def plan_source(number: int, mode: Mode) -> Generator:
    """Where a stream's clips and pauses come from."""
    return np.random.default_rng([SEED, number, _PLAN, mode == "nonstop"])


def rotation(number: int, clips: Sequence[Clip]) -> float:
    """Streams that share a single clip begin it in different places."""
    return number * _GOLDEN % 1 if len(clips) == 1 else 0.0


def _preferred(clips: Sequence[Clip]) -> list[Clip]:
    human = [clip for clip in clips if clip.voice == "human"] or list(clips)
    return [clip for clip in human if clip.duration_s <= LONG_CLIP_S] or human


def _pause_s(clip: Clip, mode: Mode, random: Generator) -> float:
    if mode == "nonstop":
        return NONSTOP_PAUSE_S
    return max(SHORTEST_PAUSE_S, clip.duration_s * random.uniform(*PAUSE_SHARE))


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
