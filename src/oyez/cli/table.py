"""Tables for people: plain text, as wide as the terminal; and what spreadsheets read."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

PIPED_WIDTH = 200
"""Into a pipe or file: no terminal to fit, so nothing is broken."""
FORMULA_SIGNS = ("=", "+", "-", "@")
"""What begins like this is worked out by a spreadsheet, with whatever it reaches."""


def spreadsheet_cells(row: Iterable[Any]) -> list[Any]:
    """What clients wrote (names of models, say) as nothing but text: without control characters,
    and with an apostrophe before what would be a formula. Figures stay as they are."""
    from oyez.cli.wrapping import printable

    def cell(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        text = printable(value)
        return f"'{text}" if text.lstrip().startswith(FORMULA_SIGNS) else text

    return [cell(value) for value in row]


def print_table(
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    numbers: int = 0,
    footer: Sequence[str] = (),
    unbroken: Sequence[str] = (),
) -> None:
    """Print to stdout, without control characters.

    numbers: so many of the last columns are set flush right. unbroken: titles of columns that stay
    on one line, however narrow the terminal.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from oyez.cli.wrapping import printable

    def text(cell: str) -> Text:
        return Text("\n".join(map(printable, cell.split("\n"))))

    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, title in enumerate(header):
        is_number = index >= len(header) - numbers
        table.add_column(
            title,
            justify="right" if is_number else "left",
            no_wrap=is_number or title in unbroken,
            overflow="fold",
        )
    for row in rows:
        table.add_row(*map(text, row))
    if footer:
        table.add_section()
        table.add_row(*map(Text, footer), style="bold")
    width = None if sys.stdout.isatty() else PIPED_WIDTH
    console = Console(width=width, highlight=False)
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        # cells are filled up with spaces, which nobody wants in a pipe
        click.echo(line.rstrip())
