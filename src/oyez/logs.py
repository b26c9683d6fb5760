"""Log lines on stderr: text for people, JSON for machines.

Fields travel in `extra={"fields": {…}}`. No audio, transcript or key above DEBUG.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any

import msgspec

PLAIN = re.compile(r"[^\s\"'=\x00-\x1f\x7f-\x9f]+")
"""Values that need no quotes."""


class TextFormatter(logging.Formatter):
    """`2025-01-31T12:00:00.000Z INFO message key=value key="another value" …`"""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{_timestamp(record)} {record.levelname} {record.getMessage()}{fields}"
        return line + _traceback(self, record)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, the fields, and any traceback."""

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
        }
        if traceback := _traceback(self, record):
            line["traceback"] = traceback.lstrip("\n")
        return msgspec.json.encode(line, enc_hook=str).decode()


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """A logger whose every line carries the session's id."""

    def __init__(self, logger: logging.Logger, session_id: str) -> None:
        super().__init__(logger, {"session": session_id})

    def process(
        self, msg: str, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        own: Mapping[str, Any] = self.extra or {}
        given = kwargs.get("extra", {}).get("fields", {})
        return msg, {**kwargs, "extra": {"fields": {**own, **given}}}


class Seldom:
    """Lines that come in crowds: of those with one message, at most one in `every_s`."""

    def __init__(
        self,
        logger: logging.Logger,
        every_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds that never go back."""
        self._logger = logger
        self._every_s = every_s
        self._clock = clock
        self._last_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def info(self, message: str, **fields: Any) -> None:
        """As `warning`, less urgent."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log it, or count it: the next line says how many were left out since the last. message:
        one of few, never made of what others send."""
        self._log(logging.WARNING, message, fields)

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        now_s = self._clock()
        if now_s - self._last_s.get(message, -self._every_s) < self._every_s:
            self._left_out[message] = self._left_out.get(message, 0) + 1
            return
        self._last_s[message] = now_s
        if left_out := self._left_out.pop(message, 0):
            fields["left_out"] = left_out
        self._logger.log(level, message, extra={"fields": fields})


def configure(level: str, form: str) -> None:
    """Send the lines of oyez to stderr. level: debug…error; form: text or json."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("oyez").setLevel(level.upper())
    # it warns of subprotocols nobody speaks by repeating them: a key may be among them
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _shown(value: object) -> str:
    """What others made up stays on its line and in its field."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""
