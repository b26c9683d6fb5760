"""What all engines for Whisper share: weights, vocabulary, features, context terms, and how to
recognise hallucinated text."""

from __future__ import annotations
