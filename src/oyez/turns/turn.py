"""A turn of speech: it is cut into segments to recognise, and their texts are joined.

A long turn is cut at pauses, so that a monologue costs no more per second than a short sentence
and no request is longer than an engine can take. Positions are samples of the session at 16 kHz.
"""

from __future__ import annotations

import numpy as np

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Features, Hypothesis
from oyez.engines.language_prior import FLAT, Prior
from oyez.turns.segment import RecognitionNeed, Segment, SegmentSettings
from oyez.turns.text_style import TextJoiner, separator, styled, with_full_stop
from oyez.turns.word_times import LetterTimes, Word

MIN_FEATURES_SAMPLES = SAMPLE_RATE * 3 // 2
"""Acoustic features of shorter audio do not show the speaker's emotion. This is one second of
speech with the audio around it that is recognised with it."""
SOFT_LIMIT_SAMPLES = 10 * SAMPLE_RATE
"""A segment of this length is cut at the next pause."""
HARD_LIMIT_SAMPLES = 20 * SAMPLE_RATE
"""A segment of this length is cut where its speech is least likely."""
CUT_SEARCH_WINDOWS = 6 * SAMPLE_RATE // WINDOW_SAMPLES + 1
"""The place where speech is least likely is looked for in so many windows at the end, some 6 s."""


class Turn:
    """One turn from sample `start` on. Feed it each detector window, then close it.

    It has settled once it is closed and the final of each of its segments is there. The turn
    before may still be unsettled while this one is fed; then the languages to expect are a guess:
    see `guess_language_prior`.
    """

    def __init__(self, start: int, settings: SegmentSettings, language: str | None = None) -> None:
        """language: the requested one; None: it is detected."""
        self.start = start
        self.closed = False
        """Whether the turn gets no more audio."""
        self.end = start
        """Where the turn ends; only meaningful once it is closed."""
        self.speech_samples = 0
        """How much speech there is in the segments settled so far."""
        self.latest_features: Features | None = None
        """The acoustic features of the latest hypothesis of enough audio: see
        `Hypothesis.features` and MIN_FEATURES_SAMPLES."""
        self.features: Features | None = None
        """The mean of the acoustic features of all settled segments with words, weighted by their
        length; None without any."""
        self.failure: Exception | None = None
        """Why a segment could not be recognised, if so, once the turn has settled."""
        self.language_prior_after = FLAT
        """The languages to expect after the segments settled so far. It is only a guess while
        finals before the turn are missing."""
        self._prior_is_exact = True
        self._settings = settings
        self._requested_language = language
        # The segments that have not settled; only the last one may be open
        self._segments = [Segment(start, settings, language)]
        self._position = start
        # Speech probabilities of the open segment's windows
        self._probabilities: list[float] = []
        # What was shown of the settled segments, and their finals: these differ where a final
        # contradicts confirmed text
        self._shown = TextJoiner()
        self._finals = TextJoiner()
        self._letter_times = LetterTimes()
        self._features_samples = 0
        self._chars_by_language: dict[str, int] = {}

    @property
    def language(self) -> str | None:
        """The language of most of the text; before any segment has settled, that of the latest
        hypothesis, else the requested one; None without any of these."""
        if self._chars_by_language:
            return max(self._chars_by_language, key=self._chars_by_language.__getitem__)
        recognised = (s.stabilizer.language for s in self._segments if s.stabilizer.hypothesis)
        return next(recognised, None) or self._requested_language

    @property
    def settled(self) -> bool:
        """Whether the turn is closed and every segment's final is there."""
        return self.closed and not self._segments

    @property
    def transcript(self) -> str:
        """The finals of the segments settled so far; once the turn has settled, with the full stop
        of its language."""
        text = self._finals.text
        return with_full_stop(text, self.language or "en") if self.settled else text

    @property
    def words(self) -> tuple[Word, ...]:
        """The words of `transcript`, with their times."""
        return self._letter_times.words(self.transcript)

    @property
    def stable_text(self) -> str:
        """The confirmed text. It only grows."""
        first = self._segments[0].stabilizer.stable_text if self._segments else ""
        return self._shown.with_next(first)

    @property
    def unstable_text(self) -> str:
        """The rest of the hypothesis: `stable_text + unstable_text` is all of it."""
        whole = stable = self.stable_text
        for index, segment in enumerate(self._segments):
            shown, rest = segment.stabilizer.stable_text, segment.stabilizer.unstable_text
            if index == 0 and shown:
                whole += rest  # the space behind the stable text is in it
                continue
            # Behind a segment that has not settled, nothing is stable for the turn
            rest = shown + rest
            whole += separator(whole, rest) + rest
        return whole[len(stable) :]

    @property
    def needed_from(self) -> int:
        """The first sample of audio that a later request may still cover."""
        return self._segments[0].start if self._segments else self._position

    @property
    def answered_samples(self) -> int:
        """How much audio of unsettled segments has a final, which may be requested again."""
        return sum(segment.answered_samples for segment in self._segments)

    def guess_language_prior(self, prior: Prior) -> None:
        """Set the languages to expect while finals before the turn are missing. No segment settles
        until `confirm_language_prior` is called. Call it before anything is fed."""
        self._prior_is_exact = False
        self._set_language_prior(prior)

    def confirm_language_prior(self, prior: Prior) -> list[RecognitionNeed]:
        """Set the languages to expect, now that all finals before the turn are there.

        Only the first call sets them; each call returns the request for the first segment's final
        if that was decoded in another language than these priors give.
        """
        if not self._prior_is_exact:
            self._prior_is_exact = True
            self._set_language_prior(prior)
        self._settle()
        return [segment.retry() for segment in self._segments[:1] if segment.language_changed]

    def feed(self, probability: float, end: int) -> list[RecognitionNeed]:
        """Take the speech probability of the detector window that ends at sample `end`. Return
        what should be recognised now."""
        segment = self._segments[-1]
        segment.feed(probability, end)
        self._position = end
        self._probabilities.append(probability)
        length = end - segment.start
        if length >= HARD_LIMIT_SAMPLES:
            return self._cut(self._least_likely_speech())
        long_enough = length >= SOFT_LIMIT_SAMPLES and segment.has_speech
        if long_enough and segment.silent_samples >= self._settings.tail_samples:
            return self._cut(end)
        return _listed(segment.next_request())

    def close(self, end: int) -> list[RecognitionNeed]:
        """End the turn at sample `end`. Return the request for its last final, if that has not been
        requested yet."""
        self.closed, self.end = True, end
        need = self._segments[-1].close(end)
        self._settle()
        return _listed(need)

    def on_result(self, need: RecognitionNeed, outcome: Hypothesis | Exception) -> bool:
        """Take the answer to a request. Return whether there is new text to show."""
        if need.segment not in self._segments:
            return False
        news = need.segment.on_result(need, outcome)
        if isinstance(outcome, Hypothesis) and need.length_samples >= MIN_FEATURES_SAMPLES:
            self.latest_features = outcome.features
        self._settle()
        return news

    def _least_likely_speech(self) -> int:
        """Return the middle of the three windows with the lowest mean probability near the end."""
        recent = np.asarray(self._probabilities[-CUT_SEARCH_WINDOWS:])
        means = np.convolve(recent, np.ones(3), mode="valid")
        middle = int(means.argmin()) + 1
        return self._position - (len(recent) - middle - 1) * WINDOW_SAMPLES

    def _cut(self, at: int) -> list[RecognitionNeed]:
        """Close the open segment at sample `at` and open the next one there."""
        segment = self._segments[-1]
        need = segment.close(at)
        successor = Segment(at, self._settings, self._requested_language, self.language_prior_after)
        # The windows behind the cut were fed to the segment that has just been closed
        count = (self._position - at) // WINDOW_SAMPLES
        self._probabilities = self._probabilities[len(self._probabilities) - count :]
        for index, probability in enumerate(self._probabilities, start=1):
            successor.feed(probability, at + index * WINDOW_SAMPLES)
        successor.inherit(segment)
        self._segments.append(successor)
        self._settle()
        return _listed(need)

    def _set_language_prior(self, prior: Prior) -> None:
        self.language_prior_after = prior
        for segment in self._segments:
            segment.language_prior = prior

    def _settle(self) -> None:
        """Make the text of the oldest segments final, in order."""
        while self._prior_is_exact and self._segments and self._segments[0].settled:
            segment = self._segments.pop(0)
            self._set_language_prior(segment.language_prior_after)
            self.failure = self.failure or segment.failure
            self.speech_samples += sum(last - first for first, last in segment.speech_spans)
            if segment.final is not None and segment.final.pieces:
                self._add_final(segment, segment.final)
            self._shown.add(segment.stabilizer.stable_text)

    def _add_final(self, segment: Segment, final: Hypothesis) -> None:
        text = styled(final.text, final.language)
        segment.stabilizer.set_final(text)
        self._finals.add(text)
        self._letter_times.add(final.pieces, text, segment.audio_start, segment.speech_spans)
        count = self._chars_by_language.get(final.language, 0)
        self._chars_by_language[final.language] = count + len(text)
        if final.features is None:
            return
        samples = segment.answered_samples
        self._features_samples += samples
        if self.features is None:
            self.features = final.features
        else:
            share = samples / max(1, self._features_samples)
            self.features = self.features + share * (final.features - self.features)


def _listed(need: RecognitionNeed | None) -> list[RecognitionNeed]:
    return [need] if need else []
