"""Whole files: decode them, transcribe them, and write text, JSON and subtitles."""

from __future__ import annotations
