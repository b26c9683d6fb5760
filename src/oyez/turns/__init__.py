"""Speech becomes turns, turns become segments, and hypotheses become text that only grows."""
