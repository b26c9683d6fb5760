"""A segment: a stretch of a turn, short enough for one request to an engine.

A segment requests partials while speech goes on, and its final once silence lasts, early enough
that the answer is there when the turn ends. Which audio a final covers follows from the audio
alone, never from when answers come: the same audio gives the same finals. For the same reason a
final carries no hint, because engines that round may then decide a near-tie the other way.

The latest request of a segment is always answered. An older one, unless it is a final that is not
speculative, may never be: a newer one may have replaced it while it waited.

Positions are samples of the session at 16 kHz.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES, Hypothesis, Piece, Purpose
from oyez.engines.language_prior import FLAT, Prior, likeliest, prior_after, prior_favouring
from oyez.turns.stabilizer import (
    CUT_MARGIN_SAMPLES,
    WHOLE_AUDIO,
    AudioTail,
    Stabilizer,
    audio_tail,
    count_before,
    shifted,
)
from oyez.turns.word_times import Span

FIRST_PARTIAL_SAMPLES = SAMPLE_RATE * 35 // 100
"""The first partial is requested after this much speech."""
INTERVAL_BEFORE_WORDS_SAMPLES = SAMPLE_RATE * 25 // 100
"""The interval between partials as long as none had words."""
INTERVAL_SAMPLES = SAMPLE_RATE // 2
"""The interval between partials afterwards."""
REPLACE_AFTER_SAMPLES = SAMPLE_RATE
"""A partial that is not answered is replaced by a newer one after this interval."""
MIN_SILENCE_FOR_FINAL_SAMPLES = 10 * WINDOW_SAMPLES
"""Shorter silence is often a hesitation: the final is not requested before, unless the turn ends
too soon for that."""


@dataclass(frozen=True, slots=True)
class SegmentSettings:
    """When a segment requests partials and finals, and of which audio."""

    release: float
    """Detector windows of at least this speech probability are speech."""
    lead_samples: int = SAMPLE_RATE * 3 // 10
    """This much audio before the first speech is recognised with it."""
    tail_samples: int = 6 * WINDOW_SAMPLES
    """This much silence after the last speech is recognised with it."""
    silence_samples: int = SAMPLE_RATE * 8 // 10
    """The turn is expected to end after this much silence: the final is needed then."""
    partials: bool = True
    """Whether partials are requested."""
    speculation: bool = True
    """Whether a final is requested before its audio is known to be complete."""


@dataclass(frozen=True, slots=True)
class RecognitionNeed:
    """A request for recognition of the audio from sample `start` to `end`, without the audio."""

    segment: Segment
    purpose: Purpose
    start: int
    end: int
    speculative: bool = False
    """Speech may resume; then this final is discarded."""
    due_samples: int = 0
    """The answer is needed when this much more audio has come."""
    language: str | None = None
    language_prior: Prior = field(default_factory=dict)
    """Used where `language` is None."""
    prefix: tuple[Piece, ...] = ()
    """The confirmed pieces in this audio: see `Request.prefix`."""
    hint: tuple[Piece, ...] = ()
    """The latest hypothesis of this audio: see `Request.hint`."""
    tail: AudioTail = WHOLE_AUDIO
    """Which part of the segment's audio this is."""

    @property
    def length_samples(self) -> int:
        """How much audio is to be recognised."""
        return self.end - self.start


class State(Enum):
    """How far the final of a segment is."""

    SILENT = auto()
    """There is no speech: no final is needed."""
    SPEECH = auto()
    """There is speech, and no final has been requested since the last of it."""
    AWAITING = auto()
    """A final of all speech so far has been requested and is not answered yet."""
    ANSWERED = auto()
    """The final of all speech so far is there."""
    FAILED = auto()
    """The final of all speech so far could not be recognised."""


TRANSITIONS = {
    State.SILENT: {State.SPEECH},
    State.SPEECH: {State.SPEECH, State.AWAITING, State.SILENT},
    # Back to SPEECH when speech resumes: a final without it is only one more hypothesis. Back to
    # SPEECH or SILENT also when the segment is closed so early that the final covers too much.
    State.AWAITING: {State.ANSWERED, State.FAILED, State.SPEECH, State.SILENT},
    # AWAITING when the final is requested again because its language changed; ANSWERED and FAILED
    # when the same audio was requested twice and both requests are answered
    State.ANSWERED: {State.AWAITING, State.ANSWERED, State.FAILED, State.SPEECH, State.SILENT},
    # A failed speculative final is requested anew when speech resumes or the segment is closed
    State.FAILED: {State.SPEECH, State.SILENT},
}
"""Which states may follow which."""


class Segment:
    """A stretch of a turn from sample `start` on.

    Feed each detector window and then ask for `next_request`; close the segment where it ends. It
    has settled once it is closed and its final will not change any more.
    """

    def __init__(
        self,
        start: int,
        settings: SegmentSettings,
        language: str | None,
        language_prior: Prior = FLAT,
    ) -> None:
        """language: the requested one; None: it is detected with `language_prior`."""
        self.start = start
        self.stabilizer = Stabilizer()
        """The segment's text so far."""
        self.language_prior = language_prior
        """The languages to expect, given the finals before the segment."""
        self.final: Hypothesis | None = None
        """The final of all speech so far, if it is there."""
        self.failure: Exception | None = None
        """Why the final of all speech so far could not be recognised, if so."""
        self._settings, self._language = settings, language
        self._state = State.SILENT
        self._position = start
        # Where its audio ends; None while the segment is open
        self._end: int | None = None
        # Where its first speech begins and its latest ends; `start` while there is none
        self._speech_start = self._speech_end = start
        self._speech_spans: list[Span] = []
        # Where the audio of the requested final ends, and the prior it was decoded with; they mean
        # nothing before one is requested or answered
        self._final_end = start
        self._final_prior = FLAT
        # No partial is requested before this position
        self._next_partial = 0
        # Where the audio of the latest hypothesis in `stabilizer` ends
        self._hypothesis_end = 0

    @property
    def closed(self) -> bool:
        """Whether the segment gets no more audio."""
        return self._end is not None

    @property
    def has_speech(self) -> bool:
        """Whether there is speech in the segment."""
        return self._state is not State.SILENT

    @property
    def silent_samples(self) -> int:
        """The length of the silence since the last speech."""
        return self._position - self._speech_end

    @property
    def settled(self) -> bool:
        """Whether the segment is closed and its final will not change any more."""
        if not self.closed or self._state in (State.SPEECH, State.AWAITING):
            return False
        return not self.language_changed

    @property
    def language_changed(self) -> bool:
        """Whether the final is there, but would be decoded in another language with the current
        `language_prior`: it was requested before all finals in front of it were there."""
        if not (self.final and (scores := self.final.language_scores)):
            return False
        priors = (self._final_prior, self.language_prior)
        then, now = (likeliest(prior, scores, self._final_samples) for prior in priors)
        return then != now

    @property
    def language_prior_after(self) -> Prior:
        """The languages to expect after this segment. A final without words, which is noise,
        changes nothing."""
        if not (self.final and self.final.pieces):
            return self.language_prior
        return prior_after(self.language_prior, self.final.language_scores, self._final_samples)

    @property
    def answered_samples(self) -> int:
        """How much audio the final covers, if it is there."""
        return self._final_samples if self.final else 0

    @property
    def audio_start(self) -> int:
        """Where the audio to recognise begins: shortly before the first speech."""
        return max(self.start, self._speech_start - self._settings.lead_samples)

    @property
    def speech_spans(self) -> list[Span]:
        """Where the segment has speech, in order."""
        limit = self._position if self._end is None else self._end
        return [(start, min(end, limit)) for start, end in self._speech_spans if start < limit]

    def feed(self, probability: float, end: int) -> None:
        """Take the speech probability of the detector window that ends at sample `end`."""
        self._position = end
        if probability < self._settings.release:
            return
        begin = max(self.start, end - WINDOW_SAMPLES)
        if self._state is State.SILENT:
            self._speech_start = begin
            self._next_partial = begin + FIRST_PARTIAL_SAMPLES
        elif self._state is not State.SPEECH:
            # Speech resumed after a pause: show its first words soon
            self._next_partial = end + INTERVAL_BEFORE_WORDS_SAMPLES
        self._enter(State.SPEECH)
        self._speech_end = end
        if self._speech_spans and self._speech_spans[-1][1] >= begin:
            begin = self._speech_spans.pop()[0]
        self._speech_spans.append((begin, end))

    def next_request(self) -> RecognitionNeed | None:
        """Return what should be recognised now, if anything. Call it once after each `feed`."""
        if self._state is not State.SPEECH:
            return None
        if self._position == self._speech_end:  # speech goes on
            return self._request_partial()
        if self._settings.speculation and self.silent_samples >= self._silence_before_final:
            return self._request_final()
        return None

    def close(self, end: int) -> RecognitionNeed | None:
        """End the segment's audio at sample `end`, which may lie before what was fed last. Return
        the request for its final, if it has not been requested yet."""
        self._end = end
        self._speech_end = min(self._speech_end, end)
        if self._state is State.SILENT:
            return None
        if self._speech_start >= end:
            self._speech_start = self.start
            self._enter(State.SILENT)
            return None
        if self._state is State.FAILED or self._final_end > end:
            # A failed final gets a second chance; one of audio behind the end is discarded
            self._enter(State.SPEECH)
        return self._request_final() if self._state is State.SPEECH else None

    def is_awaited(self, need: RecognitionNeed) -> bool:
        """Return whether this is the request for the final of all speech so far, unanswered."""
        return self._state is State.AWAITING and self._counts(need)

    def on_result(self, need: RecognitionNeed, outcome: Hypothesis | Exception) -> bool:
        """Take the answer to a request. Return whether there is new text to show."""
        if need.purpose is Purpose.PARTIAL:
            # Answered: the next one need not wait as long as one that replaces it
            self._next_partial = min(self._next_partial, need.end + need.due_samples)
        counts = self._counts(need)
        if isinstance(outcome, Exception):
            if counts:
                self._enter(State.FAILED)
                self.failure = outcome
            return False  # a partial that failed, or a final without all speech, is not missed
        if counts:
            self._enter(State.ANSWERED)
            self.final, self._final_prior = outcome, need.language_prior
        elif self._state is State.ANSWERED or need.end < self._hypothesis_end:
            return False  # it comes too late: more audio has been recognised
        self._hypothesis_end = need.end
        hypothesis = self._without_next_segment(need.tail.completed(outcome))
        self.stabilizer.add_hypothesis(hypothesis, need.length_samples + need.tail.offset_samples)
        return self._settings.partials or self.closed

    def retry(self) -> RecognitionNeed:
        """Return a new request for the final, whose language has changed, with the current
        `language_prior`."""
        self._enter(State.AWAITING)
        until_turn_ends = max(0, self._settings.silence_samples - self.silent_samples)
        return RecognitionNeed(
            self,
            Purpose.FINAL,
            self.audio_start,
            self._final_end,
            speculative=not self.closed,
            due_samples=0 if self.closed else until_turn_ends,
            language=self._language,
            language_prior=self.language_prior,
        )

    def inherit(self, previous: Segment) -> None:
        """Carry over the words that the previous segment has confirmed of audio that became this
        one's when the turn was cut between them."""
        if self.has_speech:
            confirmed = previous.stabilizer.confirmed_after(self.start - previous.audio_start)
            carried_over = shifted(confirmed, previous.audio_start - self.audio_start)
            self.stabilizer = Stabilizer(carried_over, previous.stabilizer.language)

    def _enter(self, state: State) -> None:
        assert state in TRANSITIONS[self._state], f"{state} cannot follow {self._state}"
        self._state, self.final, self.failure = state, None, None

    def _counts(self, need: RecognitionNeed) -> bool:
        """Return whether this is a request for the final of all speech so far."""
        requested = self._state in (State.AWAITING, State.ANSWERED)
        return requested and need.purpose is Purpose.FINAL and need.end == self._final_end

    def _without_next_segment(self, hypothesis: Hypothesis) -> Hypothesis:
        """Leave out words behind the end of a segment that was closed in the meantime."""
        if self._end is None:
            return hypothesis
        count = count_before(hypothesis.pieces, self._end - self.audio_start + CUT_MARGIN_SAMPLES)
        return replace(hypothesis, pieces=hypothesis.pieces[:count])

    @property
    def _final_samples(self) -> int:
        return self._final_end - self.audio_start

    def _request_final(self) -> RecognitionNeed:
        end = self._speech_end + self._settings.tail_samples
        self._final_end = end if self._end is None else min(end, self._end)
        return self.retry()

    @property
    def _silence_before_final(self) -> int:
        """The silence after which a final is requested. A segment without any words so far does
        not wait for a hesitation to end: its final may show the first ones."""
        tail_samples, turn_end_samples = self._settings.tail_samples, self._settings.silence_samples
        if not self.stabilizer.hypothesis:
            return tail_samples
        return max(tail_samples, min(MIN_SILENCE_FOR_FINAL_SAMPLES, turn_end_samples // 2))

    def _request_partial(self) -> RecognitionNeed | None:
        if self._position < self._next_partial or not self._settings.partials:
            return None
        self._next_partial = self._position + REPLACE_AFTER_SAMPLES
        words = self.stabilizer
        # Confirmed words fix the language; before, the last one shown is only favoured
        language = self._language or (words.language if words.confirmed else None)
        prior = self.language_prior
        audio_samples = self._position - self.audio_start
        tail = audio_tail(words.confirmed, audio_samples, language or "en")
        return RecognitionNeed(
            self,
            Purpose.PARTIAL,
            self.audio_start + tail.offset_samples,
            self._position,
            due_samples=INTERVAL_SAMPLES if words.hypothesis else INTERVAL_BEFORE_WORDS_SAMPLES,
            language=language,
            language_prior=prior if language else prior_favouring(prior, words.language),
            prefix=tail.pieces_inside(words.confirmed),
            hint=tail.pieces_inside(words.hypothesis),
            tail=tail,
        )
