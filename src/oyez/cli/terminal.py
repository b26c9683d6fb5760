"""What the commands show people: consoles, marks, sizes. Colour is never the only sign."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

NARROW_COLUMNS = 60
"""Below this, what stands in columns elsewhere is written below each other."""
ECHO_COLUMNS = 4
"""Left free at the end of a last line that is drawn anew: there, Ctrl-C is echoed as ^C."""
MARKS = {"ok": ("✓", "ok"), "warn": ("!", "!"), "fail": ("✗", "x")}
STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}


def console(file: IO[str] | None = None) -> Console:
    """A rich console that leaves text as it is. None: stdout. Colours follow NO_COLOR and the
    terminal; in a pipe there are none, and lines are as long as they are."""
    from rich.console import Console

    class Plain(Console):
        def on_broken_pipe(self) -> None:
            raise  # as every other write does; rich would end the program, with a fault

    file = file or sys.stdout
    return Plain(
        file=file,
        markup=False,
        highlight=False,
        emoji=False,
        soft_wrap=not file.isatty(),
    )


@contextmanager
def byte_progress(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """A bar on stderr where that is a terminal, while bytes are counted by what it gives."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    err = console(sys.stderr)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total_bytes)
        yield lambda done_bytes: progress.advance(task, done_bytes)


def mark(grade: str, encoding: str) -> str:
    """`grade` (ok, warn or fail) as one character, or as letters where that cannot be shown."""
    best, plain = MARKS[grade]
    try:
        best.encode(encoding)
    except UnicodeEncodeError:
        return plain
    return best


def size_text(size_bytes: float) -> str:
    """`145 MB`, `3.1 GB`; decimal units."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if size_bytes >= factor:
            value = size_bytes / factor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    return f"{size_bytes:.0f} B"


def counted(number: int, what: str) -> str:
    """`1 session`, `2 sessions`."""
    return f"{number:,} {what}" if number == 1 else f"{number:,} {what}s"


def clock(seconds: float, *, tenths: bool = False) -> str:
    """`0:07`, `12:34`, `1:02:03`, or with tenths `0:07.3`."""
    total = int(seconds * 10) if tenths else int(seconds) * 10
    whole, tenth = divmod(total, 10)
    minutes, second = divmod(whole, 60)
    hours, minute = divmod(minutes, 60)
    text = f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
    return f"{text}.{tenth}" if tenths else text
