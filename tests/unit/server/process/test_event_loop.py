from __future__ import annotations

import asyncio
import logging
import selectors
import socket
import time

import pytest

from oyez.logs import RateLimitedLogger
from oyez.metrics import Metrics
from oyez.server.process.event_loop import LAG_INTERVAL_S, MAX_EVENTS, BoundedSelector, measure_lag


async def test_a_blocked_event_loop_is_seen_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    seldom = RateLimitedLogger(logging.getLogger("oyez.test"))
    task = asyncio.create_task(measure_lag(metrics.loop_lag, seldom))
    await asyncio.sleep(0.01)
    time.sleep(LAG_INTERVAL_S + 0.3)  # noqa: ASYNC251 - it is the block that is to be seen
    await asyncio.sleep(0.01)
    task.cancel()
    assert 'event_loop_lag_seconds_bucket{le="0.25"} 0.0' in metrics.exposition().decode()
    assert "oyez_event_loop_lag_seconds_count 1.0" in metrics.exposition().decode()
    assert [record.message for record in caplog.records] == ["the event loop was blocked"]
    assert caplog.records[0].fields["for_s"] == pytest.approx(0.31, abs=0.1)  # type: ignore[attr-defined]


def test_what_is_ready_is_handed_out_in_parts_and_nothing_is_left_out() -> None:
    pairs = [socket.socketpair() for _ in range(3 * MAX_EVENTS + 5)]
    selector = BoundedSelector()
    try:
        for mine, theirs in pairs:
            selector.register(mine, selectors.EVENT_READ)
            theirs.send(b"x")
        seen: set[int] = set()
        for _ in range(8):
            ready = selector.select(0)
            assert len(ready) == MAX_EVENTS
            seen.update(key.fd for key, _ in ready)
        assert seen == {mine.fileno() for mine, _ in pairs}
    finally:
        selector.close()
        for pair in pairs:
            for end in pair:
                end.close()


def test_few_events_come_all_at_once() -> None:
    mine, theirs = socket.socketpair()
    with mine, theirs, BoundedSelector() as selector:
        selector.register(mine, selectors.EVENT_READ)
        assert selector.select(0) == []
        theirs.send(b"x")
        assert [key.fd for key, _ in selector.select(1)] == [mine.fileno()]
