from __future__ import annotations

import asyncio
import logging
import time

import pytest

from oyez.logs import Seldom
from oyez.metrics import Metrics
from oyez.server.life.loop_watch import EVERY_S, watch_loop


async def test_a_blocked_event_loop_is_seen_and_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    metrics = Metrics()
    seldom = Seldom(logging.getLogger("oyez.test"))
    task = asyncio.create_task(watch_loop(metrics.loop_lag, seldom))
    await asyncio.sleep(0.01)
    time.sleep(EVERY_S + 0.3)  # noqa: ASYNC251 - it is the block that is to be seen
    await asyncio.sleep(0.01)
    task.cancel()
    assert 'event_loop_lag_seconds_bucket{le="0.25"} 0.0' in metrics.exposition().decode()
    assert "oyez_event_loop_lag_seconds_count 1.0" in metrics.exposition().decode()
    assert [record.message for record in caplog.records] == ["the event loop was blocked"]
    assert caplog.records[0].fields["for_s"] == pytest.approx(0.31, abs=0.1)  # type: ignore[attr-defined]
