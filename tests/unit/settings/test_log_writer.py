from __future__ import annotations

import io
import logging
import threading
import time

from oyez.logs import BackgroundHandler, JsonFormatter, TextFormatter


class Stalled(io.StringIO):
    """Takes nothing until it may, as a terminal after Ctrl-S."""

    def __init__(self) -> None:
        super().__init__()
        self.may_take = threading.Event()
        self.asked = threading.Event()

    def write(self, text: str) -> int:
        self.asked.set()
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


def test_whoever_logs_does_not_wait_for_who_reads() -> None:
    stream = Stalled()
    handler = BackgroundHandler(stream, max_waiting_lines=3)
    handler.setFormatter(JsonFormatter())
    handler.emit(record("first"))
    stream.asked.wait(10.0)
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
    assert '"message":"log lines were left out: nobody took them","lines":5' in lines


def test_a_reader_that_is_gone_harms_nobody() -> None:
    stream = io.StringIO()
    handler = BackgroundHandler(stream)
    stream.close()
    handler.emit(record("line"))
    handler.flush()
    handler.emit(record("line"))
    handler.flush()
