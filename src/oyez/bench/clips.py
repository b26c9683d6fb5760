"""The clips of a benchmark, and what the streams of a load test say of them.

A stream is one person on one line: one language, clips with pauses between them, and soft noise in
the pauses. What stream k says follows from k, the mode, the length and the clips alone, so it is
the same at every level.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.random import Generator

from oyez.audio.pcm import SAMPLE_RATE, Samples, samples_to_pcm16
from oyez.files.media import MediaError, read_media

Mode = Literal["conversational", "nonstop"]

NO_SPEECH = "none"
"""The `lang` of clips without speech."""
NO_CLIPS = "no clip with speech in one known language"
PACKET_S = 0.1
PACKET_SAMPLES = round(PACKET_S * SAMPLE_RATE)
SEED = 20_261
LEAD_S = 0.5
TAIL_S = 1.2
"""The noise at the end of a stream. It is longer than the silence that ends a turn."""
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


class ManifestError(Exception):
    """A manifest cannot be read; the message names file and line."""


@dataclass(frozen=True, slots=True)
class Clip:
    """A recording, as its line of the manifest describes it."""

    path: Path
    lang: str
    """The language as the manifest has it: a code, perhaps with a dialect (`zh-wu`); "none" without
    speech; "mul" for several languages."""
    duration_s: float
    reference: str | None = None
    kind: str = ""
    voice: str = ""
    """`human` if a person is known to speak, and not a program."""

    @property
    def language(self) -> str | None:
        """The code a client would request; None if there is not exactly one."""
        return None if self.lang in (NO_SPEECH, "mul") else self.lang.partition("-")[0]

    @property
    def has_speech(self) -> bool:
        """Whether the recording holds speech."""
        return self.lang != NO_SPEECH


def read_manifest(
    file: Path, languages: Iterable[str] = (), limit: int | None = None
) -> list[Clip]:
    """Read the clips of `file`.

    Each line is a JSON object with `path` (relative to the file), `lang`, `duration_s`, and perhaps
    `reference`, `kind`, `voice`. languages: if not empty, only clips whose `lang`, or its part
    before a dash, is among these. limit: the most clips of each `lang`.

    Raises ManifestError.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ManifestError(f"{file}: {error.strerror}") from error
    wanted = set(languages)
    clips: list[Clip] = []
    counts: Counter[str] = Counter()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        clip = _parse(line, file, number)
        if wanted and not wanted & {clip.lang, clip.lang.partition("-")[0]}:
            continue
        counts[clip.lang] += 1
        if limit is None or counts[clip.lang] <= limit:
            clips.append(clip)
    return clips


def _parse(line: str, file: Path, number: int) -> Clip:
    try:
        row = json.loads(line)
        own = (row.get("reference") or None, row.get("kind") or "", row.get("voice") or "")
        return Clip(file.parent / row["path"], row["lang"], float(row["duration_s"]), *own)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ManifestError(f"{file}, line {number}: {type(error).__name__}: {error}") from error


def packets(samples: Samples) -> list[bytes]:
    """Return float32 [n], 16 kHz, as little-endian PCM16 in packets of 100 ms."""
    pcm = samples_to_pcm16(samples)
    starts = range(0, len(pcm), PACKET_SAMPLES)
    return [pcm[start : start + PACKET_SAMPLES].tobytes() for start in starts]


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

    def render(self) -> Samples:
        """Return the audio, float32 [n], 16 kHz. Raises RuntimeError if a clip cannot be read."""
        random = np.random.default_rng([SEED, self.number, _NOISE])
        spoken = [_sound(piece, random, self.rotation) for piece in self.pieces]
        body = np.concatenate(spoken)[_samples(self.skip_s) :][: _samples(self.seconds)]
        # A clip may be shorter than its manifest says.
        missing = _samples(self.seconds) - len(body)
        around = [noise(_samples(LEAD_S), random), body, noise(missing + _samples(TAIL_S), random)]
        samples: Samples = np.concatenate(around)
        return samples


def choose(clips: Sequence[Clip]) -> dict[str, list[Clip]]:
    """Return the clips with speech of one language, by language, the one with most clips first.

    They are human and no longer than LONG_CLIP_S if the language has such clips. Raises
    RuntimeError if there is no such clip.
    """
    by_language: dict[str, list[Clip]] = {}
    for clip in clips:
        if clip.has_speech and clip.language:
            by_language.setdefault(clip.language, []).append(clip)
    if not by_language:
        raise RuntimeError(NO_CLIPS)
    chosen = {}
    for language, group in by_language.items():
        human = [clip for clip in group if clip.voice == "human"] or group
        chosen[language] = [clip for clip in human if clip.duration_s <= LONG_CLIP_S] or human
    return dict(sorted(chosen.items(), key=lambda entry: (-len(entry[1]), entry[0])))


def plan(
    number: int, languages: Mapping[str, Sequence[Clip]], mode: Mode, seconds: float
) -> StreamPlan:
    """Plan stream `number` (0, 1, …). The streams take the languages in turn."""
    language = list(languages)[number % len(languages)]
    clips = languages[language]
    random = _plan_source(number, mode)
    offset_s = random.uniform(0, MAX_OFFSET_S)
    endless = pieces(clips, mode, random)
    opening = [next(endless), next(endless)]
    cycle_s = sum(piece.duration_s for piece in opening)
    skip_s = random.uniform(0, cycle_s) if mode == "conversational" else 0.0
    while sum(piece.duration_s for piece in opening) < skip_s + seconds:
        opening.append(next(endless))
    rotation = _rotation(number, clips)
    return StreamPlan(number, language, offset_s, seconds, skip_s, tuple(opening), rotation)


def pieces(clips: Sequence[Clip], mode: Mode, random: Generator) -> Iterator[Piece]:
    """Yield clips and pauses by turns, without an end. All clips come before any comes again."""
    while True:
        for index in random.permutation(len(clips)):
            clip = clips[int(index)]
            yield Piece(clip, clip.duration_s)
            pause_s = NONSTOP_PAUSE_S
            if mode == "conversational":
                pause_s = max(SHORTEST_PAUSE_S, clip.duration_s * random.uniform(*PAUSE_SHARE))
            yield Piece(None, pause_s)


def endless_packets(clips: Sequence[Clip], mode: Mode) -> Iterator[bytes]:
    """Yield what stream 0 says in packets, without an end.

    Raises RuntimeError if a clip cannot be read.
    """
    random, rotation = np.random.default_rng([SEED, 0, _NOISE]), _rotation(0, clips)
    left: Samples = np.zeros(0, np.float32)
    for piece in pieces(clips, mode, _plan_source(0, mode)):
        left = np.concatenate([left, _sound(piece, random, rotation)])
        whole = len(left) // PACKET_SAMPLES * PACKET_SAMPLES
        yield from packets(left[:whole])
        left = left[whole:].copy()  # a view would keep the whole clip in memory


def noise(count: int, random: Generator) -> Samples:
    """Return noise too soft to be taken for speech, because no line is digitally silent."""
    return random.standard_normal(count, dtype=np.float32) * np.float32(NOISE_RMS)


def _sound(piece: Piece, random: Generator, rotation: float) -> Samples:
    """Return one piece as audio. Raises RuntimeError if its clip cannot be read."""
    if piece.clip is None:
        return noise(_samples(piece.duration_s), random)
    try:
        samples = read_media(piece.clip.path)
    except (OSError, MediaError) as error:
        raise RuntimeError(f"{piece.clip.path}: {error}") from error
    turned: Samples = np.roll(samples, -round(rotation * len(samples)))
    return turned


def _plan_source(number: int, mode: Mode) -> Generator:
    return np.random.default_rng([SEED, number, _PLAN, mode == "nonstop"])


def _rotation(number: int, clips: Sequence[Clip]) -> float:
    """Return where in its clip a stream begins, if it shares a single clip with others."""
    return number * _GOLDEN % 1 if len(clips) == 1 else 0.0


def _samples(seconds: float) -> int:
    return round(seconds * SAMPLE_RATE)
