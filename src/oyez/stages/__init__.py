"""PURE: audio bytes to samples, samples to speech edges, edges to turns, hypotheses to words."""

from __future__ import annotations
