"""The emotion classifier: acoustic features of an utterance become one of seven emotions."""

from __future__ import annotations
