"""The emotion classifier: an utterance's acoustic features become one of seven emotions."""

from __future__ import annotations
