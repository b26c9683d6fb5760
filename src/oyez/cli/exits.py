"""How every command ends: its exit code, and the one line that says why."""

from __future__ import annotations

import sys
from typing import IO, Any, NoReturn

import click

DONE = 0
FAILED = 1
"""Something that was asked for did not come out: a file, a check."""
USAGE = 2
"""Wrong usage or settings: nothing was begun."""
NEVER_STARTED = 3
"""No engine, no server, no port, no microphone."""
INTERRUPTED = 130
"""Ctrl-C before everything was done."""


class Fault(click.ClickException):
    """A fault the user can do something about. The message says what."""

    def __init__(self, message: str, exit_code: int = FAILED) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # click reads it here

    def show(self, file: IO[Any] | None = None) -> None:
        from oyez.cli.wrapping import printable

        # a name of a file or from a server may hold what a terminal would obey
        lines = map(printable, self.format_message().splitlines())
        click.echo("oyez: " + "\n".join(lines), file=file, err=file is None)


def leave(code: int, message: str) -> NoReturn:
    """Say `message` on stderr and exit."""
    click.echo(f"oyez: {message}", err=True)
    sys.exit(code)
