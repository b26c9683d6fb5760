"""Speech becomes turns, turns become segments, and hypotheses become text that only grows."""

from __future__ import annotations
