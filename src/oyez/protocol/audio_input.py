"""The audio of a session: bytes become samples, samples become windows to score, and what follows
from the scores depends on the turn mode: turns end by voice activity, or when the client commits.

The audio input exists from the first audio on. The configuration does not change any more then.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from oyez.audio.decoder import make_decoder
from oyez.audio.pcm import SAMPLE_RATE, SampleBuffer, Samples
from oyez.engines.base import WINDOW_SAMPLES
from oyez.protocol.conversation import Conversation
from oyez.protocol.dialect import SessionConfig, SessionLimits
from oyez.protocol.effects import Count, Effect, SpeechOnset
from oyez.protocol.errors import ClientError
from oyez.protocol.server_events import ErrorDetail, ErrorEvent, SpeechStarted, SpeechStopped
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart
from oyez.turns.segment import SegmentSettings
from oyez.turns.turn import Turn

SAMPLES_PER_MS = SAMPLE_RATE // 1000
REMEMBERED_WINDOWS = 32
"""The start of speech lies at most so many windows back when the detector is sure of it."""
MANUAL_RELEASE = 0.25
"""In manual mode windows above this probability count as speech. The client says that there is
speech, so weak evidence is enough."""
MARGIN_SAMPLES = 16 * WINDOW_SAMPLES
"""In manual mode, so much audio around speech is recognised with it."""
COMMIT_SAMPLES = MARGIN_SAMPLES + SAMPLE_RATE // 2
"""In manual mode the client may commit as soon after the last speech as this."""


class AudioInput(ABC):
    """The audio of a session. Turn modes inherit from it."""

    _reach_samples = 0
    """So much audio before the last window may still be needed for a turn to come."""

    def __init__(
        self, config: SessionConfig, conversation: Conversation, settings: SegmentSettings
    ) -> None:
        self._config = config
        self._conversation = conversation
        self._send = conversation.send
        self._settings = settings
        self._decoder = make_decoder(config.codec_name, config.sample_rate)
        self._encoded: deque[tuple[bytes, str | None]] = deque()
        self._encoded_bytes = 0
        self._event_id: str | None = None
        """Names the event whose audio is being decoded."""
        self._has_reported_error = False
        """Whether that event has its error: it gets one at most."""
        self._has_ended = False
        self._errors: list[ErrorDetail] = []
        """Errors of decoding, which `scored` returns."""
        self._buffer = SampleBuffer()
        self._scored_to = 0

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
        self._encoded_bytes = 0
        self._decoder.drop()

    @property
    def encoded_bytes(self) -> int:
        """The size of the encoded audio that waits to be decoded. An append that is being decoded
        is kept whole until it is done."""
        return self._encoded_bytes + self._decoder.waiting_bytes

    @property
    def audio_bytes(self) -> int:
        """The memory of decoded audio that is still needed."""
        return self._buffer.held_bytes

    @property
    def busy(self) -> bool:
        """Whether audio waits to be decoded or scored."""
        return self._waits_for_decoder or bool(self._whole_windows)

    @property
    def _waits_for_decoder(self) -> bool:
        return bool(self._encoded or self._decoder.waiting_bytes or self._has_ended)

    def next_windows(self, max_windows: int) -> Samples | None:
        """Return audio to score next, float32 [n * 512]; None: nothing waits. n is 0 while what
        was decoded has not filled a window. One call decodes little, so it costs little."""
        if not self._whole_windows:
            if not self._waits_for_decoder:
                return None
            self._decode_some()
        count = min(self._whole_windows, max_windows)
        return self._buffer.slice(self._scored_to, self._scored_to + count * WINDOW_SAMPLES)

    def scored(self, probabilities: NDArray[np.float32]) -> list[Effect]:
        """Take the probabilities of speech in the windows handed out last, float32 [n]."""
        effects: list[Effect] = []
        for probability in probabilities.tolist():
            self._scored_to += WINDOW_SAMPLES
            effects += self._window(probability, self._scored_to)
        self._buffer.drop_before(self.settled_samples)
        effects += [self._send(ErrorEvent, error=error) for error in self._errors]
        self._errors.clear()
        return effects

    @property
    def decoded_samples(self) -> int:
        """Audio decoded so far, whether it fills windows or not."""
        return self._buffer.end

    @property
    def settled_samples(self) -> int:
        """Audio before this sample is not needed any more."""
        reach = self._scored_to - self._reach_samples
        return min(self._conversation.needed_from(reach), self._scored_to)

    @property
    def _whole_windows(self) -> int:
        """How many windows wait to be scored."""
        return (self._buffer.end - self._scored_to) // WINDOW_SAMPLES

    def _decode_some(self) -> None:
        if not self._decoder.waiting_bytes:
            if not self._encoded:
                self._has_ended = False
                self._buffer.append(self._decoder.flush())
                return
            data, self._event_id = self._encoded.popleft()
            self._encoded_bytes -= len(data)
            self._has_reported_error = False
            self._decoder.feed(data)
        samples, error = self._decoder.decode()
        self._buffer.append(samples)
        if error and not self._has_reported_error:
            self._has_reported_error = True
            undecodable = ClientError(str(error), code="invalid_value", param="audio")
            self._errors.append(undecodable.detail(self._event_id))

    def commit(self) -> list[Effect] | None:
        """End the turn, because the client says so. None: there is no audio to commit. The session
        does not call it where turns end by voice activity."""
        return []

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

    def _begin(self, start: int) -> str:
        """Begin a turn, which is the open one then. Return the id of its item."""
        return self._conversation.begin(self._new_turn(start), self._buffer, self._config.context)

    def _new_turn(self, start: int) -> Turn:
        return Turn(start, self._settings, self._config.language)


class VadTurns(AudioInput):
    """Voice activity begins and ends turns."""

    def __init__(
        self, config: SessionConfig, conversation: Conversation, limits: SessionLimits
    ) -> None:
        detection = config.turn_detection
        assert detection is not None, "this is manual mode"
        edges = EndpointerSettings.from_wire(
            detection.threshold, detection.silence_duration_ms, detection.prefix_padding_ms
        )
        settings = SegmentSettings(
            release=edges.release,
            lead_samples=edges.padding_samples,
            silence_samples=edges.silence_samples,
            partials=limits.live,
            speculation=limits.live,
        )
        super().__init__(config, conversation, settings)
        self._stalled_after_ms = limits.stalled_turn_ms
        if self._stalled_after_ms:
            self._stalled_after_ms += detection.silence_duration_ms
        self._edges = Endpointer(edges)
        self._recent: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_WINDOWS)
        self._reach_samples = edges.padding_samples + REMEMBERED_WINDOWS * WINDOW_SAMPLES

    def clear(self) -> list[Effect]:
        """End an open turn without words: its item was announced, so it must complete."""
        effects: list[Effect] = []
        if item := self._conversation.open:
            effects = self._conversation.restart(item, self._new_turn(item.turn.start))
        return effects + self._at_edges(self._edges.close(self._buffer.end))

    @property
    def stalled_after_ms(self) -> int:
        return self._stalled_after_ms if self._conversation.open else 0

    def end_stalled(self) -> list[Effect]:
        is_open = self._conversation.open is not None
        return self._at_edges(self._edges.close(self._buffer.end)) if is_open else []

    def finish(self) -> list[Effect]:
        return self._at_edges(self._edges.finish(self._buffer.end))

    def _window(self, probability: float, end: int) -> list[Effect]:
        self._recent.append((probability, end))
        edge = self._edges.feed(probability)
        return self._at_edges([edge]) if edge else self._conversation.feed(probability, end)

    def _at_edges(self, edges: Sequence[TurnStart | TurnEnd]) -> list[Effect]:
        effects: list[Effect] = []
        for edge in edges:
            effects += self._start(edge) if isinstance(edge, TurnStart) else self._stop(edge)
        return effects

    def _start(self, edge: TurnStart) -> list[Effect]:
        item_id = self._begin(edge.at_samples)
        start_ms = edge.at_samples // SAMPLES_PER_MS
        effects: list[Effect] = [
            self._send(SpeechStarted, audio_start_ms=start_ms, item_id=item_id),
            SpeechOnset(item_id, edge.onset_samples),
        ]
        for probability, end in self._recent:
            if end > edge.onset_samples:
                effects += self._conversation.feed(probability, end)
        return effects

    def _stop(self, edge: TurnEnd) -> list[Effect]:
        item = self._conversation.open
        assert item is not None, "the detector ended a turn that it never began"
        end_ms = edge.at_samples // SAMPLES_PER_MS
        stopped = self._send(SpeechStopped, audio_end_ms=end_ms, item_id=item.id)
        return [stopped, *self._conversation.end(edge.at_samples)]


class ManualTurns(AudioInput):
    """The client says where a turn ends; oyez does after 60 s without a commit."""

    def __init__(
        self, config: SessionConfig, conversation: Conversation, limits: SessionLimits
    ) -> None:
        settings = SegmentSettings(
            release=MANUAL_RELEASE,
            lead_samples=MARGIN_SAMPLES,
            tail_samples=MARGIN_SAMPLES,
            silence_samples=COMMIT_SAMPLES,
            partials=limits.live and limits.manual_interim,
            speculation=limits.live,
        )
        super().__init__(config, conversation, settings)
        self._max_samples = limits.manual_max_ms * SAMPLES_PER_MS
        self._committed_to = 0
        self._committed_by_itself = False
        self._begin(0)

    def commit(self) -> list[Effect] | None:
        if self._buffer.end > self._committed_to:
            return self._commit_at(self._buffer.end)
        # a client that counts 60 s itself commits just after oyez did; nothing is missing
        by_itself, self._committed_by_itself = self._committed_by_itself, False
        return [Count("commits_after_automatic_commit")] if by_itself else None

    def clear(self) -> list[Effect]:
        item = self._conversation.open
        effects = self._conversation.cancel_jobs(item) if item else []
        self._begin_at(self._buffer.end)
        return effects

    def finish(self) -> list[Effect]:
        """Commit audio that the client has not committed, so that no speech is dropped."""
        end = self._buffer.end
        return self._commit_at(end) if end > self._committed_to else []

    def _window(self, probability: float, end: int) -> list[Effect]:
        effects = self._conversation.feed(probability, end)
        limit = self._committed_to + self._max_samples
        if end >= limit:
            effects += [Count("automatic_commits"), *self._commit_at(limit)]
            self._committed_by_itself = True
        return effects

    def _commit_at(self, end: int) -> list[Effect]:
        effects = self._conversation.end(end)
        self._begin_at(end)
        return effects

    def _begin_at(self, start: int) -> None:
        self._committed_to = start
        self._committed_by_itself = False
        self._begin(start)
