"""How every command ends: its exit code, and the one line that says why."""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from contextlib import contextmanager
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


@contextmanager
def reader_may_leave() -> Iterator[None]:
    """Whoever reads stdout has enough before all is written (`| head`): that is the end, and no
    fault. A connection of the command's own that breaks is not meant."""
    try:
        yield
    except BrokenPipeError:
        if not _has_reader_left():
            raise
        raise click.exceptions.Exit(DONE) from None
    finally:
        try:
            sys.stdout.flush()
        except BrokenPipeError:
            # what is left is written when Python ends: it must find a place
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _has_reader_left() -> bool:
    poll = select.poll()
    poll.register(sys.stdout, 0)  # what is wrong with it is told without being asked for
    return bool(poll.poll(0))


def leave(code: int, message: str) -> NoReturn:
    """Say `message` on stderr and exit."""
    click.echo(f"oyez: {message}", err=True)
    sys.exit(code)
