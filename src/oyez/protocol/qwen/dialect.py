"""The dialect of Qwen-ASR-Realtime for one session."""

from __future__ import annotations

from typing import Any

from oyez.protocol.client_events import ClientEvent, Malformed
from oyez.protocol.dialect import Rules, SessionConfig
from oyez.protocol.effects import Effect, Send
from oyez.protocol.errors import ClientError
from oyez.protocol.limits import SessionLimits
from oyez.protocol.qwen import codec
from oyez.protocol.qwen.config import QwenConfig, merge
from oyez.protocol.server_events import SessionInfo


class QwenDialect:
    """Implements `Dialect`. It keeps the configuration as the client named it."""

    rules = Rules(
        late_update="Session update error: session already started or finished or failed.",
        empty_commit="Error committing input audio buffer: buffer too small, or have no audio.",
    )

    def __init__(self, limits: SessionLimits) -> None:
        self._limits = limits
        self._config = QwenConfig()

    def decode(self, message: str | bytes) -> ClientEvent:
        try:
            return codec.decode(message, max_append_bytes=self._limits.max_append_bytes)
        except ClientError as error:
            # the error itself refers to this frame: kept in an event, it would keep its session
            return Malformed(error.event_id, error.detail())

    def encode(self, effect: Effect) -> list[str]:
        return [codec.encode(effect.event)] if isinstance(effect, Send) else []

    def initial(self) -> SessionConfig:
        return self._config.in_force

    def configure(self, update: Any) -> SessionConfig:
        self._config = merge(self._config, update, self._limits)
        return self._config.in_force

    def session_info(self, session_id: str, model: str) -> SessionInfo:
        return self._config.as_wire(session_id, model)
