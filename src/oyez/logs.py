"""Log lines on stderr: text for people, JSON for machines.

The fields of a line are in `extra={"fields": {…}}`. A line with `extra={"rate_limit": True}` is
written at most once in EVERY_S. Above DEBUG, no line holds audio, a transcript or a key.
"""

from __future__ import annotations

import logging
import math
import queue
import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

MAX_WAITING_LINES = 10_000
FLUSH_S = 1.0
EVERY_S = 60.0
"""The least time between two lines of one kind that are rate-limited."""
LIBRARY_LOGGERS = ("asyncio", "aiohttp.server")
"""Loggers that write a line for each connection that fails in an unusual way."""
PLAIN = re.compile(r"[^\s\"'=\x00-\x1f\x7f-\x9f]+")
"""A value that needs no quotes."""


class TextFormatter(logging.Formatter):
    """Writes `2025-01-31T12:00:00.000Z INFO message key=value key="another value" …`."""

    def format(self, record: logging.LogRecord) -> str:
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        line = f"{_timestamp(record)} {record.levelname} {record.getMessage()}{fields}"
        return line + _traceback(self, record)


class JsonFormatter(logging.Formatter):
    """Writes one JSON object a line: time, level, logger, message, fields, and any traceback."""

    def format(self, record: logging.LogRecord) -> str:
        traceback = _traceback(self, record).lstrip("\n")
        line = {
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_fields(record),
            **({"traceback": traceback} if traceback else {}),
        }
        return msgspec.json.encode(line, enc_hook=str).decode()


class SessionLog(logging.LoggerAdapter[logging.Logger]):
    """A logger that adds the session's id to every line."""

    def __init__(self, logger: logging.Logger, session_id: str) -> None:
        super().__init__(logger, {"session": session_id})

    def process(
        self, msg: str, kwargs: MutableMapping[str, Any]
    ) -> tuple[str, MutableMapping[str, Any]]:
        own: Mapping[str, Any] = self.extra or {}
        given = kwargs.get("extra", {}).get("fields", {})
        return msg, {**kwargs, "extra": {"fields": {**own, **given}}}


class RateLimitFilter(logging.Filter):
    """Passes one line of a kind in `every_s`, and adds the number of those left out before it.

    As a filter it limits the lines with `extra={"rate_limit": True}`, also those of rooms that
    cannot import this one. A text instead of True names the kind of the line, where messages
    differ. Exceptions of different types are different kinds. Thread-safe.
    """

    def __init__(
        self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: seconds that never go back."""
        super().__init__()
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: dict[str, float] = {}
        self._left_out: Counter[str] = Counter()

    def admit(self, kind: str) -> dict[str, int] | None:
        """Return the field `left_out` for a line that is written, if any were left out since the
        last one; None: leave this one out."""
        with self._lock:
            now_s = self._clock()
            if now_s - self._last_s.get(kind, -math.inf) < self._every_s:
                self._left_out[kind] += 1
                return None
            self._last_s[kind] = now_s
            left_out = self._left_out.pop(kind, 0)
        return {"left_out": left_out} if left_out else {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether the line is written, and add the number of those left out before."""
        rate_limit = getattr(record, "rate_limit", False)
        if not rate_limit:
            return True
        kind = rate_limit if isinstance(rate_limit, str) else record.msg
        left_out = self.admit(f"{kind} {record.exc_info[0] if record.exc_info else None}")
        if left_out:
            record.fields = {**_fields(record), **left_out}
        return left_out is not None


class RateLimitedLogger:
    """Logs each message at most once in `every_s`, with the number of those left out before.

    A message is one of few constants, never made of what clients send.
    """

    def __init__(
        self,
        logger: logging.Logger,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._logger = logger
        self._limiter = RateLimitFilter(every_s, clock)

    def info(self, message: str, **fields: Any) -> None:
        """Log at INFO, or count it."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log at WARNING, or count it."""
        self._log(logging.WARNING, message, fields)

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        left_out = self._limiter.admit(message)
        if left_out is not None:
            self._logger.log(level, message, extra={"fields": fields | left_out})


class BackgroundHandler(logging.Handler):
    """Writes lines in a thread of its own, so that a slow terminal, pipe or disk delays nothing.

    At most `max_waiting_lines` wait. Further ones are left out, and a line says how many.
    """

    def __init__(self, stream: TextIO, max_waiting_lines: int = MAX_WAITING_LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(max_waiting_lines)
        self._left_out = 0
        threading.Thread(target=self._write_all, name="oyez-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Format and queue a line."""
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1
        except Exception:  # noqa: BLE001 - a handler never raises
            self.handleError(record)

    def flush(self) -> None:
        """Wait until every line before is written, for FLUSH_S at most."""
        written = threading.Event()
        with suppress(queue.Full):
            self._lines.put_nowait(written)
            written.wait(FLUSH_S)

    def _write_all(self) -> None:
        while True:
            line = self._lines.get()
            if isinstance(line, threading.Event):
                line.set()
                continue
            self._write(line)
            left_out, self._left_out = self._left_out, 0
            if left_out:
                what = "log lines were left out: they could not be written in time"
                record = logging.LogRecord(__name__, logging.WARNING, "", 0, what, None, None)
                record.fields = {"lines": left_out}
                self._write(self.format(record))

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # the stream is closed
            self._stream.write(line + "\n")
            self._stream.flush()


def configure(level: str, form: str) -> None:
    """Write the lines of oyez to stderr. level: debug to error; form: text or json."""
    handler = BackgroundHandler(sys.stderr)
    handler.addFilter(RateLimitFilter())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("oyez").setLevel(level.upper())
    for name in LIBRARY_LOGGERS:
        logging.getLogger(name).addFilter(rate_limit_library)
    # It repeats the subprotocols that it does not know, and one of them may be a key.
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def rate_limit_library(record: logging.LogRecord) -> bool:
    """Rate-limit a library's line; its kind is how it begins, because addresses follow."""
    record.rate_limit = f"{record.name}: {str(record.msg)[:16]}"
    return True


def flush() -> None:
    """Wait until every line is written, before something else is written to stderr."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _shown(value: object) -> str:
    """Quote a value that could look like another field or line."""
    text = str(value)
    return text if PLAIN.fullmatch(text) else msgspec.json.encode(text).decode()


def _timestamp(record: logging.LogRecord) -> str:
    moment = datetime.fromtimestamp(record.created, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    if record.exc_text:  # formatted in another process
        return "\n" + record.exc_text
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""
