"""A study of where turns begin and end. Its command is in `__main__`."""

from __future__ import annotations
