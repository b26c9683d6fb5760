from __future__ import annotations

import math
from datetime import date, datetime, timedelta, timezone
from typing import Any

import pytest

from support.usage import NOON, a_usage


@pytest.mark.parametrize("field", ["began_at", "at", "ended_at"])
def test_a_time_has_a_time_zone(field: str) -> None:
    figures: dict[str, Any] = {field: datetime(2026, 11, 23)}  # noqa: DTZ001 - the mistake
    with pytest.raises(ValueError, match="no time zone"):
        a_usage(**figures)


@pytest.mark.parametrize("seconds", [math.nan, math.inf, -0.1])
def test_a_duration_is_finite_and_not_negative(seconds: float) -> None:
    with pytest.raises(ValueError, match="no duration"):
        a_usage(audio_s=seconds)
    with pytest.raises(ValueError, match="no duration"):
        a_usage(speech_s=seconds)


def test_the_day_is_that_of_utc() -> None:
    tokyo = timezone(timedelta(hours=9))
    assert a_usage(at=datetime(2026, 11, 24, 8, 59, tzinfo=tokyo)).day == date(2026, 11, 23)
    assert a_usage(at=NOON).day == date(2026, 11, 23)
