from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time

import pytest

from oyez.logs import (
    BackgroundHandler,
    JsonFormatter,
    RateLimitedLogger,
    RateLimitFilter,
    SessionLog,
    TextFormatter,
    rate_limit_library,
)


def a_record(**fields: object) -> logging.LogRecord:
    record = logging.LogRecord("oyez.x", logging.INFO, "f", 1, "session %s", ("ended",), None)
    record.fields = fields
    return record


def test_text_lines_carry_their_fields() -> None:
    line = TextFormatter().format(a_record(session="sess_1", turns=2))
    assert line.endswith("INFO session ended session=sess_1 turns=2")


def test_json_lines_are_objects() -> None:
    line = json.loads(JsonFormatter().format(a_record(session="sess_1", error=ValueError("x"))))
    assert line["message"] == "session ended"
    assert line["level"] == "info"
    assert (line["session"], line["error"]) == ("sess_1", "x")


def test_tracebacks_are_kept() -> None:
    record = a_record()
    try:
        raise ValueError("broken")
    except ValueError:
        record.exc_info = sys.exc_info()
    assert "ValueError: broken" in TextFormatter().format(record)
    assert "ValueError: broken" in json.loads(JsonFormatter().format(record))["traceback"]


def test_a_session_log_names_the_session_in_every_line() -> None:
    log = SessionLog(logging.getLogger("oyez.test"), "sess_1")
    _, kwargs = log.process("x", {"extra": {"fields": {"turns": 1}}})
    assert kwargs["extra"]["fields"] == {"session": "sess_1", "turns": 1}
    _, kwargs = log.process("x", {})
    assert kwargs["extra"]["fields"] == {"session": "sess_1"}


def test_a_value_cannot_look_like_another_line_or_field() -> None:
    record = a_record(
        reason='bye" level=ERROR\n2031-01-31T12:00:00Z ERROR x', code=1000, where="a=b"
    )
    line = TextFormatter().format(record)
    assert line.count("\n") == 0
    assert r'reason="bye\" level=ERROR\n2031-01-31T12:00:00Z ERROR x" code=1000 where="a=b"' in line


def test_repeated_warnings_are_one_line_with_a_count(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now_s = 0.0
    limited = RateLimitedLogger(logging.getLogger("oyez.test"), every_s=60.0, clock=lambda: now_s)
    for _ in range(5):
        limited.warning("late", after_s=2)
    limited.warning("blocked")
    now_s = 61.0
    limited.warning("late", after_s=3)
    now_s = 200.0
    limited.warning("late", after_s=4)
    lines = [(record.message, record.fields) for record in caplog.records]  # type: ignore[attr-defined]
    assert lines == [
        ("late", {"after_s": 2}),
        ("blocked", {}),
        ("late", {"after_s": 3, "left_out": 4}),
        ("late", {"after_s": 4}),
    ]


def test_a_rate_limited_line_is_written_once_a_minute_for_each_kind_of_error() -> None:
    now_s = 0.0
    limiter = RateLimitFilter(every_s=60.0, clock=lambda: now_s)

    def passes(error: Exception | None = None, *, rate_limit: bool = True) -> bool | int:
        record = a_record(requests=3)
        record.rate_limit = rate_limit
        record.exc_info = (type(error), error, None) if error else None
        return limiter.filter(record) and record.fields.get("left_out", 0)  # type: ignore[attr-defined]

    broken = MemoryError("too much")
    assert [passes(broken) for _ in range(3)] == [0, False, False]  # 0 were left out
    assert passes(OSError("another")) is not False
    assert passes() is not False
    assert [passes(rate_limit=False) is False for _ in range(3)] == [False] * 3
    now_s = 61.0
    assert passes(broken) == 2


def test_lines_of_libraries_are_written_once_a_minute() -> None:
    """Their messages differ each time: they hold addresses and objects."""
    limiter = RateLimitFilter()

    def passes(name: str, message: str) -> bool:
        record = logging.LogRecord(name, logging.ERROR, "f", 1, message, (), None)
        return bool(rate_limit_library(record)) and limiter.filter(record)

    passed = [passes("asyncio", f"Exception in callback <{number}>") for number in range(9)]
    assert passed == [True, *[False] * 8]
    assert passes("asyncio", "Fatal error on transport") and passes("aiohttp.server", "Exception")


class Stalled(io.StringIO):
    """Blocks until it may write, as a terminal after Ctrl-S."""

    def __init__(self) -> None:
        super().__init__()
        self.may_take = threading.Event()
        self.is_called = threading.Event()

    def write(self, text: str) -> int:
        self.is_called.set()
        self.may_take.wait(10.0)
        return super().write(text)


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("oyez.x", logging.INFO, "f", 1, text, None, None)


def test_lines_are_written_in_order_and_all_of_them_when_it_is_flushed() -> None:
    stream = io.StringIO()
    handler = BackgroundHandler(stream)
    handler.setFormatter(TextFormatter())
    for number in range(100):
        handler.emit(record(f"line {number}"))
    handler.flush()
    assert [line.rpartition(" ")[2] for line in stream.getvalue().splitlines()] == [
        str(number) for number in range(100)
    ]


def test_logging_does_not_wait_for_a_slow_reader() -> None:
    stream = Stalled()
    handler = BackgroundHandler(stream, max_waiting_lines=3)
    handler.setFormatter(JsonFormatter())
    handler.emit(record("first"))
    stream.is_called.wait(10.0)
    began_s = time.monotonic()
    for number in range(8):
        handler.emit(record(f"line {number}"))
    assert time.monotonic() - began_s < 1.0
    stream.may_take.set()
    handler.flush()
    while stream.getvalue().count("\n") < 5:
        time.sleep(0.01)
    lines = stream.getvalue()
    assert [f"line {number}" in lines for number in range(8)] == [True] * 3 + [False] * 5
    assert (
        '"message":"log lines were left out: they could not be written in time","lines":5' in lines
    )


def test_a_closed_stream_raises_no_error() -> None:
    stream = io.StringIO()
    handler = BackgroundHandler(stream)
    stream.close()
    handler.emit(record("line"))
    handler.flush()
    handler.emit(record("line"))
    handler.flush()
