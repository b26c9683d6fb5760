"""ENGINES that turn samples into words. None of them knows a wire event."""

from __future__ import annotations
