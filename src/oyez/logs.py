"""Log lines on stderr: text for people, JSON for machines.

Fields travel in `extra={"fields": {…}}`. No audio, transcript or key above DEBUG.
"""

from __future__ import annotations

import logging
import math
import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

MAX_WAITING_LINES = 10_000
FLUSH_S = 1.0
EVERY_S = 60.0
"""Between two lines of those that come in crowds."""
OF_LIBRARIES = ("asyncio", "aiohttp.server")
"""Loggers that write a line for each connection that fails in an unusual way."""
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


class _Crowds:
    """Of things of one kind, one in `every_s`; the others are counted. From any thread."""

    def __init__(self, every_s: float, clock: Callable[[], float]) -> None:
        self._every_s = every_s
        self._clock = clock
        self._lock = threading.Lock()
        self._last_s: dict[str, float] = {}
        self._left_out: dict[str, int] = {}

    def ask(self, kind: str) -> int | None:
        """How many of this kind were left out since the last one; None: leave it out."""
        with self._lock:
            now_s = self._clock()
            if now_s - self._last_s.get(kind, -math.inf) < self._every_s:
                self._left_out[kind] = self._left_out.get(kind, 0) + 1
                return None
            self._last_s[kind] = now_s
            return self._left_out.pop(kind, 0)


class Seldom:
    """Lines that come in crowds: of those with one message, at most one in `every_s`."""

    def __init__(
        self,
        logger: logging.Logger,
        every_s: float = EVERY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """clock: seconds that never go back."""
        self._logger = logger
        self._crowds = _Crowds(every_s, clock)

    def info(self, message: str, **fields: Any) -> None:
        """As `warning`, less urgent."""
        self._log(logging.INFO, message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Log it, or count it: the next line says how many were left out since the last. message:
        one of few, never made of what others send."""
        self._log(logging.WARNING, message, fields)

    def _log(self, level: int, message: str, fields: dict[str, Any]) -> None:
        left_out = self._crowds.ask(message)
        if left_out is None:
            return
        if left_out:
            fields["left_out"] = left_out
        self._logger.log(level, message, extra={"fields": fields})


class SeldomFilter(logging.Filter):
    """The same for rooms that cannot import this one: they mark a line with
    `extra={"in_crowds": True}`, or with a text that names its kind where the message differs each
    time. Exceptions of different types are told apart."""

    def __init__(
        self, every_s: float = EVERY_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """clock: seconds that never go back."""
        super().__init__()
        self._crowds = _Crowds(every_s, clock)

    def filter(self, record: logging.LogRecord) -> bool:
        in_crowds = getattr(record, "in_crowds", False)
        if not in_crowds:
            return True
        kind = in_crowds if isinstance(in_crowds, str) else record.msg
        error = record.exc_info[0] if record.exc_info else None
        left_out = self._crowds.ask(f"{kind} {error}")
        if left_out:
            record.fields = {**_fields(record), "left_out": left_out}
        return left_out is not None


class Writer(logging.Handler):
    """Writes lines in a thread of its own: a terminal, pipe or disk that takes none holds nobody
    up. While too many wait, further ones are left out; a line says how many."""

    def __init__(self, stream: TextIO, max_waiting_lines: int = MAX_WAITING_LINES) -> None:
        super().__init__()
        self._stream = stream
        self._lines: queue.Queue[str | threading.Event] = queue.Queue(max_waiting_lines)
        self._left_out = 0
        threading.Thread(target=self._write_all, name="oyez-log", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.put_nowait(self.format(record))
        except queue.Full:
            self._left_out += 1
        except Exception:  # noqa: BLE001 - as every handler: logging never raises
            self.handleError(record)

    def flush(self) -> None:
        """Wait until what was logged is written, for FLUSH_S at most."""
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
                self._write(self.format(_left_out(left_out)))

    def _write(self, line: str) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            self._stream.write(line + "\n")
            self._stream.flush()


def configure(level: str, form: str) -> None:
    """Send the lines of oyez to stderr. level: debug…error; form: text or json."""
    handler = Writer(sys.stderr)
    handler.addFilter(SeldomFilter())
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("oyez").setLevel(level.upper())
    for name in OF_LIBRARIES:
        logging.getLogger(name).addFilter(mark_as_crowd)
    # it warns of subprotocols nobody speaks by repeating them: a key may be among them
    logging.getLogger("aiohttp.websocket").setLevel(logging.ERROR)


def mark_as_crowd(record: logging.LogRecord) -> bool:
    """Messages of libraries hold addresses and objects; how they begin tells what they are."""
    record.in_crowds = f"{record.name}: {str(record.msg)[:16]}"
    return True


def flush() -> None:
    """Have all that was logged written before what is written next by others."""
    for handler in logging.getLogger().handlers:
        handler.flush()


def _left_out(lines: int) -> logging.LogRecord:
    what = "log lines were left out: nobody took them"
    record = logging.LogRecord(__name__, logging.WARNING, "", 0, what, None, None)
    record.fields = {"lines": lines}
    return record


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
    if record.exc_text:  # of another process
        return "\n" + record.exc_text
    return "\n" + formatter.formatException(record.exc_info) if record.exc_info else ""
