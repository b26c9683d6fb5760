"""Endpointing: from one speech probability for each detector window to where turns start and end.

All positions and lengths are counted in samples at 16 kHz from the start of the session.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES

_SAMPLES_PER_MS = SAMPLE_RATE // 1000

# How `EndpointerSettings.from_wire` derives its values
_MIN_THRESHOLD, _MAX_THRESHOLD = 0.05, 0.95
_HYSTERESIS = 0.15
_MIN_RELEASE = 0.02

_MIN_SPEECH_WINDOWS = 3
"""So many windows of speech start a turn. Clicks are shorter than this."""
_SUSTAINED_SHARE = 0.75
_MIN_SUSTAINED_SAMPLES = 6 * WINDOW_SAMPLES
"""Speech above this share of the threshold starts a turn when it lasts this long without a gap:
reverberation keeps the probability of clear speech below the threshold."""
_MAX_GAP_WINDOWS = 1
"""This many windows below the threshold may lie among those that start a turn."""
_RESUME_RISE = 2.0
"""Speech seems to resume when its probability is this many times the lowest one of the pause."""
_RESUME_GRACE_SAMPLES = 3 * WINDOW_SAMPLES
"""A turn stays open this much longer while speech seems to resume."""


@dataclass(frozen=True, slots=True)
class EndpointerSettings:
    """When a turn starts and when it ends."""

    threshold: float
    """A window of at least this speech probability counts towards the start of a turn."""
    release: float
    """A window of at least this speech probability keeps an open turn going. It is not above
    `threshold`."""
    silence_samples: int
    """This much uninterrupted silence ends a turn."""
    padding_samples: int
    """A turn begins this long before its first speech, as far as there is audio for it."""

    @classmethod
    def from_wire(
        cls, threshold: float, silence_duration_ms: int, prefix_padding_ms: int
    ) -> EndpointerSettings:
        """Derive the settings from the fields of `turn_detection`.

        threshold: -1…1; a higher one is less sensitive. The other two are in milliseconds.
        """
        start = min(max((threshold + 1) / 2, _MIN_THRESHOLD), _MAX_THRESHOLD)
        return cls(
            threshold=start,
            release=max(start - _HYSTERESIS, _MIN_RELEASE),
            silence_samples=silence_duration_ms * _SAMPLES_PER_MS,
            padding_samples=prefix_padding_ms * _SAMPLES_PER_MS,
        )


@dataclass(frozen=True, slots=True)
class TurnStart:
    """A turn has begun."""

    at_samples: int
    """The turn's first sample, padding included. It is never before 0 or before the end of the
    previous turn."""
    onset_samples: int
    """The start of the turn's first window of speech."""


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """A turn has ended."""

    at_samples: int
    """The turn's end; the silence that closed it is part of the turn."""
    speech_end_samples: int
    """The end of the turn's last window of speech."""


class Endpointer:
    """Finds where the turns of one session start and end."""

    def __init__(self, settings: EndpointerSettings) -> None:
        self._settings = settings
        # While no turn is open: where the latest windows above the threshold begin
        self._onsets: deque[int] = deque(maxlen=_MIN_SPEECH_WINDOWS)
        # While no turn is open: the length of the current run above the sustained threshold
        self._sustained_samples = 0
        self.in_speech = False
        """Whether a turn is open."""
        self.position_samples = 0
        """The end of the last window that was fed."""
        self.last_speech_end_samples = 0
        """The end of the last window of speech of the open turn, or of the previous one if none is
        open; 0 before the first turn."""
        self._turn_end = 0
        # The lowest probability since the last window of speech
        self._lowest_probability = 1.0

    @property
    def silence_samples(self) -> int:
        """The length of the silence at the end of the open turn; 0 if none is open."""
        return self.position_samples - self.last_speech_end_samples if self.in_speech else 0

    def feed(self, probability: float) -> TurnStart | TurnEnd | None:
        """Take the speech probability of the next WINDOW_SAMPLES and return the start or end of a
        turn that it brings, if any."""
        self.position_samples += WINDOW_SAMPLES
        return (self._feed_in_turn if self.in_speech else self._feed_between_turns)(probability)

    def finish(self, end_samples: int) -> list[TurnStart | TurnEnd]:
        """End the audio at `end_samples` and close the open turn.

        A word that was just beginning is a turn too, if at most one window of speech is missing.
        """
        onset = self._onset(_MIN_SPEECH_WINDOWS - 1)
        begun = [] if onset is None else [self._start(onset)]
        return [*begun, *self.close(end_samples)]

    def close(self, end_samples: int) -> list[TurnEnd]:
        """Close the open turn, if there is one, at `end_samples`. Speech before this call does not
        count towards the next turn."""
        self._forget_speech()
        return [self._end(end_samples)] if self.in_speech else []

    def _feed_between_turns(self, probability: float) -> TurnStart | None:
        if probability >= self._settings.threshold:
            self._onsets.append(self.position_samples - WINDOW_SAMPLES)
        goes_on = probability >= self._settings.threshold * _SUSTAINED_SHARE
        self._sustained_samples = self._sustained_samples + WINDOW_SAMPLES if goes_on else 0
        onset = self._onset(_MIN_SPEECH_WINDOWS)
        if onset is None and self._sustained_samples >= _MIN_SUSTAINED_SAMPLES:
            onset = self.position_samples - self._sustained_samples
        return None if onset is None else self._start(onset)

    def _onset(self, windows: int) -> int | None:
        """Where the last `windows` windows of speech begin, if they lie close together."""
        if len(self._onsets) < windows:
            return None
        onset = self._onsets[-windows]
        longest_span = (windows + _MAX_GAP_WINDOWS) * WINDOW_SAMPLES
        return onset if self.position_samples - onset <= longest_span else None

    def _start(self, onset: int) -> TurnStart:
        self._forget_speech()
        self.in_speech = True
        self.last_speech_end_samples = self.position_samples
        return TurnStart(max(onset - self._settings.padding_samples, self._turn_end, 0), onset)

    def _forget_speech(self) -> None:
        self._onsets.clear()
        self._sustained_samples = 0

    def _feed_in_turn(self, probability: float) -> TurnEnd | None:
        if probability >= self._settings.release:
            self.last_speech_end_samples = self.position_samples
            self._lowest_probability = 1.0
        self._lowest_probability = min(self._lowest_probability, probability)
        # The probability reaches `release` a few windows after speech resumed, but rises before
        may_resume = probability > _RESUME_RISE * self._lowest_probability
        grace = _RESUME_GRACE_SAMPLES if may_resume else 0
        if self.silence_samples < max(self._settings.silence_samples + grace, 1):
            return None
        return self._end(self.position_samples)

    def _end(self, at_samples: int) -> TurnEnd:
        self.in_speech = False
        self._turn_end = at_samples
        return TurnEnd(at_samples, min(self.last_speech_end_samples, at_samples))
