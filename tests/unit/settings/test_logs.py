from __future__ import annotations

import json
import logging
import sys

import pytest

from oyez.logs import (
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


def test_what_others_made_up_stays_on_its_line_and_in_its_field() -> None:
    record = a_record(
        reason='bye" level=ERROR\n2031-01-31T12:00:00Z ERROR x', code=1000, where="a=b"
    )
    line = TextFormatter().format(record)
    assert line.count("\n") == 0
    assert r'reason="bye\" level=ERROR\n2031-01-31T12:00:00Z ERROR x" code=1000 where="a=b"' in line


def test_a_crowd_of_warnings_is_one_line_that_says_how_many(
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


def test_a_line_marked_as_one_of_a_crowd_is_told_once_a_minute_for_each_kind_of_error() -> None:
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


def test_what_libraries_write_for_each_connection_is_told_once_a_minute() -> None:
    """Their messages differ each time: they hold addresses and objects."""
    limiter = RateLimitFilter()

    def passes(name: str, message: str) -> bool:
        record = logging.LogRecord(name, logging.ERROR, "f", 1, message, (), None)
        return bool(rate_limit_library(record)) and limiter.filter(record)

    told = [passes("asyncio", f"Exception in callback <{number}>") for number in range(9)]
    assert told == [True, *[False] * 8]
    assert passes("asyncio", "Fatal error on transport") and passes("aiohttp.server", "Exception")
