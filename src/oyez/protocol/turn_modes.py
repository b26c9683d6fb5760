"""The two turn modes: turns end by voice activity, or when the client commits."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES
from oyez.protocol.audio_input import SAMPLES_PER_MS, AudioInput
from oyez.protocol.conversation import Conversation
from oyez.protocol.dialect import SessionConfig, TurnDetection
from oyez.protocol.effects import Count, Effect, SpeechOnset
from oyez.protocol.limits import SessionLimits
from oyez.protocol.server_events import SpeechStarted, SpeechStopped
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart
from oyez.turns.segment import SegmentSettings

REMEMBERED_WINDOWS = 32
"""The start of speech lies at most so many windows back when the detector is sure of it."""

MANUAL_RELEASE = 0.25
"""In manual mode windows above this probability count as speech. The client says that there is
speech, so weak evidence is enough."""

MARGIN_SAMPLES = 16 * WINDOW_SAMPLES
"""In manual mode, so much audio around speech is recognised with it."""

COMMIT_SAMPLES = MARGIN_SAMPLES + SAMPLE_RATE // 2
"""In manual mode the client may commit as soon after the last speech as this."""


class VadTurns(AudioInput):
    """Voice activity begins and ends turns."""

    def __init__(
        self,
        config: SessionConfig,
        conversation: Conversation,
        detection: TurnDetection,
        limits: SessionLimits,
    ) -> None:
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
        if item := self._open:
            effects += self._conversation.cancel_jobs(item)
            self._conversation.restart(item, self._new_turn(item.turn.start))
        return effects + self._at_edges(self._edges.close(self._buffer.end))

    @property
    def stalled_after_ms(self) -> int:
        return self._stalled_after_ms if self._open else 0

    def end_stalled(self) -> list[Effect]:
        return self._at_edges(self._edges.close(self._buffer.end)) if self._open else []

    def finish(self) -> list[Effect]:
        return self._at_edges(self._edges.finish(self._buffer.end))

    def _window(self, probability: float, end: int) -> list[Effect]:
        self._recent.append((probability, end))
        edge = self._edges.feed(probability)
        return self._at_edges([edge]) if edge else self._feed(probability, end)

    def _at_edges(self, edges: Sequence[TurnStart | TurnEnd]) -> list[Effect]:
        effects: list[Effect] = []
        for edge in edges:
            effects += self._start(edge) if isinstance(edge, TurnStart) else self._stop(edge)
        return effects

    def _start(self, edge: TurnStart) -> list[Effect]:
        item_id = self._begin(edge.at_samples).id
        start_ms = edge.at_samples // SAMPLES_PER_MS
        effects: list[Effect] = [
            self._send(SpeechStarted, audio_start_ms=start_ms, item_id=item_id),
            SpeechOnset(item_id, edge.onset_samples),
        ]
        for probability, end in self._recent:
            if end > edge.onset_samples:
                effects += self._feed(probability, end)
        return effects

    def _stop(self, edge: TurnEnd) -> list[Effect]:
        assert self._open is not None, "the detector ended a turn that it never began"
        end_ms = edge.at_samples // SAMPLES_PER_MS
        stopped = self._send(SpeechStopped, audio_end_ms=end_ms, item_id=self._open.id)
        return [stopped, *self._end(edge.at_samples)]


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
        effects = self._conversation.cancel_jobs(self._open) if self._open else []
        self._begin_at(self._buffer.end)
        return effects

    def finish(self) -> list[Effect]:
        """Commit audio that the client has not committed, so that no speech is dropped."""
        end = self._buffer.end
        return self._commit_at(end) if end > self._committed_to else []

    def _window(self, probability: float, end: int) -> list[Effect]:
        effects = self._feed(probability, end)
        limit = self._committed_to + self._max_samples
        if end >= limit:
            effects += [Count("automatic_commits"), *self._commit_at(limit)]
            self._committed_by_itself = True
        return effects

    def _commit_at(self, end: int) -> list[Effect]:
        effects = self._end(end)
        self._begin_at(end)
        return effects

    def _begin_at(self, start: int) -> None:
        self._committed_to = start
        self._committed_by_itself = False
        self._begin(start)
