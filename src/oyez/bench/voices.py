"""What the streams of a load test say: planned from a seed, the same at every level.

A stream is one person on one line: one language, clips with pauses between them, and soft noise in
the pauses. What stream k says follows from k, the mode, the length and the clips alone.
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
"""The noise at the end of a stream. It is longer than the silence that ends a turn."""
NO_CLIPS = "no clip with speech in one known language"
MAX_OFFSET_S = 4.0
NONSTOP_PAUSE_S = 0.15
SHORTEST_PAUSE_S = 1.2
PAUSE_SHARE = (0.7, 1.3)
"""The least and the most of a pause, as a share of the clip before it.

The other side of the conversation speaks in it."""
LONG_CLIP_S = 20.0
NOISE_RMS = 10 ** (-70 / 20)
_PLAN, _NOISE = 0, 1
_GOLDEN = 0.618_034
"""The golden ratio: the fractional parts of its multiples are spread evenly, however many."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a stream: a clip, or without one a pause."""

    clip: Clip | None
    duration_s: float


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What one stream of a load test says, and when it starts."""

    number: int
    language: str
    offset_s: float
    """The time from the earliest possible start of a stream to the start of this one."""
    seconds: float
    """The length without the noise before and after."""
    skip_s: float
    """How much of the first pieces is left out, because the stream begins amid them."""
    pieces: tuple[Piece, ...]
    rotation: float
    """The share of every clip that is moved from its beginning to its end, so that streams which
    have only one clip differ."""

    @property
    def speech_s(self) -> float:
        """The part of `seconds` in which a clip is played."""
        spoken_s, at_s = 0.0, -self.skip_s
        for piece in self.pieces:
            end_s = at_s + piece.duration_s
            if piece.clip:
                spoken_s += max(0.0, min(end_s, self.seconds) - max(at_s, 0.0))
            at_s = end_s
        return spoken_s


def choose(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Return the clips with speech of one language, by language, the one with most clips first.

    They are human and no longer than LONG_CLIP_S if the language has such clips.
    """
    by_language: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.has_speech and clip.language:
            by_language.setdefault(clip.language, []).append(clip)
    chosen = {language: _preferred(group) for language, group in by_language.items()}
    return dict(sorted(chosen.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def plan(
    number: int, languages: Mapping[str, Sequence[Clip]], mode: Mode, seconds: float
) -> StreamPlan:
    """Plan stream `number` (0, 1, …). The streams take the languages in turn."""
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
    """Yield clips and pauses by turns, without an end. All clips come before any comes again."""
    while True:
        for index in random.permutation(len(clips)):
            clip = clips[int(index)]
            yield Piece(clip, clip.duration_s)
            yield Piece(None, _pause_s(clip, mode, random))


def render(stream: StreamPlan) -> Samples:
    """Return the audio of a stream, float32 [n], 16 kHz.

    Raises RuntimeError if a clip cannot be read.
    """
    random = noise_source(stream.number)
    spoken = [sound(piece, random, stream.rotation) for piece in stream.pieces]
    body = np.concatenate(spoken)[_samples(stream.skip_s) :][: _samples(stream.seconds)]
    # A clip may be shorter than its manifest says.
    missing = _samples(stream.seconds) - len(body)
    around = [noise(_samples(LEAD_S), random), body, noise(missing + _samples(TAIL_S), random)]
    samples: Samples = np.concatenate(around)
    return samples


def sound(piece: Piece, random: Generator, rotated: float) -> Samples:
    """Return one piece as audio. Raises RuntimeError if its clip cannot be read."""
    if piece.clip is None:
        return noise(_samples(piece.duration_s), random)
    try:
        samples = read_media(piece.clip.path)
    except (OSError, MediaError) as error:
        raise RuntimeError(f"{piece.clip.path}: {error}") from error
    turned: Samples = np.roll(samples, -round(rotated * len(samples)))
    return turned


def noise(count: int, random: Generator) -> Samples:
    """Return noise too soft to be taken for speech, because no line is digitally silent."""
    return random.standard_normal(count, dtype=np.float32) * np.float32(NOISE_RMS)


def noise_source(number: int) -> Generator:
    """Return the generator of a stream's noise."""
    return np.random.default_rng([SEED, number, _NOISE])


def plan_source(number: int, mode: Mode) -> Generator:
    """Return the generator of a stream's clips and pauses."""
    return np.random.default_rng([SEED, number, _PLAN, mode == "nonstop"])


def rotation(number: int, clips: Sequence[Clip]) -> float:
    """Return where in its clip a stream begins, if it shares a single clip with others."""
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
