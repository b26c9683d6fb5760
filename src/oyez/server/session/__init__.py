"""EDGE: one WebSocket: from messages to effects and back."""

from __future__ import annotations
