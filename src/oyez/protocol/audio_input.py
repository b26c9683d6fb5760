"""The audio of a session: bytes become samples, and samples become windows to score.

What follows from the scores depends on the turn mode, see `turn_modes`. The audio input exists from
the first audio on; the configuration does not change any more then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from oyez.audio.decoder import make_decoder
from oyez.audio.pcm import SAMPLE_RATE, SampleBuffer, Samples
from oyez.engines.base import WINDOW_SAMPLES, Request
from oyez.protocol.conversation import Conversation, OpenItem
from oyez.protocol.dialect import SessionConfig
from oyez.protocol.effects import Effect, Send
from oyez.protocol.errors import ClientError
from oyez.protocol.server_events import ErrorEvent, ServerEvent
from oyez.turns.segment import RecognitionNeed, SegmentSettings
from oyez.turns.turn import Turn

SAMPLES_PER_MS = SAMPLE_RATE // 1000


class _RequestBuilder:
    """Makes requests of what turns need. Items refer to it, so it must not refer to the input."""

    def __init__(self, buffer: SampleBuffer, config: SessionConfig) -> None:
        self._buffer = buffer
        self._config = config

    def build(self, wanted: RecognitionNeed) -> Request:
        return Request(
            samples=self._buffer.slice(wanted.start, wanted.end),
            purpose=wanted.purpose,
            language=wanted.language,
            language_prior=wanted.language_prior,
            context=self._config.context,
            prefix=wanted.prefix,
            hint=wanted.hint,
        )


class AudioInput(ABC):
    """The audio of a session, and the item that is open. Turn modes inherit from it."""

    def __init__(
        self, config: SessionConfig, conversation: Conversation, settings: SegmentSettings
    ) -> None:
        self._config = config
        self._conversation = conversation
        self._settings = settings
        self._decoder = make_decoder(config.codec_name, config.sample_rate)
        self._encoded: deque[tuple[bytes, str | None]] = deque()
        self._encoded_bytes = 0
        self._decoding_bytes = 0
        """The length of the append that is being decoded, which is kept whole until it is done."""
        self._event_id: str | None = None
        """Names the event whose audio is being decoded."""
        self._has_reported_error = False
        """Whether that event has its error: it gets one at most."""
        self._has_ended = False
        self._errors: list[ClientError] = []
        """Errors of decoding, which `scored` returns."""
        self._buffer = SampleBuffer()
        self._request_builder = _RequestBuilder(self._buffer, config)
        self._handed_out = 0
        self._scored_to = 0
        self._open: OpenItem | None = None

    def append(self, data: bytes, event_id: str | None) -> None:
        """Take encoded audio, which the client event of that id brought."""
        self._encoded.append((data, event_id))
        self._encoded_bytes += len(data)

    def end_audio(self) -> None:
        """Have the decoder hand over what it still holds, behind all audio so far."""
        self._has_ended = True

    def discard_pending(self) -> None:
        """Drop the audio that is not decoded yet."""
        self._encoded.clear()
        self._encoded_bytes = self._decoding_bytes = 0
        self._decoder.drop()

    @property
    def encoded_bytes(self) -> int:
        """The size of the encoded audio that waits to be decoded."""
        return self._encoded_bytes + self._decoding_bytes

    @property
    def audio_bytes(self) -> int:
        """The memory of decoded audio that is still needed."""
        return self._buffer.held_bytes

    @property
    def busy(self) -> bool:
        """Whether audio waits to be decoded or scored."""
        return bool(
            self._encoded
            or self._decoding_bytes
            or self._has_ended
            or self._buffer.end - self._scored_to >= WINDOW_SAMPLES
        )

    def next_windows(self, max_windows: int) -> Samples | None:
        """Return audio to score next, float32 [n * 512]; None: nothing waits. n is 0 while what
        was decoded has not filled a window. One call decodes little, so it costs little."""
        decoded = False
        if (self._encoded or self._decoding_bytes or self._has_ended) and not self._whole_windows:
            self._decode_some()
            decoded = True
        count = min(self._whole_windows, max_windows)
        if not count and not decoded:
            return None
        start = self._handed_out
        self._handed_out = start + count * WINDOW_SAMPLES
        return self._buffer.slice(start, self._handed_out)

    def scored(self, probabilities: NDArray[np.float32]) -> list[Effect]:
        """Take the probabilities of speech in the windows handed out last, float32 [n]."""
        effects: list[Effect] = []
        for probability in probabilities.tolist():
            self._scored_to += WINDOW_SAMPLES
            effects += self._window(probability, self._scored_to)
        self._buffer.drop_before(self.settled_samples)
        effects += [self._send(ErrorEvent, error=error.detail()) for error in self._errors]
        self._errors.clear()
        return effects

    @property
    def decoded_samples(self) -> int:
        """Audio decoded so far, whether it fills windows or not."""
        return self._buffer.end

    @property
    def settled_samples(self) -> int:
        """Audio before this sample is not needed any more."""
        needed_from = min(self._needed_from(), self._conversation.needed_from(self._scored_to))
        return min(needed_from, self._scored_to)

    @property
    def _whole_windows(self) -> int:
        return (self._buffer.end - self._handed_out) // WINDOW_SAMPLES

    def _decode_some(self) -> None:
        if not self._decoding_bytes:
            if not self._encoded:
                self._has_ended = False
                self._buffer.append(self._decoder.flush())
                return
            data, self._event_id = self._encoded.popleft()
            self._encoded_bytes -= len(data)
            self._has_reported_error = False
            self._decoder.feed(data)
        samples, error = self._decoder.decode()
        self._decoding_bytes = self._decoder.waiting_bytes
        self._buffer.append(samples)
        if error and not self._has_reported_error:
            self._has_reported_error = True
            undecodable = ClientError(str(error), code="invalid_value", param="audio")
            undecodable.event_id = self._event_id
            self._errors.append(undecodable)

    @abstractmethod
    def commit(self) -> list[Effect] | None:
        """End the turn, because the client says so. None: there is no audio to commit."""

    @abstractmethod
    def clear(self) -> list[Effect]:
        """Drop audio that was not committed."""

    @property
    def stalled_after_ms(self) -> int:
        """An open turn ends when no audio has come for so long; 0: it does not."""
        return 0

    def end_stalled(self) -> list[Effect]:
        """End an open turn where the audio ends, because no audio has come for too long."""
        return []

    @abstractmethod
    def finish(self) -> list[Effect]:
        """Commit what is open, because no more audio will come."""

    @abstractmethod
    def _window(self, probability: float, end: int) -> list[Effect]:
        """Handle a window that ends at sample `end` and is speech with this probability."""

    @abstractmethod
    def _needed_from(self) -> int:
        """Return the first sample that may still be needed."""

    def _begin(self, start: int) -> OpenItem:
        turn = Turn(start, self._settings, self._config.language)
        self._open = self._conversation.begin(turn, self._request_builder.build)
        return self._open

    def _feed(self, item: OpenItem, probability: float, end: int) -> list[Effect]:
        return self._conversation.request(item, item.turn.feed(probability, end))

    def _end(self, item: OpenItem, end: int) -> list[Effect]:
        """End the turn of an item: request its last final, and commit it."""
        self._open = None
        effects = self._conversation.request(item, item.turn.close(end))
        return effects + self._conversation.commit(item)

    def _drop(self, item: OpenItem) -> list[Effect]:
        """Drop the audio of an item."""
        effects = self._conversation.cancel_jobs(item)
        self._conversation.restart(
            item, Turn(item.turn.start, self._settings, self._config.language)
        )
        return effects

    def _send(self, event: type[ServerEvent], **fields: Any) -> Send:
        return self._conversation.send(event, **fields)
