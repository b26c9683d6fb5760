"""A study of context biasing: what it gains and what it costs. Its command is in `__main__`."""

from __future__ import annotations
