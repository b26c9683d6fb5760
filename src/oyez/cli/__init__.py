"""EDGE: the oyez command."""

from __future__ import annotations
