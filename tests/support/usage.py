"""Usage of sessions, for tests."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from oyez.accounts.usage import SessionUsage

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def a_usage(session_id: str = "sess_1", **figures: Any) -> SessionUsage:
    defaults: dict[str, Any] = {
        "key_id": "key_a",
        "key_name": "ci",
        "endpoint": "realtime",
        "model": "qwen3-asr-flash-realtime",
        "began_at": NOON,
        "at": NOON,
    }
    return SessionUsage(session_id=session_id, **{**defaults, **figures})
