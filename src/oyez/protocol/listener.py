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

from oyez.audio.buffer import SampleBuffer
from oyez.audio.decoder import make_decoder
from oyez.audio.pcm import SAMPLE_RATE, Samples
from oyez.engines.base import WINDOW_SAMPLES, Request
from oyez.protocol.effects import Effect, Send
from oyez.protocol.items import Items, OpenItem
from oyez.protocol.server_events import ServerEvent
from oyez.protocol.session_config import SessionConfig
from oyez.turns.segment import RecognitionNeed, SegmentSettings
from oyez.turns.turn import Turn

SAMPLES_PER_MS = SAMPLE_RATE // 1000


class _Requests:
    """From what a turn wants to a request. Items keep it, so it does not know the listener."""

    def __init__(self, buffer: SampleBuffer, config: SessionConfig) -> None:
        self._buffer = buffer
        self._config = config

    def make(self, wanted: RecognitionNeed) -> Request:
        return Request(
            samples=self._buffer.slice(wanted.start, wanted.end),
            purpose=wanted.purpose,
            language=wanted.language,
            language_prior=wanted.language_prior,
            context=self._config.corpus_text,
            prefix=wanted.prefix,
            hint=wanted.hint,
        )


class Listener(ABC):
    """What a session hears, and the item that is open."""

    def __init__(self, config: SessionConfig, items: Items, settings: SegmentSettings) -> None:
        self._config = config
        self._items = items
        self._settings = settings
        self._decoder = make_decoder(config.codec_name, config.sample_rate)
        self._encoded: deque[tuple[bytes, str | None]] = deque()
        self._encoded_bytes = 0
        self._decoding_bytes = 0
        """Of the append that is being decoded: it is kept whole until all of it is."""
        self._event_id: str | None = None
        """Of the event whose audio is being decoded."""
        self._blamed = False
        """An error was sent for that event."""
        self._ended = False
        self._errors: list[tuple[str, str | None]] = []
        self._buffer = SampleBuffer()
        self._requests = _Requests(self._buffer, config)
        self._handed_out = 0
        self._scored_to = 0
        self._open: OpenItem | None = None

    def hear(self, data: bytes, event_id: str | None) -> None:
        """Encoded audio, sent by the client event of that id."""
        self._encoded.append((data, event_id))
        self._encoded_bytes += len(data)

    def end_of_audio(self) -> None:
        """What the decoder still holds belongs to the audio."""
        self._ended = True

    def stop_hearing(self) -> None:
        """What has not been decoded yet is not heard any more."""
        self._encoded.clear()
        self._encoded_bytes = self._decoding_bytes = 0
        self._decoder.drop()

    @property
    def encoded_bytes(self) -> int:
        """Audio in memory that waits to be decoded, as it came."""
        return self._encoded_bytes + self._decoding_bytes

    @property
    def audio_bytes(self) -> int:
        """Memory of decoded audio that is still needed."""
        return self._buffer.held_bytes

    @property
    def busy(self) -> bool:
        """Whether audio waits to be decoded or scored."""
        return bool(
            self._encoded
            or self._decoding_bytes
            or self._ended
            or self._buffer.end - self._scored_to >= WINDOW_SAMPLES
        )

    def next_windows(self, max_windows: int) -> Samples | None:
        """Audio to score next, float32 [n * 512]; None: nothing waits. There is no window in it
        when what was decoded has not filled one. A call decodes little, and costs little."""
        decoded = False
        if (self._encoded or self._decoding_bytes or self._ended) and not self._whole_windows:
            self._decode_some()
            decoded = True
        count = min(self._whole_windows, max_windows)
        if not count and not decoded:
            return None
        start = self._handed_out
        self._handed_out = start + count * WINDOW_SAMPLES
        return self._buffer.slice(start, self._handed_out)

    def take_errors(self) -> list[tuple[str, str | None]]:
        """What is wrong with audio that could not be decoded, at most once for each event, with
        the id of the event that brought it."""
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
        if not self._decoding_bytes:
            if not self._encoded:
                self._ended = False
                self._buffer.append(self._decoder.flush())
                return
            data, self._event_id = self._encoded.popleft()
            self._encoded_bytes -= len(data)
            self._blamed = False
            self._decoder.feed(data)
        samples, error = self._decoder.decode()
        self._decoding_bytes = self._decoder.waiting_bytes
        self._buffer.append(samples)
        if error and not self._blamed:
            self._blamed = True
            self._errors.append((str(error), self._event_id))

    @abstractmethod
    def commit(self) -> list[Effect] | None:
        """The client ends the turn. None: there is no audio to commit."""

    @abstractmethod
    def clear(self) -> list[Effect]:
        """Forget audio that was not committed."""

    @property
    def stalled_after_ms(self) -> int:
        """An open turn ends when no audio has come for so long; 0: it waits."""
        return 0

    def end_stalled(self) -> list[Effect]:
        """No audio has come for too long: end an open turn where the audio ends."""
        return []

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
        self._open = self._items.begin(turn, self._requests.make)
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

    def _send(self, event: type[ServerEvent], **fields: Any) -> Send:
        return self._items.send(event, **fields)
