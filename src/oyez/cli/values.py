"""How values are written on a command line: functions that parse them, and texts that show them.

Each `parse_` function is the type of an option. It raises click.BadParameter, whose message shows
how to write a value.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
MAX_S = 100 * 365 * 86400
MAX_DAYS = 36_500
CONTROL_CHARACTERS = dict.fromkeys((*range(32), *range(127, 160)), " ")
FORMULA_SIGNS = ("=", "+", "-", "@")
"""A spreadsheet evaluates a cell that begins with one of these."""


def parse_language(text: str) -> str | None:
    """Return one of the 27 language codes in lower case; None for `auto`."""
    return None if text.lower() in ("auto", "") else _language(text)


def parse_languages(text: str) -> tuple[str, ...]:
    """Return the language codes between commas; there is at least one."""
    codes = [code for code in text.replace(" ", "").split(",") if code]
    return tuple(map(_language, codes or [text]))


def complete_language(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Complete language codes."""
    from oyez.engines.base import LANGUAGES

    return [code for code in LANGUAGES if code.startswith(incomplete)]


def parse_duration(text: str) -> float:
    """Return seconds, above 0 and below a hundred years: `7200`, `2h`, `1h30m` or `1.5h`."""
    seconds = _duration_s(text)
    if seconds is None or not 0.001 <= seconds <= MAX_S:
        raise click.BadParameter(f"{text!r} is no length of time: 7200 (seconds), 90m, 2h or 1h30m")
    return seconds


def parse_expiry(text: str) -> datetime:
    """Return a time (UTC) after now: `30d` from now, `2027-01-31` (its beginning) or a time."""
    now = datetime.now(UTC)
    seconds = None if text.isdecimal() else _duration_s(text)
    try:
        if seconds is None:
            moment = datetime.fromisoformat(text)
            moment = moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        else:
            moment = now + timedelta(seconds=min(seconds, MAX_S))
    except (ValueError, OverflowError):
        moment = None
    if moment is None or (seconds or 0) > MAX_S:
        raise click.BadParameter(
            f"{text!r} is no time: 30d (from now), 2027-01-31 (its beginning, UTC) "
            "or 2027-01-31T18:00+01:00"
        )
    if moment <= now:
        raise click.BadParameter(f"{text} is past")
    return moment


def parse_day(text: str, *, is_last: bool = False) -> date:
    """Return a day (UTC): `7d` (the first of the last seven), `today`, `2026-11-23` or `2026-11`.

    is_last: a month stands for its last day instead of its first.
    """
    today = datetime.now(UTC).date()
    try:
        if text in ("today", "yesterday"):
            return today - timedelta(days=text == "yesterday")
        if back := re.fullmatch(r"(\d{1,5})([dw])", text):
            days = int(back[1]) * (7 if back[2] == "w" else 1)
            if 1 <= days <= MAX_DAYS:
                return today - timedelta(days=days - 1)
        elif re.fullmatch(r"\d{4}-\d{2}", text):
            first = date.fromisoformat(f"{text}-01")
            next_month = (first + timedelta(days=31)).replace(day=1)
            return next_month - timedelta(days=1) if is_last else first
        else:
            return date.fromisoformat(text)
    except (ValueError, OverflowError):
        pass
    raise click.BadParameter(
        f"{text!r} is no day: 7d (the last seven), today, yesterday, 2026-11-23 or 2026-11"
    )


def duration_text(seconds: float) -> str:
    """Write a length of time as `2h`, `1h 30m` or `45s`; parts that are zero are left out."""
    left, parts = round(seconds, 3), []
    for unit in ("d", "h", "m"):
        amount, left = divmod(left, UNITS_S[unit])
        if amount:
            parts.append(f"{amount:.0f}{unit}")
    if left or not parts:
        parts.append(f"{round(left, 3):g}s")
    return " ".join(parts)


def clock(seconds: float, *, tenths: bool = False, hours: bool = False) -> str:
    """Write a time as `0:07`, `12:34` or `1:02:03`, rounded down.

    tenths: as `0:07.3`. hours: as `0:00:07`.
    """
    whole, tenth = divmod(int(seconds * 10), 10)
    minutes, second = divmod(whole, 60)
    hour, minute = divmod(minutes, 60)
    is_long = hours or hour > 0
    text = f"{hour:,}:{minute:02}:{second:02}" if is_long else f"{minute}:{second:02}"
    return f"{text}.{tenth}" if tenths else text


def counted(number: int, what: str) -> str:
    """Write `1 session` or `2 sessions`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def size_text(size_bytes: float) -> str:
    """Write a size as `145 MB` or `3.1 GB`, in decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size_bytes:.0f} B"


def printable(text: str) -> str:
    """Replace the control characters, which a terminal would obey, by spaces."""
    return text.translate(CONTROL_CHARACTERS)


def spreadsheet_cells(row: Iterable[Any]) -> list[Any]:
    """Make texts of clients, such as names of models, safe for a spreadsheet.

    Control characters become spaces, and a text that would be a formula begins with an apostrophe.
    Numbers stay as they are.
    """
    texts = [printable(value) if isinstance(value, str) else value for value in row]
    return [
        f"'{text}" if isinstance(text, str) and text.lstrip().startswith(FORMULA_SIGNS) else text
        for text in texts
    ]


def _language(text: str) -> str:
    from oyez.engines.base import LANGUAGES

    if text.lower() not in LANGUAGES:
        raise click.BadParameter(f"{text!r} is none of {' '.join(LANGUAGES)}")
    return text.lower()


def _duration_s(text: str) -> float | None:
    """Return the seconds that `text` stands for, or None if it is no length of time."""
    text = text.strip().lower()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        return float(text)
    parts = PART.findall(text)
    if not parts or PART.sub("", text).strip():
        return None
    return float(sum(float(amount) * UNITS_S[unit] for amount, unit in parts))
