"""Sessions and engines at work: turns on the event loop, a queue of jobs, the engine's process."""

from __future__ import annotations
