"""A recogniser without a model. Its words follow from the audio's length, or from a script.

It is for tests, and for trying clients and set-ups that need no model (`--engine fake`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import (
    LANGUAGES,
    EngineOptions,
    Hypothesis,
    Info,
    Piece,
    RecognitionError,
    Request,
)
from oyez.engines.language_prior import likeliest

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORD_SAMPLES = SAMPLE_RATE // 2
REMEMBERED = 256


class FakeRecogniser:
    """Answers one counting word for each half second, so longer audio extends the text of shorter
    audio.

    script: returns the text for a request instead; it may raise. delay_s: how long each call takes.
    remembered: how many of the latest requests `requests` keeps, and how many of the latest batch
    sizes `batch_sizes` keeps. A server keeps none.
    """

    devices = ("cpu",)

    def __init__(
        self,
        script: Callable[[Request], str] | None = None,
        *,
        delay_s: float = 0.0,
        max_batch: int = 8,
        parallel: int = 1,
        remembered: int = REMEMBERED,
    ) -> None:
        self.info = Info("fake", LANGUAGES, 30 * SAMPLE_RATE, max_batch, parallel, max_batch)
        self.delay_s = delay_s
        self.requests: list[Request] = []
        self.batch_sizes: list[int] = []
        self.warm = False
        self.may_answer = threading.Event()
        """While it is cleared, no call returns."""
        self.may_answer.set()
        self._script = script
        self._remembered = remembered

    @classmethod
    def load(cls, options: EngineOptions) -> FakeRecogniser:
        """Return a recogniser that keeps no requests. No option has an effect."""
        return cls(remembered=0)

    def warm_up(self) -> None:
        """Only note that it was called, in `warm`."""
        self.warm = True

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        """Answer every request, in order; see `Recogniser.recognise`."""
        if self._remembered:
            self.requests.extend(requests)
            self.batch_sizes.append(len(requests))
            del self.requests[: -self._remembered], self.batch_sizes[: -self._remembered]
        self.may_answer.wait()
        time.sleep(self.delay_s)
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Hypothesis:
        length, before = len(request.samples), len(request.prefix)
        words = [WORDS[n % len(WORDS)] for n in range(length // WORD_SAMPLES)]
        if self._script:
            words = self._script(request).split()
        new = (
            Piece(f" {word}", (number,), (number + 1) * WORD_SAMPLES, 1.0)
            for number, word in enumerate(words[before:], start=before)
        )
        scores = {} if request.language else {"en": 1.0}
        language = request.language or likeliest(request.language_prior, scores, length)
        return Hypothesis((*request.prefix, *new), language, scores)
