"""Output for people: consoles, tables and lines as wide as the terminal.

Colour never carries a meaning by itself.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import IO

import click
from rich.cells import cell_len, get_character_cell_size
from rich.console import Console
from rich.text import Text

from oyez.cli.values import printable

NARROW_COLUMNS = 60
"""A terminal with fewer columns shows below each other what others show side by side."""
ECHO_COLUMNS = 4
"""Columns left free at the end of a line that is drawn repeatedly: Ctrl-C echoes ^C there."""
PIPED_WIDTH = 200
"""The width of a table in a pipe or file."""
MARKS = {"ok": ("✓", "ok"), "warn": ("!", "!"), "fail": ("✗", "x")}
STYLES = {"ok": "green", "warn": "yellow", "fail": "red"}
OPENING = frozenset("([{“‘«「『（《〈【")
"""Characters that do not end a line if there is another place to break it."""
CLOSING = frozenset(")]}”’»」』）》〉】,.;:!?…，。、；：！？·ー～%")
"""Characters that do not begin a line if there is another place to break it."""


class _PlainConsole(Console):
    def on_broken_pipe(self) -> None:
        """Raise as every other write does; rich would exit with an error code."""
        raise


def console(file: IO[str] | None = None) -> Console:
    """Return a rich console that prints text as it is. file: default stdout.

    Colours follow NO_COLOR and the terminal; a pipe gets no colours and no line breaks.
    """
    file = file or sys.stdout
    return _PlainConsole(
        file=file, markup=False, highlight=False, emoji=False, soft_wrap=not file.isatty()
    )


def is_interactive(out: Console) -> bool:
    """Return whether lines can be drawn again on this console."""
    return out.is_terminal and not out.is_dumb_terminal


@contextmanager
def byte_progress(what: str, total_bytes: int) -> Iterator[Callable[[int], None]]:
    """Show a bar on stderr if it is a terminal. Yields a function that counts bytes done."""
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn())
    err = console(sys.stderr)
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as progress:
        task = progress.add_task(what, total=total_bytes)
        yield lambda done_bytes: progress.advance(task, done_bytes)


def mark(grade: str, encoding: str) -> str:
    """Write `grade` (ok, warn or fail) as a sign, or as letters if the encoding lacks the sign."""
    sign, letters = MARKS[grade]
    try:
        sign.encode(encoding)
    except UnicodeEncodeError:
        return letters
    return sign


def print_table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: int = 0,
    footer: Sequence[str] = (),
    unbroken: Sequence[str] = (),
) -> None:
    """Print a table to stdout, without control characters.

    numbers: how many of the last columns are set flush right. unbroken: titles of columns that stay
    on one line, however narrow the terminal.
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for title in header[: len(header) - numbers]:
        table.add_column(title, no_wrap=title in unbroken, overflow="fold")
    for title in header[len(header) - numbers :]:
        table.add_column(title, justify="right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text("\n".join(map(printable, cell.split("\n")))) for cell in row))
    if footer:
        table.add_section()
        table.add_row(*map(Text, footer), style="bold")
    out = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, highlight=False)
    with out.capture() as capture:
        out.print(table)
    for line in capture.get().splitlines():
        click.echo(line.rstrip())  # rich pads every cell with spaces


def joined_to_fit(parts: Iterable[str], max_columns: int) -> str:
    """Join parts by two spaces, leaving out every part that would make the line too long.

    The first part always stays.
    """
    line = ""
    for part in parts:
        if not line or len(line) + 2 + len(part) <= max_columns:
            line = f"{line}  {part}" if line else part
    return line


def wrap(text: Text, columns: int) -> Iterator[Text]:
    """Yield `text` in lines of at most `columns` columns, which are 2 or more.

    A character takes no, one or two columns. Lines break at spaces and between wide characters; if
    there is no such place, where the line is full.
    """
    plain, columns = text.plain, max(2, columns)
    start, width, breakable = 0, 0, 0
    for at, char in enumerate(plain):
        size = get_character_cell_size(char)
        if at > start and _may_break(plain[at - 1], char):
            breakable = at
        if width + size > columns and not char.isspace():
            stop = breakable if breakable > start else at
            yield text[start : start + len(plain[start:stop].rstrip())]
            start, breakable = stop, stop
            width = cell_len(plain[start:at])
        if at == start and char.isspace():  # a line does not begin with a space
            start, breakable = at + 1, at + 1
            continue
        width += size
    if start < len(plain):
        yield text[start : len(plain.rstrip())]


def _may_break(before: str, after: str) -> bool:
    if before.isspace():
        return not after.isspace()
    if after in CLOSING or before in OPENING or not get_character_cell_size(after):
        return False
    return get_character_cell_size(before) == 2 or get_character_cell_size(after) == 2
