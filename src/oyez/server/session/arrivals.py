"""When the latest audio of a session came in."""

from __future__ import annotations

from collections import deque

REMEMBERED = 64
TOGETHER_S = 0.03
"""Packets that come so close after each other are remembered as one, by its first: so that what
is remembered covers almost two seconds of speech, however small its packets are."""


class Arrivals:
    """Positions in samples from the session's beginning; times in seconds of any one clock."""

    def __init__(self) -> None:
        self._ends: deque[tuple[int, float]] = deque(maxlen=REMEMBERED)
        self.latest_s = 0.0
        """When the newest audio came; 0 before any."""

    def add(self, end_samples: int, at_s: float) -> None:
        """The audio before `end_samples`, as far as it is not known yet, came at `at_s`."""
        self.latest_s = at_s
        if self._ends and at_s - self._ends[-1][1] < TOGETHER_S:
            at_s = self._ends.pop()[1]
        self._ends.append((end_samples, at_s))

    def at_s(self, sample: int) -> float | None:
        """When this sample came, 30 ms early at most; of forgotten ones the earliest that is
        known. None before any audio."""
        found = None
        for end_samples, at_s in reversed(self._ends):
            if found is not None and end_samples <= sample:
                break
            found = at_s
        return found
