"""Lengths of time and dates, as people write them on a command line."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import click

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
MAX_S = 100 * 365 * 86400


class Duration(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """Seconds, as `7200`, `2h`, `1h30m` or `1.5h`; above 0, below a hundred years."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, (int, float)):
            return float(value)
        seconds = duration_s(value)
        if seconds is None or not 0.001 <= seconds <= MAX_S:
            self.fail(f"{value!r} is no length of time: 7200 (seconds), 90m, 2h or 1h30m", param)
        return seconds


class Expiry(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """A point in time after now: `30d` from now, `2027-01-31` (its beginning, UTC) or a time."""

    name = "expiry"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        if isinstance(value, datetime):
            return value
        now = datetime.now(UTC)
        moment = self._moment(value, now)
        if moment is None:
            self.fail(
                f"{value!r} is no time: 30d (from now), 2027-01-31 (its beginning, UTC) "
                "or 2027-01-31T18:00+01:00",
                param,
            )
        if moment <= now:
            self.fail(f"{value} is over", param)
        return moment

    def _moment(self, value: str, now: datetime) -> datetime | None:
        seconds = None if value.isdecimal() else duration_s(value)
        if seconds is not None:
            return now + timedelta(seconds=seconds) if seconds <= MAX_S else None
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return None


class Day(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """A day (UTC): `7d` (of the last seven, today's included), `today`, `2026-11-23`, `2026-11`.

    is_last: a month means its last day instead of its first.
    """

    name = "day"

    def __init__(self, *, is_last: bool = False) -> None:
        self._is_last = is_last

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        if isinstance(value, date):
            return value
        found = self._day(value, datetime.now(UTC).date())
        if found is None:
            self.fail(
                f"{value!r} is no day: 7d (the last seven), today, yesterday, 2026-11-23 "
                "or 2026-11",
                param,
            )
        return found

    def _day(self, value: str, today: date) -> date | None:
        if value in ("today", "yesterday"):
            return today - timedelta(days=value == "yesterday")
        if back := re.fullmatch(r"(\d{1,5})([dw])", value):
            days = int(back[1]) * (7 if back[2] == "w" else 1)
            return today - timedelta(days=days - 1) if 1 <= days <= MAX_DAYS else None
        try:
            if re.fullmatch(r"\d{4}-\d{2}", value):
                first = date.fromisoformat(f"{value}-01")
                after = (first + timedelta(days=31)).replace(day=1)
                return after - timedelta(days=1) if self._is_last else first
            return date.fromisoformat(value)
        except (ValueError, OverflowError):
            return None


MAX_DAYS = 36_500


def duration_s(text: str) -> float | None:
    """Seconds, or None if it is no length of time."""
    text = text.strip().lower()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        return float(text)
    parts = PART.findall(text)
    if not parts or PART.sub("", text).strip():
        return None
    return float(sum(float(amount) * UNITS_S[unit] for amount, unit in parts))


def shown_duration(seconds: float) -> str:
    """`2h`, `1h 30m`, `45s`: what is left out is zero."""
    left, parts = round(seconds, 3), []
    for unit in ("d", "h", "m"):
        amount, left = divmod(left, UNITS_S[unit])
        if amount:
            parts.append(f"{amount:.0f}{unit}")
    if left or not parts:
        parts.append(f"{round(left, 3):g}s")
    return " ".join(parts)


def clock(seconds: Decimal) -> str:
    """`1:02:03`: hours without end, minutes, seconds; rounded."""
    whole = int(seconds.to_integral_value())
    return f"{whole // 3600:,}:{whole // 60 % 60:02}:{whole % 60:02}"
