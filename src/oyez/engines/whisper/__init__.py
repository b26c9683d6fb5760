"""The parts that all Whisper engines share: weights, vocabulary, features, terms, text checks."""

from __future__ import annotations
