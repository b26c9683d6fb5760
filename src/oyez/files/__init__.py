"""Whole files: they are decoded and transcribed, and written as text, JSON and subtitles."""
