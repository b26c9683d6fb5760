"""Where speech begins and ends: speech probabilities in, edges out, all counted in samples."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES

_SAMPLES_PER_MS = SAMPLE_RATE // 1000
_MIN_START, _MAX_START = 0.05, 0.95
_HYSTERESIS = 0.15
_MIN_RELEASE = 0.02
_MIN_SPEECH_SAMPLES = 3 * WINDOW_SAMPLES
_LAPSE_WINDOWS = 1
_DOUBTFUL_SHARE = 0.75
_MIN_DOUBTFUL_SAMPLES = 2 * _MIN_SPEECH_SAMPLES
_RISE = 2.0
_PATIENCE_SAMPLES = 3 * WINDOW_SAMPLES


@dataclass(frozen=True, slots=True)
class EdgeSettings:
    """When a turn starts and when it ends."""

    threshold: float
    """Speech probability of a window that counts towards a start."""
    release: float
    """Speech probability that keeps an open turn going; not above `threshold`."""
    silence_samples: int
    """This much silence in one piece ends a turn."""
    prefix_samples: int
    """A turn begins this long before its first speech, where there is room."""
    min_speech_samples: int
    """This much speech starts a turn, one window's lapse allowed. Clicks are shorter."""
    doubtful: float
    """Speech probability that starts a turn too if it lasts; not above `threshold`."""
    min_doubtful_samples: int
    """So long, without a lapse: reverberation makes plain speech doubtful."""

    @classmethod
    def from_wire(
        cls, threshold: float, silence_duration_ms: int, prefix_padding_ms: int
    ) -> EdgeSettings:
        """From `turn_detection`: threshold in -1…1 (higher is less sensitive), times in ms."""
        start = min(max((threshold + 1) / 2, _MIN_START), _MAX_START)
        return cls(
            threshold=start,
            release=max(start - _HYSTERESIS, _MIN_RELEASE),
            silence_samples=silence_duration_ms * _SAMPLES_PER_MS,
            prefix_samples=prefix_padding_ms * _SAMPLES_PER_MS,
            min_speech_samples=_MIN_SPEECH_SAMPLES,
            doubtful=start * _DOUBTFUL_SHARE,
            min_doubtful_samples=_MIN_DOUBTFUL_SAMPLES,
        )


@dataclass(frozen=True, slots=True)
class Started:
    """A turn has begun."""

    at_samples: int
    """Its first sample, prefix included; never before 0 or the end of the turn before."""
    onset_samples: int
    """Start of its first window of speech."""


@dataclass(frozen=True, slots=True)
class Stopped:
    """A turn has ended."""

    at_samples: int
    """Its end, with the silence that closed it."""
    speech_end_samples: int
    """End of its last window of speech."""


class EdgeDetector:
    """Finds the edges of speech in the windows of one session."""

    def __init__(self, settings: EdgeSettings) -> None:
        self._settings = settings
        self._windows_to_start = max(1, -(-settings.min_speech_samples // WINDOW_SAMPLES))
        # onsets of the windows lately heard as speech while no turn is open
        self._evidence: deque[int] = deque(maxlen=self._windows_to_start)
        self._doubtful_samples = 0
        self._in_speech = False
        self._position = 0
        self._last_speech_end = 0
        self._turn_end = 0
        # least likely speech since the last speech
        self._lowest = 1.0

    @property
    def in_speech(self) -> bool:
        """Is a turn open?"""
        return self._in_speech

    @property
    def position_samples(self) -> int:
        """End of the last window heard."""
        return self._position

    @property
    def last_speech_end_samples(self) -> int:
        """End of the last window of speech of the open turn, else of the last one; 0 at first."""
        return self._last_speech_end

    @property
    def silence_samples(self) -> int:
        """Length of the silence at the end of the open turn; 0 if none is open."""
        return self._position - self._last_speech_end if self._in_speech else 0

    def feed(self, probability: float) -> Started | Stopped | None:
        """The next WINDOW_SAMPLES are speech with this probability: the edge there, if any."""
        return self._keep_on(probability) if self._in_speech else self._listen(probability)

    def finish(self, end_samples: int) -> list[Started | Stopped]:
        """The audio ends at `end_samples`: close the open turn. A word that was just beginning is
        a turn too, if no more than one window of speech was missing."""
        edges: list[Started | Stopped] = []
        onset = self._onset(max(1, self._windows_to_start - 1))
        if onset is not None:
            edges.append(self._start(onset))
        return [*edges, *self.close(end_samples)]

    def close(self, end_samples: int) -> list[Stopped]:
        """Close the open turn, if there is one, at `end_samples`, and forget what was heard."""
        self._forget_evidence()
        return [self._stop(end_samples)] if self._in_speech else []

    def _listen(self, probability: float) -> Started | None:
        begin = self._position
        self._position += WINDOW_SAMPLES
        if probability >= self._settings.threshold:
            self._evidence.append(begin)
        lasts = probability >= self._settings.doubtful
        self._doubtful_samples = self._doubtful_samples + WINDOW_SAMPLES if lasts else 0
        onset = self._onset(self._windows_to_start)
        if onset is None and self._doubtful_samples >= self._settings.min_doubtful_samples:
            onset = self._position - self._doubtful_samples
        return None if onset is None else self._start(onset)

    def _onset(self, windows: int) -> int | None:
        """Where the last so many windows of speech began, if they are close together."""
        if len(self._evidence) < windows:
            return None
        onset = self._evidence[-windows]
        longest_span = (windows + _LAPSE_WINDOWS) * WINDOW_SAMPLES
        return onset if self._position - onset <= longest_span else None

    def _start(self, onset: int) -> Started:
        self._forget_evidence()
        self._in_speech = True
        self._last_speech_end = self._position
        return Started(max(onset - self._settings.prefix_samples, self._turn_end, 0), onset)

    def _forget_evidence(self) -> None:
        self._evidence.clear()
        self._doubtful_samples = 0

    def _keep_on(self, probability: float) -> Stopped | None:
        self._position += WINDOW_SAMPLES
        if probability >= self._settings.release:
            self._last_speech_end = self._position
            self._lowest = 1.0
        self._lowest = min(self._lowest, probability)
        patience = _PATIENCE_SAMPLES if self._seems_to_resume(probability) else 0
        if self.silence_samples < max(self._settings.silence_samples + patience, 1):
            return None
        return self._stop(self._position)

    def _seems_to_resume(self, probability: float) -> bool:
        """Detectors believe in speech a few windows after it has begun: the pause may be over."""
        return probability > _RISE * self._lowest

    def _stop(self, at_samples: int) -> Stopped:
        self._in_speech = False
        self._turn_end = at_samples
        return Stopped(at_samples, min(self._last_speech_end, at_samples))
