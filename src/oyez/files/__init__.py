"""Whole files: decode them, transcribe them, write subtitles."""

from __future__ import annotations
