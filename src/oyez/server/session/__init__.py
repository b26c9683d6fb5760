"""One WebSocket: from its frames to events of a session and back, with its metrics and usage."""

from __future__ import annotations
