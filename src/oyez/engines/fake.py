"""A recogniser without a model: deterministic words from the audio's length, or a script.

For tests, and for trying clients and set-ups where no model is wanted (`--engine fake`).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import LANGUAGES, Hypothesis, Info, Piece, RecognitionError, Request
from oyez.turns.language import likeliest

WORDS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORD_SAMPLES = SAMPLE_RATE // 2
REMEMBERED = 256


class FakeRecogniser:
    """Hears one counting word for each half second, so longer audio extends shorter audio's text.

    script: text for a request instead; it may raise. delay_s: how long each call takes.
    The latest requests are kept in `requests`, the latest batches' sizes in `batch_sizes`, unless
    it was loaded as a server loads it.
    """

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
        """Clear it to hold every answer back."""
        self.may_answer.set()
        self._script = script
        self._remembered = remembered

    @classmethod
    def load(cls, cache_dir: Path, threads: int) -> FakeRecogniser:
        """As other engines are loaded; there is nothing to load."""
        return cls(remembered=0)

    def warm_up(self) -> None:
        self.warm = True

    def recognise(self, requests: Sequence[Request]) -> list[Hypothesis | RecognitionError]:
        self._remember(requests)
        self.may_answer.wait()
        time.sleep(self.delay_s)
        return [self._answer(request) for request in requests]

    def _remember(self, requests: Sequence[Request]) -> None:
        if self._remembered:
            self.requests.extend(requests)
            self.batch_sizes.append(len(requests))
            del self.requests[: -self._remembered], self.batch_sizes[: -self._remembered]

    def _answer(self, request: Request) -> Hypothesis:
        words = self._script(request).split() if self._script else _count(len(request.samples))
        pieces = (*request.prefix, *_pieces(words[len(request.prefix) :], len(request.prefix)))
        scores = {} if request.language else {"en": 1.0}
        language = request.language or likeliest(
            request.language_prior, scores, len(request.samples)
        )
        return Hypothesis(pieces, language, scores)


def _count(samples: int) -> list[str]:
    return [WORDS[n % len(WORDS)] for n in range(samples // WORD_SAMPLES)]


def _pieces(words: Sequence[str], start: int) -> list[Piece]:
    return [
        Piece(f" {word}", (number,), (number + 1) * WORD_SAMPLES, 1.0)
        for number, word in enumerate(words, start=start)
    ]
