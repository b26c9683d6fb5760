from __future__ import annotations

import json
import logging
import sys

from oyez.logs import JsonFormatter, SessionLog, TextFormatter


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
