"""Voice activity detectors: how likely each window of audio is speech."""

from __future__ import annotations
