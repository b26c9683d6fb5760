"""Manual turn mode: the client says where a turn ends; oyez does after 60 s without a commit."""

from __future__ import annotations

from oyez.audio.pcm import SAMPLE_RATE
from oyez.engines.base import WINDOW_SAMPLES
from oyez.protocol.effects import Count, Effect
from oyez.protocol.items import Items
from oyez.protocol.limits import SessionLimits
from oyez.protocol.listener import SAMPLES_PER_MS, Listener
from oyez.protocol.session_config import SessionConfig
from oyez.turns.segment import SegmentSettings

RELEASE = 0.25
"""There is no threshold in this mode. The client says that there is speech, so weak evidence of
it is enough."""

MARGIN_SAMPLES = 16 * WINDOW_SAMPLES
"""Audio around what sounds like speech that is recognised with it."""

COMMIT_SAMPLES = MARGIN_SAMPLES + SAMPLE_RATE // 2
"""Nobody knows when the client will commit: perhaps so soon after the last speech."""


class ManualListener(Listener):
    def __init__(self, config: SessionConfig, items: Items, limits: SessionLimits) -> None:
        settings = SegmentSettings(
            release=RELEASE,
            lead_samples=MARGIN_SAMPLES,
            tail_samples=MARGIN_SAMPLES,
            silence_samples=COMMIT_SAMPLES,
            partials=limits.live and limits.manual_interim,
            speculation=limits.live,
        )
        super().__init__(config, items, settings)
        self._max_samples = limits.manual_max_ms * SAMPLES_PER_MS
        self._committed_to = 0
        self._committed_by_itself = False
        self._current = self._begin(0)

    def commit(self) -> list[Effect] | None:
        if self._buffer.end > self._committed_to:
            return self._commit_at(self._buffer.end)
        # A client that counts 60 s itself commits just after oyez did: nothing is missing.
        by_itself, self._committed_by_itself = self._committed_by_itself, False
        return [Count("commits_after_automatic_commit")] if by_itself else None

    def clear(self) -> list[Effect]:
        effects = self._items.forget(self._current)
        self._committed_to = self._buffer.end
        self._committed_by_itself = False
        self._current = self._begin(self._committed_to)
        return effects

    def finish(self) -> list[Effect]:
        """Audio nobody committed is committed: nothing that was said is dropped."""
        if self._buffer.end == self._committed_to:
            return []
        return self._commit_at(self._buffer.end)

    def _window(self, probability: float, end: int) -> list[Effect]:
        effects = self._feed(self._current, probability, end)
        limit = self._committed_to + self._max_samples
        if end < limit:
            return effects
        effects += [Count("automatic_commits"), *self._commit_at(limit)]
        self._committed_by_itself = True
        return effects

    def _commit_at(self, end: int) -> list[Effect]:
        item = self._current
        self._committed_to = end
        self._committed_by_itself = False
        effects = self._end(item, end)
        self._current = self._begin(end)
        return effects

    def _needed_from(self) -> int:
        return self._current.turn.needed_from
