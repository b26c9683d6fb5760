"""How values are written on a command line: types that parse them, and texts that show them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click
from click.shell_completion import CompletionItem

UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
MAX_S = 100 * 365 * 86400
MAX_DAYS = 36_500
CONTROL_CHARACTERS = dict.fromkeys((*range(32), *range(127, 160)), " ")
FORMULA_SIGNS = ("=", "+", "-", "@")
"""A spreadsheet evaluates a cell that begins with one of these."""


class Language(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """One of the 27 language codes; `auto` is None."""

    name = "CODE"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the code in lower case."""
        code = str(value).lower()
        return None if code in ("auto", "") else self._checked(code, value, " ", param, ctx)

    def _checked(
        self,
        code: str,
        written: str,
        separator: str,
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> str:
        from oyez.engines.base import LANGUAGES

        if code not in LANGUAGES:
            self.fail(f"{written!r} is none of {separator.join(LANGUAGES)}", param, ctx)
        return code

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the codes that begin with `incomplete`."""
        from oyez.engines.base import LANGUAGES

        return [CompletionItem(code) for code in LANGUAGES if code.startswith(incomplete)]


class Languages(Language):
    """Language codes with commas between them, as a tuple."""

    name = "code"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the codes; there is at least one."""
        codes = [code for code in value.lower().replace(" ", "").split(",") if code]
        return tuple(self._checked(code, code, ", ", param, ctx) for code in codes or [value])


class Duration(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """Seconds, as `7200`, `2h`, `1h30m` or `1.5h`; above 0, below a hundred years."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the seconds."""
        if isinstance(value, (int, float)):
            return float(value)
        seconds = parse_duration_s(value)
        if seconds is None or not 0.001 <= seconds <= MAX_S:
            self.fail(f"{value!r} is no length of time: 7200 (seconds), 90m, 2h or 1h30m", param)
        return seconds


class Expiry(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """A point in time after now: `30d` from now, `2027-01-31` (its beginning, UTC) or a time."""

    name = "expiry"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Return the moment, in UTC."""
        if isinstance(value, datetime):
            return value
        now = datetime.now(UTC)
        moment = self._parse(value, now)
        if moment is None:
            self.fail(
                f"{value!r} is no time: 30d (from now), 2027-01-31 (its beginning, UTC) "
                "or 2027-01-31T18:00+01:00",
                param,
            )
        if moment <= now:
            self.fail(f"{value} is over", param)
        return moment

    def _parse(self, value: str, now: datetime) -> datetime | None:
        seconds = None if value.isdecimal() else parse_duration_s(value)
        if seconds is not None:
            return now + timedelta(seconds=seconds) if seconds <= MAX_S else None
        try:
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return None


class Day(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """A day (UTC): `7d` (the first of the last seven), `today`, `2026-11-23` or `2026-11`."""

    name = "day"

    def __init__(self, *, is_last: bool = False) -> None:
        """is_last: a month stands for its last day instead of its first."""
        self._is_last = is_last

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """Return the day."""
        if isinstance(value, date):
            return value
        found = self._parse(value, datetime.now(UTC).date())
        if found is None:
            self.fail(
                f"{value!r} is no day: 7d (the last seven), today, yesterday, 2026-11-23 "
                "or 2026-11",
                param,
            )
        return found

    def _parse(self, value: str, today: date) -> date | None:
        if value in ("today", "yesterday"):
            return today - timedelta(days=value == "yesterday")
        if back := re.fullmatch(r"(\d{1,5})([dw])", value):
            days = int(back[1]) * (7 if back[2] == "w" else 1)
            return today - timedelta(days=days - 1) if 1 <= days <= MAX_DAYS else None
        try:
            if re.fullmatch(r"\d{4}-\d{2}", value):
                first = date.fromisoformat(f"{value}-01")
                next_month = (first + timedelta(days=31)).replace(day=1)
                return next_month - timedelta(days=1) if self._is_last else first
            return date.fromisoformat(value)
        except (ValueError, OverflowError):
            return None


def parse_duration_s(text: str) -> float | None:
    """Return the seconds that `text` stands for, or None if it is no length of time."""
    text = text.strip().lower()
    if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
        return float(text)
    parts = PART.findall(text)
    if not parts or PART.sub("", text).strip():
        return None
    return float(sum(float(amount) * UNITS_S[unit] for amount, unit in parts))


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

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = printable(value)
        return f"'{text}" if text.lstrip().startswith(FORMULA_SIGNS) else text

    return [cell(value) for value in row]
