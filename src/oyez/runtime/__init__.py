"""Runs sessions and engines: turns on the event loop, a queue, threads, the engine's process."""

from __future__ import annotations
