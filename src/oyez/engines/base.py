"""The contracts of engines: recognisers, voice activity detectors and emotion classifiers.

This module holds types only, and any room may import it. Audio is float32, mono, at
`oyez.audio.pcm.SAMPLE_RATE`, between -1 and 1. Positions in audio are counted in samples from the
start of a request's audio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import ClassVar, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import Samples

LANGUAGES: tuple[str, ...] = (
    "zh", "yue", "en", "ja", "de", "ko", "ru", "fr", "pt", "ar", "it", "es", "hi", "id",
    "th", "tr", "uk", "vi", "cs", "da", "fil", "fi", "is", "ms", "no", "pl", "sv",
)  # fmt: skip
"""The 27 language codes of the wire. Engines map them to their own codes."""

SPACELESS = frozenset({"zh", "yue", "ja", "th"})
"""Languages that are written without spaces between words."""

BUILT_IN_MODEL = "base"
"""The name of the model that is installed together with oyez."""


class Purpose(Enum):
    """What a request is for. An engine may spend more time on a final than on a partial."""

    PARTIAL = "partial"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Piece:
    """The smallest run of tokens that is whole text: it never ends inside a UTF-8 character."""

    text: str
    """The text as the tokenizer writes it: a leading space marks the start of a word."""
    tokens: tuple[int, ...]
    """The engine's own token ids. Only the engine that made them can read them; they come back to
    it in `Request.hint` and `Request.prefix`."""
    end_samples: int
    """Estimated end of the piece in the request's audio. It never decreases within a hypothesis."""
    probability: float
    """Mean probability of the tokens, from 0 to 1."""
    raw_end_samples: int | None = None
    """The end as estimated for this piece alone. It is usually closer to the truth than
    `end_samples`, but may be far off in either direction. None if the engine has no such
    estimate."""

    def shifted(self, by_samples: int) -> Piece:
        """Return this piece with its ends moved by `by_samples`, but not below 0."""
        raw_end = self.raw_end_samples
        return replace(
            self,
            end_samples=max(0, self.end_samples + by_samples),
            raw_end_samples=None if raw_end is None else max(0, raw_end + by_samples),
        )


def text_of(pieces: Sequence[Piece]) -> str:
    """Return the text of `pieces`, joined."""
    return "".join(piece.text for piece in pieces)


@dataclass(frozen=True, slots=True)
class Request:
    """One stretch of speech to recognise, at most `Info.max_samples` long."""

    samples: Samples
    """float32 [n]. An engine may read it only until its call returns."""
    purpose: Purpose
    language: str | None = None
    """One of LANGUAGES, or None if the engine is to detect the language."""
    context: str = ""
    """Names and terms that the speaker may use (context biasing). The engine must not output them
    where they are not spoken."""
    prefix: tuple[Piece, ...] = ()
    """The hypothesis must begin with exactly these pieces, because clients have already received
    them as confirmed text."""
    hint: tuple[Piece, ...] = ()
    """The last hypothesis for this audio, prefix included. It may make the engine faster. It must
    not change the result, except for near-ties that rounding decides."""
    language_prior: Mapping[str, float] = field(default_factory=dict)
    """Probability of each of LANGUAGES before the audio is known, for requests whose language is
    to be detected. A language of probability 0 must never be answered. Empty means that all
    languages are equally likely. See `oyez.engines.language_prior.likeliest`."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An engine's answer to one request. No pieces means that the audio has no words."""

    pieces: tuple[Piece, ...]
    language: str
    """One of LANGUAGES."""
    language_scores: Mapping[str, float] = field(default_factory=dict)
    """Probability of each of LANGUAGES by the audio alone, without `Request.language_prior`. Empty
    if the request named the language."""
    no_speech: float = 0.0
    """Probability that the audio has no speech at all, from 0 to 1."""
    features: NDArray[np.float32] | None = None
    """Acoustic features for the emotion classifier, in `Info.feature_space`: means over the
    request's audio, of any shape. None if the engine has none."""

    @property
    def text(self) -> str:
        """The text of all pieces."""
        return text_of(self.pieces)


class RecognitionError(Exception):
    """An engine could not decode one request. The session continues; the item fails."""


class LoadError(Exception):
    """An engine cannot be loaded. The message explains what to do."""


@dataclass(frozen=True, slots=True)
class Info:
    """What an engine can do."""

    name: str
    languages: tuple[str, ...]
    max_samples: int
    """Longest audio of one request."""
    max_batch: int
    """Most requests of one call."""
    parallel: int = 1
    """How many calls may run at the same time, each in its own thread."""
    max_batch_finals: int = 1
    """Most finals of one call. A number above 1 is useful only if the engine decodes them together,
    because all answers of a call come at the same time."""
    feature_space: str = ""
    """Identifies how `Hypothesis.features` are computed. An emotion classifier is trained for one
    such space. Empty if there are no features."""
    has_speech_model: bool = False
    """Whether the engine must find words in clear speech. If it finds none when it is tried at the
    start, its weights are damaged."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What every recogniser is loaded with. An engine ignores what it does not need."""

    model: str
    """BUILT_IN_MODEL, the path of a directory, or a name that only the engine can interpret."""
    device: str
    """`cpu` or `cuda`. The engine class lists the devices it supports in `devices`."""
    threads: int
    """How many CPU threads the engine may use, at least 1."""
    cache_dir: str
    """Path of a directory for files that the engine computes once for this machine. The directory
    may not exist yet."""


class Recogniser(Protocol):
    """A loaded model that turns audio into text. It does not depend on sessions or the wire.

    `recognise` is called from up to `Info.parallel` threads at the same time, so calls may share
    only data that never changes, such as weights. `warm_up` is called once before that.
    """

    @property
    def info(self) -> Info: ...

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order. If one request fails, its answer is a RecognitionError
        and the other requests are still answered."""

    def warm_up(self) -> None:
        """Run every code path once, so that the first client does not wait."""


class RecogniserClass(Protocol):
    """The class of a recogniser, as `oyez.engines.registry` finds it by name."""

    devices: ClassVar[tuple[str, ...]]
    """Devices that the engine can run on: `cpu`, `cuda`."""

    @classmethod
    def load(cls, options: EngineOptions) -> Recogniser:
        """Load the engine. Raises LoadError, or any other exception with a message for people."""


WINDOW_SAMPLES = 512
"""A voice activity detector scores windows of 512 samples, which is 32 ms."""

AudioChunk = tuple[NDArray[np.float32], object]
"""Whole windows of one stream, float32 [n * WINDOW_SAMPLES], and the stream's state before them."""
Scores = tuple[NDArray[np.float32], object]
"""Probabilities of speech, float32 [n] from 0 to 1, and the stream's state after them."""


class VoiceDetector(Protocol):
    """A loaded voice activity detector. Detectors inherit from this class, and their constructors
    take no arguments.

    The state of a stream is an opaque value that each call returns and the next call takes. Calls
    are thread-safe.
    """

    def initial_state(self) -> object:
        """Return the state before the first window of a stream."""

    def score(self, samples: NDArray[np.float32], state: object) -> Scores:
        """Score whole windows of one stream, in order. See `AudioChunk` and `Scores`.

        The probabilities do not depend on how a stream is divided into calls. Raises ValueError if
        `samples` do not make whole windows.
        """

    def score_many(self, chunks: Sequence[AudioChunk]) -> list[Scores]:
        """Score one chunk of each of several streams. The answers have the order of `chunks`.

        The probabilities of a stream do not depend on the other streams. Raises ValueError if the
        samples of any chunk do not make whole windows.
        """
        return [self.score(samples, state) for samples, state in chunks]


def window_count(samples: NDArray[np.float32]) -> int:
    """Return how many windows `samples` make. Raises ValueError if they are not whole windows."""
    if len(samples) % WINDOW_SAMPLES:
        raise ValueError(f"{len(samples)} samples are not whole windows of {WINDOW_SAMPLES}")
    return len(samples) // WINDOW_SAMPLES


Emotion = Literal["surprised", "neutral", "happy", "sad", "disgusted", "angry", "fearful"]
EMOTIONS: tuple[Emotion, ...] = get_args(Emotion)

Features = NDArray[np.float32]
"""`Hypothesis.features` of one utterance."""


class EmotionTracker(Protocol):
    """The classifier's state for one session. It adapts to the speaker utterance by utterance.

    The answer is `neutral` where there are no features (None) or the evidence is too weak.
    """

    def guess(self, features: Features | None) -> Emotion:
        """Classify an utterance that is not over yet. Does not change the state."""

    def update(self, features: Features | None) -> Emotion:
        """Classify a complete utterance, and adapt to its speaker. Call it once for each utterance,
        in order."""


class EmotionClassifier(Protocol):
    """A loaded emotion classifier. It does not depend on sessions."""

    def new_tracker(self) -> EmotionTracker:
        """Return the state for a new session."""
