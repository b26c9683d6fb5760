"""Turn mode `server_vad`: voice activity begins and ends turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from oyez.engines.base import WINDOW_SAMPLES
from oyez.protocol.effects import Began, Effect
from oyez.protocol.items import Items, OpenItem
from oyez.protocol.limits import SessionLimits
from oyez.protocol.listener import SAMPLES_PER_MS, Listener
from oyez.protocol.server_events import SpeechStarted, SpeechStopped
from oyez.protocol.session_config import SessionConfig, TurnDetection
from oyez.turns.endpointing import Endpointer, EndpointerSettings, TurnEnd, TurnStart
from oyez.turns.segment import SegmentSettings

REMEMBERED_WINDOWS = 32
"""How far back the start of speech may lie when the detector is sure of it."""


class VadListener(Listener):
    def __init__(
        self,
        config: SessionConfig,
        items: Items,
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
        super().__init__(config, items, settings)
        self._patience_ms = limits.stalled_turn_ms
        if self._patience_ms:
            self._patience_ms += detection.silence_duration_ms
        self._edges = Endpointer(edges)
        self._recent: deque[tuple[float, int]] = deque(maxlen=REMEMBERED_WINDOWS)
        self._reach_samples = edges.padding_samples + REMEMBERED_WINDOWS * WINDOW_SAMPLES

    def commit(self) -> list[Effect] | None:
        """Switched off in this mode; the session does not ask."""
        return []

    def clear(self) -> list[Effect]:
        """An open turn ends here without words: its item was announced and must complete."""
        effects = self._drop(self._open) if self._open else []
        return effects + self._at_edges(self._edges.close(self._buffer.end))

    @property
    def stalled_after_ms(self) -> int:
        return self._patience_ms if self._open else 0

    def end_stalled(self) -> list[Effect]:
        return self._at_edges(self._edges.close(self._buffer.end)) if self._open else []

    def finish(self) -> list[Effect]:
        return self._at_edges(self._edges.finish(self._buffer.end))

    def _window(self, probability: float, end: int) -> list[Effect]:
        self._recent.append((probability, end))
        edge = self._edges.feed(probability)
        if edge is not None:
            return self._at_edges([edge])
        return self._feed(self._open, probability, end) if self._open else []

    def _at_edges(self, edges: Sequence[TurnStart | TurnEnd]) -> list[Effect]:
        effects: list[Effect] = []
        for edge in edges:
            effects += self._start(edge) if isinstance(edge, TurnStart) else self._stop(edge)
        return effects

    def _start(self, edge: TurnStart) -> list[Effect]:
        item = self._begin(edge.at_samples)
        effects: list[Effect] = [
            self._send(
                SpeechStarted,
                audio_start_ms=edge.at_samples // SAMPLES_PER_MS,
                item_id=item.id,
            ),
            Began(item.id, edge.onset_samples),
        ]
        for probability, end in self._recent:
            if end > edge.onset_samples:
                effects += self._feed(item, probability, end)
        return effects

    def _stop(self, edge: TurnEnd) -> list[Effect]:
        item = self._open
        assert item is not None, "the detector stopped what it never started"
        return [self._stopped(item, edge), *self._end(item, edge.at_samples)]

    def _stopped(self, item: OpenItem, edge: TurnEnd) -> Effect:
        return self._send(
            SpeechStopped, audio_end_ms=edge.at_samples // SAMPLES_PER_MS, item_id=item.id
        )

    def _needed_from(self) -> int:
        if self._open:
            return self._open.turn.needed_from
        return self._scored_to - self._reach_samples
