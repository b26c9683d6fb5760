"""The contract between recognition engines and everything above them.

Pure types only: any room may import this module. Audio is always float32, mono, 16 kHz, in
[-1, 1]; audio time is counted in samples from the start of the request's audio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import Samples

LANGUAGES: tuple[str, ...] = (
    "zh", "yue", "en", "ja", "de", "ko", "ru", "fr", "pt", "ar", "it", "es", "hi", "id",
    "th", "tr", "uk", "vi", "cs", "da", "fil", "fi", "is", "ms", "no", "pl", "sv",
)  # fmt: skip
"""The 27 language codes oyez speaks on the wire; engines map them to their own."""


class Purpose(Enum):
    """What a request is for: engines may spend more on a final."""

    PARTIAL = "partial"
    FINAL = "final"


@dataclass(frozen=True, slots=True)
class Piece:
    """The smallest run of tokens that is whole text (never half a UTF-8 character)."""

    text: str
    """As the tokenizer gives it: a leading space marks the start of a word."""
    tokens: tuple[int, ...]
    """The engine's own token ids: opaque to everyone else; handed back in `Request.hint`."""
    end_samples: int
    """Where in the request's audio the piece was heard (best estimate of its end)."""
    probability: float
    """Mean probability of its tokens, 0…1."""
    said_to_samples: int | None = None
    """Where it ends by itself alone: nearer the truth than `end_samples`, which never goes back,
    but now and then far off, forwards or backwards. None: the engine tells no more than that."""


@dataclass(frozen=True, slots=True)
class Request:
    """One stretch of speech to recognise, at most `Info.max_samples` long."""

    samples: Samples
    """float32 [n], 16 kHz. An engine may use them only until the call returns."""
    purpose: Purpose
    language: str | None = None
    """One of LANGUAGES, or None: detect among them."""
    context: str = ""
    """Names and terms the speaker may use (context biasing); never to appear by itself."""
    prefix: tuple[Piece, ...] = ()
    """The hypothesis must begin with exactly these pieces (text the listener was promised)."""
    hint: tuple[Piece, ...] = ()
    """What the last hypothesis says of this audio, prefix included. It may make the engine
    faster; it must not change the result but for near-ties that rounding decides."""
    language_prior: Mapping[str, float] = field(default_factory=dict)
    """How likely each of LANGUAGES is before the audio is heard, where the language is to be
    detected; one of probability 0 must never be answered. Empty: each is as likely."""


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """What an engine heard. No pieces means: no words in this audio."""

    pieces: tuple[Piece, ...]
    language: str
    """One of LANGUAGES."""
    language_scores: Mapping[str, float] = field(default_factory=dict)
    """Probability of each of LANGUAGES by the audio alone, whatever `language_prior` said; empty
    when the language was given."""
    no_speech: float = 0.0
    """Probability that there is no speech at all, 0…1."""
    features: NDArray[np.float32] | None = None
    """Acoustic features for the emotion classifier, of `Info.feature_space`: means over the
    request's audio, any shape; None where the engine has none."""

    @property
    def text(self) -> str:
        return "".join(piece.text for piece in self.pieces)


class RecognitionError(Exception):
    """An engine could not decode one request. The session lives on; the item fails."""


@dataclass(frozen=True, slots=True)
class Info:
    """What an engine can do."""

    name: str
    languages: tuple[str, ...]
    max_samples: int
    """Longest audio one request may carry."""
    max_batch: int
    """Most requests one call may carry."""
    parallel: int = 1
    """How many calls may run at once, each from a thread of its own."""
    max_batch_finals: int = 1
    """Most finals one call should carry: more than one only where they are decoded together, for
    the answers come together too."""
    feature_space: str = ""
    """Names what `Hypothesis.features` are made of: classifiers are trained for one such space.
    Empty where there are no features."""


class Recogniser(Protocol):
    """A loaded model; knows no session.

    `recognise` is called from up to `Info.parallel` threads at once: calls share the weights and
    nothing that changes. `warm_up` is called before, alone.
    """

    @property
    def info(self) -> Info: ...

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order. A request that fails alone is answered by a
        RecognitionError in its place; the others are not harmed."""
        ...

    def warm_up(self) -> None:
        """Run every path once so that the first listener does not wait."""
        ...
