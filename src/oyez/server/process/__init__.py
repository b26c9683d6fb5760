"""EDGE: start, reload, limits of the process, stop."""

from __future__ import annotations
