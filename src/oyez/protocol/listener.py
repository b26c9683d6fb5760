"""From the first audio on: bytes → samples → windows to score. What follows from the scores
depends on the turn mode: `vad_mode` and `manual_mode`.

Exists once audio has begun; the configuration does not change any more then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.protocol.effects import Effect, Send
from oyez.protocol.items import Items, OpenItem
from oyez.protocol.server_events import ServerEvent
from oyez.protocol.session_config import SessionConfig
from oyez.recognisers.base import SAMPLE_RATE, Request, Samples
from oyez.stages.audio import AudioError, make_decoder
from oyez.stages.buffer import SampleBuffer
from oyez.stages.turn import Turn
from oyez.stages.window import Wanted, WindowSettings
from oyez.vad.base import WINDOW_SAMPLES

SAMPLES_PER_MS = SAMPLE_RATE // 1000
SLICE_BYTES = {"pcm": 65_536, "opus": 8_192}
"""Most bytes to decode at once: a large append must not hold anybody up, nor become more samples
than memory likes."""


class Listener(ABC):
    """What a session hears, and the item that is open."""

    def __init__(self, config: SessionConfig, items: Items, settings: WindowSettings) -> None:
        self._config = config
        self._items = items
        self._settings = settings
        self._decoder = make_decoder(config.codec_name, config.sample_rate)
        self._slice_bytes = SLICE_BYTES[config.codec_name]
        self._encoded: deque[tuple[bytes, str | None]] = deque()
        self._ended = False
        self._errors: list[tuple[AudioError, str | None]] = []
        self._buffer = SampleBuffer()
        self._handed_out = 0
        self._scored_to = 0
        self._open: OpenItem | None = None

    def hear(self, data: bytes, event_id: str | None) -> None:
        """Encoded audio, sent by the client event of that id."""
        for start in range(0, len(data), self._slice_bytes):
            self._encoded.append((data[start : start + self._slice_bytes], event_id))

    def end_of_audio(self) -> None:
        """What the decoder still holds belongs to the audio."""
        self._ended = True

    def stop_hearing(self) -> None:
        """What has not been decoded yet is not heard any more."""
        self._encoded.clear()

    @property
    def encoded_bytes(self) -> int:
        """Audio that waits to be decoded."""
        return sum(len(data) for data, _ in self._encoded)

    @property
    def busy(self) -> bool:
        """Whether audio waits to be decoded or scored."""
        return bool(
            self._encoded or self._ended or self._buffer.end - self._scored_to >= WINDOW_SAMPLES
        )

    def next_windows(self, max_windows: int) -> Samples | None:
        """Audio to score next, float32 [n * 512]; None: nothing waits. There is no window in it
        when what was decoded has not filled one."""
        decoded = False
        while not (self._whole_windows or self._errors) and (self._encoded or self._ended):
            self._decode_some()
            decoded = True
        count = min(self._whole_windows, max_windows)
        if not count and not decoded:
            return None
        start = self._handed_out
        self._handed_out = start + count * WINDOW_SAMPLES
        return self._buffer.slice(start, self._handed_out)

    def take_errors(self) -> list[tuple[AudioError, str | None]]:
        """Audio that could not be decoded, with the id of the event that brought it."""
        errors, self._errors = self._errors, []
        return errors

    def scored(self, probabilities: NDArray[np.float32]) -> list[Effect]:
        """The answer for the windows handed out last, float32 [n]."""
        effects: list[Effect] = []
        for probability in probabilities.tolist():
            self._scored_to += WINDOW_SAMPLES
            effects += self._window(probability, self._scored_to)
        self._buffer.drop_before(self.settled_samples)
        return effects

    @property
    def heard_samples(self) -> int:
        """Audio that was decoded, whether it fills windows or not."""
        return self._buffer.end

    @property
    def settled_samples(self) -> int:
        """Audio before this sample is not needed any more."""
        needed_from = min(self._needed_from(), self._items.needed_from(self._scored_to))
        return min(needed_from, self._scored_to)

    @property
    def _whole_windows(self) -> int:
        return (self._buffer.end - self._handed_out) // WINDOW_SAMPLES

    def _decode_some(self) -> None:
        if not self._encoded:
            self._ended = False
            self._buffer.append(self._decoder.flush())
            return
        data, event_id = self._encoded.popleft()
        try:
            self._buffer.append(self._decoder.feed(data))
        except AudioError as error:
            self._errors.append((error, event_id))

    @abstractmethod
    def commit(self) -> list[Effect] | None:
        """The client ends the turn. None: there is no audio to commit."""

    @abstractmethod
    def clear(self) -> list[Effect]:
        """Forget audio that was not committed."""

    @abstractmethod
    def finish(self) -> list[Effect]:
        """No more audio will come: commit what is open."""

    @abstractmethod
    def _window(self, probability: float, end: int) -> list[Effect]:
        """The window that ends at sample `end` is speech with this probability."""

    @abstractmethod
    def _needed_from(self) -> int:
        """The first sample that may still be asked for."""

    def _begin(self, start: int) -> OpenItem:
        turn = Turn(start, self._settings, self._config.language)
        self._open = self._items.begin(turn, self._request)
        return self._open

    def _feed(self, item: OpenItem, probability: float, end: int) -> list[Effect]:
        return self._items.request(item, item.turn.feed(probability, end))

    def _end(self, item: OpenItem, end: int) -> list[Effect]:
        """The item's turn ends: ask for its last final, commit it."""
        self._open = None
        effects = self._items.request(item, item.turn.close(end))
        return effects + self._items.commit(item)

    def _drop(self, item: OpenItem) -> list[Effect]:
        """Nothing of the item's audio is wanted any more."""
        effects = self._items.forget(item)
        self._items.restart(item, Turn(item.turn.start, self._settings, self._config.language))
        return effects

    def _request(self, wanted: Wanted) -> Request:
        return Request(
            samples=self._buffer.slice(wanted.start, wanted.end),
            purpose=wanted.purpose,
            language=wanted.language,
            language_prior=wanted.prior,
            context=self._config.corpus_text,
            prefix=wanted.prefix,
            hint=wanted.hint,
        )

    def _send(self, event: type[ServerEvent], **fields: Any) -> Send:
        return self._items.send(event, **fields)
