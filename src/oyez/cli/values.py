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


class ParsedType(click.ParamType):  # type: ignore[type-arg]  # no parameter before click 8.2
    """A type whose `parse` reads a text, or raises ValueError with the message for the user."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Parse a text; other values are parsed already."""
        if not isinstance(value, str):
            return value
        try:
            return self.parse(value)
        except ValueError as error:
            self.fail(str(error), param, ctx)

    def parse(self, text: str) -> Any:
        """Return the value. Raises ValueError."""
        raise NotImplementedError


class Language(ParsedType):
    """One of the 27 language codes; `auto` is None."""

    name = "CODE"

    def parse(self, text: str) -> Any:
        """Return the code in lower case."""
        code = text.lower()
        return None if code in ("auto", "") else self._checked(code, text, " ")

    def _checked(self, code: str, text: str, separator: str) -> str:
        from oyez.engines.base import LANGUAGES

        if code not in LANGUAGES:
            raise ValueError(f"{text!r} is none of {separator.join(LANGUAGES)}")
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

    def parse(self, text: str) -> Any:
        """Return the codes; there is at least one."""
        codes = [code for code in text.lower().replace(" ", "").split(",") if code]
        return tuple(self._checked(code, code, ", ") for code in codes or [text])


class Duration(ParsedType):
    """Seconds, as `7200`, `2h`, `1h30m` or `1.5h`; above 0, below a hundred years."""

    name = "duration"

    def parse(self, text: str) -> float:
        """Return the seconds."""
        seconds = parse_duration_s(text)
        if seconds is None or not 0.001 <= seconds <= MAX_S:
            raise ValueError(f"{text!r} is no length of time: 7200 (seconds), 90m, 2h or 1h30m")
        return seconds


class Expiry(ParsedType):
    """A point in time after now: `30d` from now, `2027-01-31` (its beginning, UTC) or a time."""

    name = "expiry"

    def parse(self, text: str) -> datetime:
        """Return the moment, in UTC."""
        now = datetime.now(UTC)
        moment = self._moment(text, now)
        if moment is None:
            raise ValueError(
                f"{text!r} is no time: 30d (from now), 2027-01-31 (its beginning, UTC) "
                "or 2027-01-31T18:00+01:00"
            )
        if moment <= now:
            raise ValueError(f"{text} is over")
        return moment

    def _moment(self, text: str, now: datetime) -> datetime | None:
        seconds = None if text.isdecimal() else parse_duration_s(text)
        if seconds is not None:
            return now + timedelta(seconds=seconds) if seconds <= MAX_S else None
        try:
            moment = datetime.fromisoformat(text)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        except (ValueError, OverflowError):
            return None


class Day(ParsedType):
    """A day (UTC): `7d` (the first of the last seven), `today`, `2026-11-23` or `2026-11`."""

    name = "day"

    def __init__(self, *, is_last: bool = False) -> None:
        """is_last: a month stands for its last day instead of its first."""
        self._is_last = is_last

    def parse(self, text: str) -> date:
        """Return the day."""
        found = self._day(text, datetime.now(UTC).date())
        if found is None:
            raise ValueError(
                f"{text!r} is no day: 7d (the last seven), today, yesterday, 2026-11-23 or 2026-11"
            )
        return found

    def _day(self, text: str, today: date) -> date | None:
        if text in ("today", "yesterday"):
            return today - timedelta(days=text == "yesterday")
        if back := re.fullmatch(r"(\d{1,5})([dw])", text):
            days = int(back[1]) * (7 if back[2] == "w" else 1)
            return today - timedelta(days=days - 1) if 1 <= days <= MAX_DAYS else None
        try:
            if re.fullmatch(r"\d{4}-\d{2}", text):
                first = date.fromisoformat(f"{text}-01")
                next_month = (first + timedelta(days=31)).replace(day=1)
                return next_month - timedelta(days=1) if self._is_last else first
            return date.fromisoformat(text)
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
