"""ENGINES that name the emotion of an utterance."""

from __future__ import annotations
