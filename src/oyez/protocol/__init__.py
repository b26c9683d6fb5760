"""One session without a wire format: events in, effects out. No I/O, no clock."""

from __future__ import annotations
