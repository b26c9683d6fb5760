from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import click
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oyez.cli.values import duration_text, parse_day, parse_duration, parse_expiry


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("7200", 7200),
        ("2h", 7200),
        ("1h30m", 5400),
        ("1h 30m", 5400),
        ("1.5H", 5400),
        ("90m", 5400),
        ("45s", 45),
        ("0.5", 0.5),
        ("1d", 86400),
        ("2w", 14 * 86400),
    ],
)
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "2x", "2h3", "-1", "0", "0s", "1e3", "nan", "9999999w"])
def test_a_wrong_duration_is_an_error_that_shows_how_to_write_one(text: str) -> None:
    with pytest.raises(click.BadParameter, match="90m"):
        parse_duration(text)


@given(st.integers(1, 10**9))
def test_a_duration_is_shown_as_it_can_be_written(milliseconds: int) -> None:
    seconds = milliseconds / 1000
    assert parse_duration(duration_text(seconds)) == pytest.approx(seconds, abs=1e-6)


def test_expiry_from_now_and_by_date() -> None:
    now = datetime.now(UTC)
    in_30_days = parse_expiry("30d")
    assert timedelta(days=30) <= in_30_days - now < timedelta(days=30, seconds=60)
    assert parse_expiry("2127-01-31") == datetime(2127, 1, 31, tzinfo=UTC)
    with_zone = parse_expiry("2127-01-31T01:00+02:00")
    assert with_zone == datetime(2127, 1, 30, 23, tzinfo=UTC)


@pytest.mark.parametrize("text", ["30", "soon", "2127-13-01", "99999w", "0001-01-01T00:00+10:00"])
def test_what_is_no_expiry(text: str) -> None:
    with pytest.raises(click.BadParameter, match="30d"):
        parse_expiry(text)


def test_an_expiry_lies_ahead() -> None:
    with pytest.raises(click.BadParameter, match="2001-01-01 is past"):
        parse_expiry("2001-01-01")


def test_days() -> None:
    today = datetime.now(UTC).date()
    assert parse_day("1d") == parse_day("today") == today
    assert parse_day("7d") == today - timedelta(days=6)
    assert parse_day("yesterday") == today - timedelta(days=1)
    assert parse_day("2026-11-23") == date(2026, 11, 23)
    assert parse_day("2024-02") == date(2024, 2, 1)
    assert parse_day("2024-02", is_last=True) == date(2024, 2, 29)
    assert parse_day("2026-12", is_last=True) == date(2026, 12, 31)


@pytest.mark.parametrize("text", ["0d", "7", "2026-13", "2026-02-30", "x", "99999d", "9999-12-32"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(click.BadParameter, match="yesterday"):
        parse_day(text)
