"""Stage 4: one turn of speech → windows to recognise, and its text.

A turn is cut at pauses once it is long, so that a monologue costs no more per second than a short
sentence and no request outgrows what an engine can take.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis
from oyez.engines.language_prior import FLAT, Prior
from oyez.turns.segment import Wanted, Window, WindowSettings
from oyez.turns.stabilizer import Passage, glue
from oyez.turns.text_style import finished, styled
from oyez.turns.word_times import Timeline, Word

TELLING_SAMPLES = SAMPLE_RATE * 3 // 2
"""Audio that is long enough to say something of how somebody sounds: a second of speech, with
what is heard around it."""


@dataclass(frozen=True, slots=True)
class CutSettings:
    easy_samples: int = 10 * SAMPLE_RATE
    """A window so long is cut at the next pause …"""
    hard_samples: int = 20 * SAMPLE_RATE
    """… and one so long where speech is least likely …"""
    reach_samples: int = 6 * SAMPLE_RATE
    """… in its last seconds."""


class Turn:
    """One turn from sample `start` on. Feed it every 32 ms of audio, then close it."""

    def __init__(
        self,
        start: int,
        settings: WindowSettings,
        language: str | None = None,
        cuts: CutSettings | None = None,
    ) -> None:
        self.start = start
        self.closed = False
        self.end = start
        """Where it ends, once it is closed."""
        self.speech_samples = 0
        """How much speech was heard in the windows settled so far."""
        self.latest_features: NDArray[np.float32] | None = None
        """Acoustic features of what was recognised last, if that was long enough to tell
        anything; see `Hypothesis.features`."""
        self._features: NDArray[np.float32] | None = None
        self._features_samples = 0
        self._settings = settings
        self._requested_language = language
        self._cuts = cuts or CutSettings()
        self._windows = [Window(start, settings, language)]
        self._expected = FLAT
        self._in_line = True
        self._position = start
        self._probabilities: list[float] = []
        self._shown = Passage()
        """What was shown of the windows settled so far."""
        self._finals = Passage()
        self._timeline = Timeline()
        self._failure: Exception | None = None
        self._chars_by_language: dict[str, int] = {}

    @property
    def language(self) -> str | None:
        """That of most of what was heard, else the requested one; None: nothing heard yet."""
        if self._chars_by_language:
            return max(self._chars_by_language, key=self._chars_by_language.__getitem__)
        heard = (w.words.language for w in self._windows if w.words.hypothesis)
        return next(heard, None) or self._requested_language

    @property
    def settled(self) -> bool:
        """Closed, and every window's final is known."""
        return self.closed and not self._windows

    @property
    def failure(self) -> Exception | None:
        """Why a window could not be recognised, once the turn has settled."""
        return self._failure

    @property
    def transcript(self) -> str:
        """Finals of the windows settled so far; once the turn has settled, with the end its
        language asks for."""
        text = self._finals.text
        return finished(text, self.language or "en") if self.settled else text

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of `transcript`, and when they were said."""
        return self._timeline.words(self.transcript)

    @property
    def features(self) -> NDArray[np.float32] | None:
        """Mean of the acoustic features of all windows with words that have settled."""
        return self._features

    @property
    def text(self) -> str:
        """Confirmed text: it only grows."""
        return self._shown.followed_by(self._windows[0].words.promised if self._windows else "")

    @property
    def stash(self) -> str:
        """The rest of the hypothesis behind `text`."""
        whole = text = self.text
        for index, window in enumerate(self._windows):
            shown = window.words.tentative
            if index > 0:
                shown = window.words.promised + shown
            inside = index == 0 and bool(window.words.promised)
            whole += shown if inside else glue(whole, shown) + shown
        return whole[len(text) :]

    @property
    def needed_from(self) -> int:
        """The first sample of audio that may still be wanted."""
        return self._windows[0].start if self._windows else self._position

    @property
    def held_samples(self) -> int:
        """Audio whose final is there, but may be asked for again."""
        return sum(window.answered_samples for window in self._windows)

    @property
    def expected(self) -> Prior:
        """What language is expected behind the windows settled so far."""
        return self._expected

    def assume(self, expected: Prior) -> None:
        """Finals before the turn are not known yet: what language is expected is a guess, and no
        window settles. Tell it before anything is fed."""
        self._in_line = False
        self._expect(expected)

    def follow(self, expected: Prior) -> list[Wanted]:
        """All finals before the turn are known, and so what language is expected. May be told
        again. The final to ask for again, if it was decoded in another language than that."""
        if not self._in_line:
            self._in_line = True
            self._expect(expected)
        self._settle()
        first = self._windows[:1]
        return [window.ask_again() for window in first if window.doubtful]

    def feed(self, probability: float, end: int) -> list[Wanted]:
        """The 32 ms that end at sample `end` are speech with this probability."""
        window = self._windows[-1]
        window.feed(probability, end)
        self._position = end
        self._probabilities.append(probability)
        length = end - window.start
        pause = window.has_speech and window.silent_samples >= self._settings.tail_samples
        if length >= self._cuts.hard_samples:
            return self._cut(self._least_likely_speech())
        if pause and length >= self._cuts.easy_samples:
            return self._cut(end)
        wanted = window.wants()
        return [wanted] if wanted else []

    def close(self, end: int) -> list[Wanted]:
        """The turn ends at sample `end`: the finals that have not been asked for yet."""
        self.closed = True
        self.end = end
        wanted = self._windows[-1].close(end)
        self._settle()
        return [wanted] if wanted else []

    def hear(self, wanted: Wanted, outcome: Hypothesis | Exception) -> bool:
        """Take in the answer to what was wanted. True if there is something new to show."""
        if wanted.window not in self._windows:
            return False
        news = wanted.window.hear(wanted, outcome)
        if isinstance(outcome, Hypothesis) and wanted.samples >= TELLING_SAMPLES:
            self.latest_features = outcome.features
        self._settle()
        return news

    def _least_likely_speech(self) -> int:
        recent = np.asarray(self._probabilities[-self._cuts.reach_samples // WINDOW_SAMPLES :])
        smooth = np.convolve(recent, np.ones(3), mode="valid")
        middle = int(smooth.argmin()) + 1
        return self._position - (len(recent) - middle - 1) * WINDOW_SAMPLES

    def _cut(self, at: int) -> list[Wanted]:
        """End the current window at sample `at` and begin the next one there."""
        wanted = self._windows[-1].close(at)
        count = (self._position - at) // WINDOW_SAMPLES
        later = self._probabilities[len(self._probabilities) - count :]
        successor = Window(at, self._settings, self._requested_language)
        successor.expected = self._expected
        for index, probability in enumerate(later):
            successor.feed(probability, at + (index + 1) * WINDOW_SAMPLES)
        successor.take_over(self._windows[-1])
        self._windows.append(successor)
        self._probabilities = later
        self._settle()
        return [wanted] if wanted else []

    def _add_features(self, features: NDArray[np.float32] | None, samples: int) -> None:
        if features is None:
            return
        self._features_samples += samples
        if self._features is None:
            self._features = features
        else:
            share = samples / max(1, self._features_samples)
            self._features = self._features + share * (features - self._features)

    def _expect(self, expected: Prior) -> None:
        self._expected = expected
        for window in self._windows:
            window.expected = expected

    def _settle(self) -> None:
        """Text of the oldest windows becomes final, in order."""
        while self._in_line and self._windows and self._windows[0].settled:
            window = self._windows.pop(0)
            self._expect(window.expected_behind)
            self._failure = self._failure or window.failure
            self.speech_samples += sum(last - first for first, last in window.spoken)
            if window.final is not None and window.final.pieces:
                self._keep(window, window.final)
            self._shown.add(window.words.promised)

    def _keep(self, window: Window, final: Hypothesis) -> None:
        text = styled(final.text, final.language)
        window.words.finish(text)
        self._finals.add(text)
        self._timeline.add(final.pieces, text, window.answered_from, window.spoken)
        self._add_features(final.features, window.answered_samples)
        count = self._chars_by_language.get(final.language, 0)
        self._chars_by_language[final.language] = count + len(text)
