"""Stage 4a: one window of a turn, short enough for one request → what to recognise, and when.

A window asks for partials while speech goes on, and for its final once silence lasts, early
enough that the answer is there when the turn ends. What it asks as a final follows from the audio
alone, never from when answers come: the same audio gives the same finals. That is why a final
carries no hint: engines that round may turn a near-tie the other way. Positions are samples of
the session.

What it asks last is answered some day; anything older, unless it is a definite final, may never
be: it may have given its place to something newer.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.engines.language_prior import FLAT, Prior, likeliest
from oyez.turns.language import after, leaning
from oyez.turns.partial_context import WHOLE, Excerpt, excerpt, moved
from oyez.turns.stabilizer import CUT_MARGIN_SAMPLES, Words, heard_before
from oyez.turns.word_times import Span


@dataclass(frozen=True, slots=True)
class WindowSettings:
    release: float
    """Speech probability from which 32 ms of audio count as speech."""
    first_partial_samples: int = SAMPLE_RATE * 35 // 100
    """Speech before the first partial is asked for."""
    eager_samples: int = SAMPLE_RATE * 25 // 100
    """Between partials as long as none had words."""
    steady_samples: int = SAMPLE_RATE // 2
    """Between partials afterwards."""
    patience_samples: int = SAMPLE_RATE
    """While a partial is not answered, between it and a fresher one that takes its place."""
    lead_samples: int = SAMPLE_RATE * 3 // 10
    """Audio before the first speech that is recognised with it."""
    tail_samples: int = 6 * WINDOW_SAMPLES
    """Silence after the last speech that is recognised with it."""
    silence_samples: int = SAMPLE_RATE * 8 // 10
    """Silence after which the turn is expected to end: a final is needed then."""
    hesitation_samples: int = 10 * WINDOW_SAMPLES
    """Silence that is often not the end: a final is not asked for before, if there is time."""
    partials: bool = True
    speculation: bool = True
    """Whether a final is asked for before its audio is known to be complete."""

    @property
    def speculation_samples(self) -> int:
        """Silence after which a final is asked for, in case the turn ends."""
        return max(self.tail_samples, min(self.hesitation_samples, self.silence_samples // 2))


@dataclass(frozen=True, slots=True)
class Wanted:
    """Audio from `start` to `end` that a window wants recognised."""

    window: Window
    purpose: Purpose
    start: int
    end: int
    speculative: bool = False
    """Speech may resume, and then this final was in vain."""
    due_samples: int = 0
    """How much more audio comes before the answer is needed."""
    language: str | None = None
    prior: Prior = field(default_factory=dict)
    """Of languages, where none is given."""
    prefix: tuple[Piece, ...] = ()
    hint: tuple[Piece, ...] = ()
    excerpt: Excerpt = WHOLE
    """Of the window's audio, what is between `start` and `end`."""

    @property
    def samples(self) -> int:
        """How much audio it is."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class _Answered:
    """What a final was the answer to; not the `Wanted`, which refers to its window."""

    start: int
    end: int
    prior: Prior

    @property
    def samples(self) -> int:
        return self.end - self.start


class Window:
    """A stretch of a turn from sample `start` on. Feed it, then ask what it wants."""

    def __init__(self, start: int, settings: WindowSettings, language: str | None) -> None:
        self.start = start
        self.words = Words()
        self.final: Hypothesis | None = None
        """The answer that counts, once it is there."""
        self.failure: Exception | None = None
        self.closed = False
        """No more audio will belong to it."""
        self.expected = FLAT
        """What language is expected, from what was said before."""
        self._answered: _Answered | None = None
        """What `final` is the answer to."""
        self._settings = settings
        self._language = language
        self._position = start
        self._speech_start: int | None = None
        self._speech_end = start
        self._spoken: list[Span] = []
        self._end: int | None = None
        """Where its audio ends, once it is closed."""
        self._final_end: int | None = None
        """Where the audio ends of the final that counts, once it has been asked for."""
        self._next_partial = 0
        self._heard_to = 0

    @property
    def has_speech(self) -> bool:
        return self._speech_start is not None

    @property
    def settled(self) -> bool:
        """Closed, and nothing more will be heard of it."""
        if not self.closed or self.doubtful:
            return False
        return not self.has_speech or self.final is not None or self.failure is not None

    @property
    def silent_samples(self) -> int:
        """How long it has been silent since its last speech."""
        return self._position - self._speech_end

    def feed(self, probability: float, end: int) -> None:
        """The 32 ms that end at sample `end` are speech with this probability."""
        self._position = end
        if probability < self._settings.release:
            return
        if self._speech_start is None:
            self._speech_start = max(self.start, end - WINDOW_SAMPLES)
            self._next_partial = self._speech_start + self._settings.first_partial_samples
        elif self._final_end is not None:
            self._next_partial = end + self._settings.eager_samples
        self._speech_end = end
        self._note_speech(end)
        self._final_end, self.final, self.failure = None, None, None

    def wants(self) -> Wanted | None:
        """What should be recognised now."""
        pauses = self.has_speech and self.silent_samples >= self._patient_samples
        if pauses and self._settings.speculation:
            return self._want_final(speculative=True)
        return self._want_partial()

    def close(self, end: int) -> Wanted | None:
        """Its audio ends at sample `end`. The final, if it has not been asked for yet."""
        self.closed = True
        self._end = end
        self._speech_end = min(self._speech_end, end)
        if self._speech_start is not None and self._speech_start >= end:
            self._speech_start = None
        if self.failure or (self._final_end is not None and self._final_end > end):
            self._final_end, self.final, self.failure = None, None, None
        return self._want_final(speculative=False, limit=end)

    def awaits(self, wanted: Wanted) -> bool:
        """Whether this is the final that counts, and not answered yet."""
        return self._counts(wanted) and self.final is None and self.failure is None

    def hear(self, wanted: Wanted, outcome: Hypothesis | Exception) -> bool:
        """Take in the answer to what it wanted. True if there is something new to show."""
        if wanted.purpose is Purpose.PARTIAL:
            self._next_partial = min(self._next_partial, wanted.end + wanted.due_samples)
        counts = self._counts(wanted)
        if isinstance(outcome, Exception):
            if counts:
                self.failure = outcome
            return False
        if counts:
            self.final = outcome
            self._answered = _Answered(wanted.start, wanted.end, wanted.prior)
        elif self.final is not None or wanted.end < self._heard_to:
            return False
        self._heard_to = wanted.end
        audio_samples = wanted.end - wanted.start + wanted.excerpt.start
        self.words.hear(self._own(wanted.excerpt.completed(outcome)), audio_samples)
        return self._settings.partials or self.closed

    @property
    def doubtful(self) -> bool:
        """Whether its final was decoded in another language than is now made of its audio."""
        if self.final is None or self._answered is None or not self.final.language_scores:
            return False
        scores, samples = self.final.language_scores, self._answered.samples
        then = likeliest(self._answered.prior, scores, samples)
        return then != likeliest(self.expected, scores, samples)

    def ask_again(self) -> Wanted:
        """The doubtful final once more, with what is expected now."""
        assert self._answered is not None, "nothing was answered"
        self.final = None
        return self._final(self._answered.start, self._answered.end, speculative=not self.closed)

    @property
    def answered_samples(self) -> int:
        """How much audio its final covers, if that is there."""
        return self._answered.samples if self.final is not None and self._answered else 0

    @property
    def expected_behind(self) -> Prior:
        """What language is expected behind it. Noise without words tells nothing."""
        if self.final is None or self._answered is None or not self.final.pieces:
            return self.expected
        return after(self.expected, self.final.language_scores, self._answered.samples)

    @property
    def answered_from(self) -> int:
        """Where the audio begins that its final covers, once that is there."""
        assert self._answered is not None, "nothing was answered"
        return self._answered.start

    @property
    def spoken(self) -> list[Span]:
        """Where it heard speech, in order."""
        limit = self._position if self._end is None else self._end
        return [(start, min(end, limit)) for start, end in self._spoken if start < limit]

    def take_over(self, before: Window) -> None:
        """Words the window before has promised already may be of audio that became this one's."""
        if self.has_speech:
            shift = before._heard_from - self._heard_from
            pieces = before.words.confirmed_behind(self.start - before._heard_from)
            self.words = Words(moved(pieces, shift), before.words.language)

    def _note_speech(self, end: int) -> None:
        start = max(self.start, end - WINDOW_SAMPLES)
        if self._spoken and self._spoken[-1][1] >= start:
            start = self._spoken.pop()[0]
        self._spoken.append((start, end))

    def _own(self, heard: Hypothesis) -> Hypothesis:
        """Without what belongs to the next window."""
        if self._end is None:
            return heard
        count = heard_before(heard.pieces, self._end - self._heard_from + CUT_MARGIN_SAMPLES)
        return replace(heard, pieces=heard.pieces[:count])

    def _counts(self, wanted: Wanted) -> bool:
        return wanted.purpose is Purpose.FINAL and wanted.end == self._final_end

    @property
    def _heard_from(self) -> int:
        first = self._speech_start if self._speech_start is not None else self.start
        return max(self.start, first - self._settings.lead_samples)

    def _want_final(self, speculative: bool, limit: int | None = None) -> Wanted | None:
        if not self.has_speech or self._final_end is not None:
            return None
        end = self._speech_end + self._settings.tail_samples
        self._final_end = end if limit is None else min(end, limit)
        return self._final(self._heard_from, self._final_end, speculative)

    def _final(self, start: int, end: int, speculative: bool) -> Wanted:
        return Wanted(
            self,
            Purpose.FINAL,
            start,
            end,
            speculative,
            due_samples=self._until_turn_ends if speculative else 0,
            language=self._language,
            prior=self.expected,
        )

    @property
    def _patient_samples(self) -> int:
        """Silence after which a final is asked for; the first words of all are not put off."""
        settings = self._settings
        return settings.speculation_samples if self.words.hypothesis else settings.tail_samples

    @property
    def _until_turn_ends(self) -> int:
        return max(0, self._settings.silence_samples - self.silent_samples)

    def _want_partial(self) -> Wanted | None:
        resting = not self.has_speech or self.silent_samples > 0
        if resting or self._position < self._next_partial or not self._settings.partials:
            return None
        self._next_partial = self._position + self._settings.patience_samples
        words = self.words
        step = self._settings.steady_samples if words.hypothesis else self._settings.eager_samples
        language = self._language or (words.language if words.confirmed else None)
        audio_samples = self._position - self._heard_from
        part = excerpt(words.confirmed, audio_samples, language or "en")
        return Wanted(
            self,
            Purpose.PARTIAL,
            self._heard_from + part.start,
            self._position,
            due_samples=step,
            language=language,
            prior=self.expected if language else leaning(self.expected, words.language),
            prefix=part.of(words.confirmed),
            hint=part.of(words.hypothesis),
            excerpt=part,
        )
